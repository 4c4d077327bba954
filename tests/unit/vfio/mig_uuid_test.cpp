// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/mig_uuid.h"

#include <gtest/gtest.h>

#include <ostream>

namespace slicebroker::vfio::nvidia {
namespace {

constexpr const char* kText = "MIG-6f1c2d3e-0000-5000-8000-00000000000a";
constexpr const char* kLegacyText = "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/5/1";

struct ParseCase {
  const char* name;
  const char* text;
  const char* normalised;  // nullptr: refused
};

std::ostream& operator<<(std::ostream& out, const ParseCase& c) {
  return out << c.name;
}

class MigUuidParse : public testing::TestWithParam<ParseCase> {};

TEST_P(MigUuidParse, ReadsOrRefuses) {
  const auto uuid = MigUuid::parse(GetParam().text);
  ASSERT_EQ(uuid.has_value(), GetParam().normalised != nullptr);
  if (!uuid) return;
  EXPECT_EQ(uuid->to_string(), GetParam().normalised);
  EXPECT_EQ(MigUuid::parse(uuid->to_string()), uuid);
}

constexpr ParseCase kParseCases[] = {
    {"Uuid", kText, kText},
    {"UuidInCapitals", "MIG-6F1C2D3E-0000-5000-8000-00000000000A", kText},
    {"Legacy", kLegacyText, kLegacyText},
    {"LegacyInCapitals", "MIG-GPU-AAAAAAAA-0000-1111-2222-333333333333/5/1", kLegacyText},
    {"LegacyLeadingZeros", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/05/001", kLegacyText},
    {"LegacyLargestIds", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/4294967295/0",
     "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/4294967295/0"},
    {"Empty", "", nullptr},
    {"PrefixOnly", "MIG-", nullptr},
    {"NoPrefix", "6f1c2d3e-0000-5000-8000-00000000000a", nullptr},
    {"PrefixInSmallLetters", "mig-6f1c2d3e-0000-5000-8000-00000000000a", nullptr},
    {"Gpu", "GPU-aaaaaaaa-0000-1111-2222-333333333333", nullptr},
    {"MigOfGpuWithoutIds", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333", nullptr},
    {"UuidWithoutDashes", "MIG-6f1c2d3e0000500080000000000000aa", nullptr},
    {"UuidTooShort", "MIG-6f1c2d3e-0000-5000-8000-0000000000", nullptr},
    {"UuidNotHexadecimal", "MIG-6f1c2d3e-0000-5000-8000-00000000000g", nullptr},
    {"BlankBehind", "MIG-6f1c2d3e-0000-5000-8000-00000000000a ", nullptr},
    {"BlankBefore", " MIG-6f1c2d3e-0000-5000-8000-00000000000a", nullptr},
    {"IdsBehindUuid", "MIG-6f1c2d3e-0000-5000-8000-00000000000a/1/0", nullptr},
    {"LegacyOneId", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/5", nullptr},
    {"LegacyThreeIds", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/5/1/0", nullptr},
    {"LegacyEmptyId", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333//1", nullptr},
    {"LegacySignedId", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/-5/1", nullptr},
    {"LegacyIdTooLarge", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/4294967296/1", nullptr},
    {"LegacyGpuInSmallLetters", "MIG-gpu-aaaaaaaa-0000-1111-2222-333333333333/5/1", nullptr},
    {"LegacyGpuWithoutDashes", "MIG-GPU-aaaaaaaa000011112222333333333333/5/1", nullptr},
};

INSTANTIATE_TEST_SUITE_P(All, MigUuidParse, testing::ValuesIn(kParseCases),
                         [](const auto& test) { return test.param.name; });

// Two GPUs with the same ids on both; the second one's driver text is not in lower case.
Driver two_gpus() {
  const auto gpu_with = [](const char* uuid, const char* mig_uuid) {
    GpuInstance other;
    other.id = 1;
    GpuInstance instance;
    instance.id = 5;
    instance.compute_instances = {{0, 101, {0, 1}, ""}, {1, 101, {1, 1}, mig_uuid}};
    Gpu gpu;
    gpu.uuid = uuid;
    gpu.instances = {other, instance};
    return gpu;
  };
  Driver driver;
  driver.gpus = {gpu_with("GPU-bbbbbbbb-0000-1111-2222-333333333333", "MIG-00000000-0000-5000-8000-000000000001"),
                 gpu_with("GPU-AAAAAAAA-0000-1111-2222-333333333333", "MIG-6F1C2D3E-0000-5000-8000-00000000000A")};
  return driver;
}

struct FindCase {
  const char* name;
  const char* text;
  bool found;  // then it is compute instance 1 of GPU instance 5 of the second GPU
};

std::ostream& operator<<(std::ostream& out, const FindCase& c) {
  return out << c.name;
}

class MigUuidFind : public testing::TestWithParam<FindCase> {};

TEST_P(MigUuidFind, FindsTheInstance) {
  const auto driver = two_gpus();
  const auto uuid = MigUuid::parse(GetParam().text);
  ASSERT_TRUE(uuid);
  const auto slice = find_instance(driver, *uuid);
  ASSERT_EQ(slice.has_value(), GetParam().found);
  if (!slice) return;
  EXPECT_EQ(slice->gpu, &driver.gpus[1]);
  EXPECT_EQ(slice->gpu_instance, &driver.gpus[1].instances[1]);
  EXPECT_EQ(slice->compute_instance, &driver.gpus[1].instances[1].compute_instances[1]);
}

constexpr FindCase kFindCases[] = {
    {"Uuid", kText, true},
    {"Legacy", kLegacyText, true},
    {"UnknownUuid", "MIG-6f1c2d3e-0000-5000-8000-00000000000b", false},
    {"UnknownGpu", "MIG-GPU-cccccccc-0000-1111-2222-333333333333/5/1", false},
    {"UnknownGpuInstance", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/6/1", false},
    {"UnknownComputeInstance", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/5/2", false},
    {"GpuInstanceWithoutComputeInstance", "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/1/0", false},
};

INSTANTIATE_TEST_SUITE_P(All, MigUuidFind, testing::ValuesIn(kFindCases),
                         [](const auto& test) { return test.param.name; });

TEST(MigUuid, FindsOnADriverThatListsTheLegacyForm) {
  auto driver = two_gpus();
  auto& instance = driver.gpus[1].instances[1].compute_instances[1];
  instance.mig_uuid = kLegacyText;
  EXPECT_TRUE(find_instance(driver, *MigUuid::parse(kLegacyText)));
  EXPECT_FALSE(find_instance(driver, *MigUuid::parse(kText)));
}

TEST(MigUuid, FindsNothingWithoutGpus) {
  EXPECT_FALSE(find_instance({}, *MigUuid::parse(kText)));
}

}  // namespace
}  // namespace slicebroker::vfio::nvidia
