// SPDX-License-Identifier: Apache-2.0
#include "broker/resolver/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/broker/resolver_cases.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::ok;
using test::ResolverCase;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ResolverVerdicts : public testing::TestWithParam<ResolverCase> {};

TEST_P(ResolverVerdicts, AreThoseOfTheTable) {
  const auto& c = GetParam();
  SCOPED_TRACE(c.name);
  const auto resolution = resolve(c.host, c.holds, c.request, c.policy);
  ASSERT_TRUE(ok(resolution));
  EXPECT_THAT(test::verdicts(*resolution), ElementsAreArray(c.verdicts));
}

std::string test_name(const testing::TestParamInfo<ResolverCase>& test) {
  std::string name;
  bool word = true;
  for (const char c : test.param.name) {
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter) name += word ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    word = !letter;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Slice, ResolverVerdicts, testing::ValuesIn(test::slice_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Fallback, ResolverVerdicts, testing::ValuesIn(test::fallback_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Group, ResolverVerdicts, testing::ValuesIn(test::group_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Variant, ResolverVerdicts, testing::ValuesIn(test::variant_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(ByName, ResolverVerdicts, testing::ValuesIn(test::by_name_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Capacity, ResolverVerdicts, testing::ValuesIn(test::capacity_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Memory, ResolverVerdicts, testing::ValuesIn(test::memory_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Existing, ResolverVerdicts, testing::ValuesIn(test::existing_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Foreign, ResolverVerdicts, testing::ValuesIn(test::foreign_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Policy, ResolverVerdicts, testing::ValuesIn(test::policy_cases()), test_name);

TEST(Resolver, CandidateHasExactlyOneVerdict) {
  for (const auto& c : test::resolver_cases()) {
    SCOPED_TRACE(c.name);
    const auto resolution = resolve(c.host, c.holds, c.request, c.policy).value();
    for (const auto& candidate : resolution.candidates) {
      SCOPED_TRACE(candidate.device);
      EXPECT_FALSE(candidate.device.empty());
      EXPECT_FALSE(candidate.slice.empty());
      const auto& attachment = candidate.plan.attachment;
      if (candidate.accepted()) {
        EXPECT_EQ(candidate.code + candidate.fact + candidate.remedy, "");
        EXPECT_NE(attachment.mdev.has_value(), attachment.function.has_value());
        EXPECT_EQ(attachment.surface == hypervisors::Surface::kMdev, attachment.mdev.has_value());
        EXPECT_EQ(candidate.surface, attachment.surface);
        EXPECT_GE(candidate.isolation, c.request.isolation);
        EXPECT_GE(candidate.isolation, c.policy.least_isolation);
        EXPECT_THAT(candidate.plan.devices, Not(IsEmpty()));
      } else {
        EXPECT_FALSE(candidate.code.empty());
        EXPECT_FALSE(candidate.fact.empty());
        EXPECT_FALSE(candidate.remedy.empty());
        EXPECT_THAT(candidate.plan.steps, IsEmpty());
        EXPECT_THAT(candidate.plan.devices, IsEmpty());
        EXPECT_FALSE(attachment.mdev || attachment.function);
      }
    }
  }
}

// What a lease takes is what keeps the next one out: the same request again must not get the same device.
TEST(Resolver, GrantedDeviceIsNotGrantedAgain) {
  for (const auto& c : test::resolver_cases()) {
    SCOPED_TRACE(c.name);
    const auto first = resolve(c.host, c.holds, c.request, c.policy).value();
    if (first.granted() == nullptr) continue;
    auto holds = c.holds;
    for (const auto& device : first.granted()->plan.devices) holds.push_back({device, 99, "libvirt:first"});
    auto next = c.request;
    next.mdev_uuid = Uuid::random();
    const auto second = resolve(c.host, holds, next, c.policy).value();
    if (second.granted() == nullptr) continue;
    for (const auto& device : second.granted()->plan.devices) {
      EXPECT_THAT(first.granted()->plan.devices, Not(testing::Contains(device))) << device.device;
    }
  }
}

TEST(Resolver, SameInputSameAnswer) {
  for (const auto& c : test::resolver_cases()) {
    SCOPED_TRACE(c.name);
    const auto one = resolve(c.host, c.holds, c.request, c.policy).value();
    const auto two = resolve(c.host, c.holds, c.request, c.policy).value();
    EXPECT_EQ(test::verdicts(one), test::verdicts(two));
    if (one.granted() == nullptr) continue;
    EXPECT_TRUE(one.granted()->plan.steps == two.granted()->plan.steps);
    EXPECT_TRUE(one.granted()->plan.attachment == two.granted()->plan.attachment);
    EXPECT_TRUE(one.granted()->plan.devices == two.granted()->plan.devices);
  }
}

TEST(Reasons, AreEachProducedBySomeCase) {
  std::set<const Reason*> produced;
  for (const auto& c : test::resolver_cases()) {
    const auto resolution = resolve(c.host, c.holds, c.request, c.policy).value();
    for (const auto& candidate : resolution.candidates) produced.insert(candidate.reason);
  }
  for (const auto* reason : all_reasons()) EXPECT_TRUE(produced.contains(reason)) << reason->code << " never happens";
}

TEST(Reasons, HaveTheirOwnCodeAndSaySomething) {
  std::set<std::string_view> codes;
  for (const auto* reason : all_reasons()) {
    SCOPED_TRACE(reason->code);
    EXPECT_TRUE(codes.insert(reason->code).second);
    EXPECT_FALSE(reason->meaning.empty());
    EXPECT_FALSE(reason->remedy.empty());
  }
}

TEST(Resolver, WholeGpuIsSuggestedOnlyWhereThePolicyLetsItStandIn) {
  auto wanted = test::request(test::kMig3);
  wanted.fallback = Fallback::kNone;
  const auto suggested = resolve(test::mig_gpu(), {}, wanted, Policy{}).value();
  EXPECT_THAT(suggested.candidates[0].remedy, HasSubstr("--fallback gpu"));
  Policy policy;
  policy.most_fallback = Fallback::kNone;
  const auto kept_quiet = resolve(test::mig_gpu(), {}, wanted, policy).value();
  EXPECT_THAT(kept_quiet.candidates[0].remedy, Not(HasSubstr("--fallback")));
}

TEST(Resolver, UnknownNameIsNotFoundAndNeverAWholeGpu) {
  struct Case {
    std::string name;
    std::string selector;
    std::string hint;  // a near miss, or where to look
  };
  const Case cases[] = {
      {"MIG UUID", "MIG-00000000-0000-5000-8000-0000000000ff", test::kMig3},
      {"legacy MIG", "MIG-" + test::kGpuUuid + "/4/0", test::kMig3},
      {"profile", "profile=9g.90gb", "1g.10gb"},
      {"type", "type=nvidia-4711", "GRID A100D-1-10C"},
      {"mdev", "mdev=" + test::kMdev, "type="},
      {"VF", "vf=42:00.0", "list"},
      {"GPU", "gpu=42:00.0", "list gpus"},
      {"GPU UUID", "gpu=GPU-bbbbbbbb-0000-1111-2222-333333333333", "list gpus"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto resolution = resolve(test::vendor_host(), {}, test::request(c.selector));
    ASSERT_FALSE(resolution);
    EXPECT_EQ(resolution.error().code, ErrorCode::kNotFound);
    EXPECT_FALSE(resolution.error().fact.empty());
    EXPECT_THAT(resolution.error().hint, HasSubstr(c.hint));
  }
}

TEST(Resolver, WhatMayBeInAnUnreadPartOfTheHostIsNotCalledMissing) {
  auto host = test::mdev_host();
  Error lost;
  lost.reason = "NVML_GPU_IS_LOST";
  host.problems.push_back(lost);
  for (const char* text : {"profile=9g.99gb", "type=nvidia-9999", "gpu=0000:99:00.0", "vf=0000:99:00.4"}) {
    const auto resolution = resolve(host, {}, test::request(text), {});
    ASSERT_TRUE(fails(resolution, ErrorCode::kRefused, "HOST_NOT_ALL_READ")) << text;
    EXPECT_TRUE(test::mentions(resolution.error(), "NVML_GPU_IS_LOST")) << text;
  }
}

TEST(Resolver, MigDeviceOfAHostWithoutAnySaysHowToMakeOne) {
  auto host = test::mig_gpu();
  host.nvidia->gpus[0].instances.clear();
  const auto resolution = resolve(host, {}, test::request(test::kMig3));
  ASSERT_FALSE(resolution);
  EXPECT_EQ(resolution.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(resolution.error().hint, HasSubstr("nvidia-smi mig"));
}

TEST(Resolver, WithoutNvmlSaysWhatIsMissing) {
  for (const auto& selector : {test::kMig3, std::string("profile=1g.10gb"), "gpu=" + test::kGpuUuid}) {
    SCOPED_TRACE(selector);
    const auto resolution = resolve(test::gpu_without_nvml(), {}, test::request(selector));
    ASSERT_TRUE(fails(resolution, ErrorCode::kRefused, "NVML_NOT_FOUND"));
    EXPECT_EQ(resolution.error().hint, "install NVIDIA's driver");
    EXPECT_TRUE(test::mentions(resolution.error(), "cannot open shared object file"));
  }
}

TEST(Resolver, ByNameSaysSo) {
  auto host = test::vendor_host();
  host.nvidia = std::nullopt;
  for (const char* selector : {"type=nvidia-699", "profile=1g.10gb"}) {
    SCOPED_TRACE(selector);
    const auto resolution = resolve(host, {}, test::request(selector)).value();
    ASSERT_NE(resolution.granted(), nullptr);
    EXPECT_THAT(resolution.granted()->slice, HasSubstr("1g.10gb by its name; NVML is absent"));
    EXPECT_EQ(resolution.granted()->isolation, Isolation::kHardware);
  }
  const auto told = resolve(test::vendor_host(), {}, test::request("type=nvidia-699")).value();
  EXPECT_THAT(told.granted()->slice, Not(HasSubstr("by its name")));
}

TEST(Resolver, ExactSliceIsNotServedByName) {
  auto host = test::vendor_host();
  host.nvidia = std::nullopt;
  host.nvml_error = test::gpu_without_nvml().nvml_error;
  EXPECT_TRUE(fails(resolve(host, {}, test::request(test::kMig3)), ErrorCode::kRefused, "NVML_NOT_FOUND"));
}

TEST(Resolver, UnloadedVfioDriverIsNamedInTheRemedy) {
  auto host = test::grace_hopper();
  host.vfio_variants[0].loaded = false;
  const auto resolution = resolve(host, {}, test::request("gpu=41:00.0")).value();
  ASSERT_THAT(resolution.candidates, testing::SizeIs(1));
  EXPECT_EQ(resolution.candidates[0].remedy, "modprobe nvgrace_gpu_vfio_pci");
}

TEST(Resolver, WithoutNvmlAndWithoutItsErrorStillRefuses) {
  auto host = test::gpu_without_nvml();
  host.nvml_error = std::nullopt;
  const auto resolution = resolve(host, {}, test::request(test::kMig3));
  ASSERT_FALSE(resolution);
  EXPECT_EQ(resolution.error().code, ErrorCode::kRefused);
}

}  // namespace
}  // namespace slicebroker::broker
