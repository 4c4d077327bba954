// SPDX-License-Identifier: Apache-2.0
#include "vfio/mdev/mdev.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/mdev/description.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::FixtureHost;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kVf0{0, 0x41, 0, 4};
constexpr PciAddress kVf1{0, 0x41, 0, 5};
const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";

TEST(MdevTypes, AreReadOfEveryPciParent) {
  const FixtureHost fixture;
  fixture.add_mdev_type(kVf1, "nvidia-699", "GRID A100D-1-10C", "1");
  fixture.add_mdev_type(kVf0, "nvidia-701", "GRID A100D-3-40C", "0");
  fixture.add_mdev_type(kVf0, "nvidia-699", "GRID A100D-1-10C", "1");
  fixture.make_directory("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1");
  std::vector<Error> problems;
  const auto types = list_mdev_types(fixture.root(), problems);
  ASSERT_TRUE(ok(types));
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_THAT(*types, SizeIs(3));
  EXPECT_EQ((*types)[0].parent, kVf0);
  EXPECT_EQ((*types)[0].id, "nvidia-699");
  EXPECT_EQ((*types)[0].name, "GRID A100D-1-10C");
  EXPECT_EQ((*types)[0].device_api, "vfio-pci");
  EXPECT_EQ((*types)[0].available, 1U);
  EXPECT_EQ((*types)[1].id, "nvidia-701");
  EXPECT_EQ((*types)[1].available, 0U);
  EXPECT_EQ((*types)[2].parent, kVf1);
}

TEST(MdevTypes, WithoutANameAreCalledByTheirId) {
  const FixtureHost fixture;
  fixture.add_mdev_type(kVf0, "i915-GVTg_V5_4", "", "1");
  fixture.add_mdev_type(kVf0, "mtty-2", "x", "1");
  fixture.remove(device_path(kVf0, "mdev_supported_types/mtty-2/name"));
  std::vector<Error> problems;
  const auto types = list_mdev_types(fixture.root(), problems).value();
  ASSERT_THAT(types, SizeIs(2));
  EXPECT_EQ(types[0].name, "i915-GVTg_V5_4");
  EXPECT_EQ(types[1].name, "mtty-2");
}

TEST(MdevTypes, TellTheirMemoryWhereTheirDescriptionDoes) {
  const FixtureHost fixture;
  fixture.add_mdev_type(kVf0, "nvidia-699", "GRID A100D-1-10C", "1");
  fixture.add_mdev_type(kVf0, "nvidia-701", "GRID A100D-3-40C", "1");
  fixture.write(device_path(kVf0, "mdev_supported_types/nvidia-699/description"),
                "num_heads=1, frl_config=60, framebuffer=10240M, max_resolution=4096x2160, max_instance=7\n");
  std::vector<Error> problems;
  const auto types = list_mdev_types(fixture.root(), problems).value();
  ASSERT_THAT(types, SizeIs(2));
  EXPECT_EQ(types[0].framebuffer_mib, 10240U);
  EXPECT_EQ(types[0].max_instances, 7U);
  EXPECT_EQ(types[1].framebuffer_mib, std::nullopt);
  EXPECT_EQ(types[1].max_instances, std::nullopt);
}

TEST(MdevDescription, OfEachVendor) {
  struct Case {
    std::string name;
    std::string text;
    MdevDescription description;
  };
  const Case cases[] = {
      {"NVIDIA",
       "num_heads=4, frl_config=45, framebuffer=1024M, max_resolution=5120x2880, max_instance=16",
       {1024, 16}},
      {"GVT-g", "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4", {640, {}}},
      {"s390 and samples", "I/O subchannel (Non-QDIO)", {}},
      {"empty", "", {}},
      {"framebuffer without unit", "framebuffer=1024, max_instance=16", {{}, 16}},
      {"framebuffer too large", "framebuffer=99999999999M, max_instance=16", {{}, 16}},
      {"number of instances negative", "framebuffer=1024M, max_instance=-1", {1024, {}}},
      {"key in a longer key", "xframebuffer=1M, framebuffers=2M", {}},
      {"half of GVT-g's memory", "low_gm_size: 128MB\nfence: 4", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto description = parse_mdev_description(c.text);
    EXPECT_EQ(description.framebuffer_mib, c.description.framebuffer_mib);
    EXPECT_EQ(description.max_instances, c.description.max_instances);
  }
}

TEST(MdevTypes, HostWithoutMdevCoreHasNone) {
  const FixtureHost fixture;
  std::vector<Error> problems;
  EXPECT_THAT(list_mdev_types(fixture.root(), problems).value(), IsEmpty());
  EXPECT_THAT(list_mdev_devices(fixture.root(), problems).value(), IsEmpty());
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(find_mdev_device(fixture.root(), *Uuid::parse(kUuid)).value().has_value(), false);
}

TEST(MdevTypes, MalformedOneIsReportedAndTheOthersAreComplete) {
  for (const char* available : {"", "-1", "many", "4294967296", "1 2"}) {
    SCOPED_TRACE(available);
    const FixtureHost fixture;
    fixture.add_mdev_type(kVf0, "nvidia-699", "bad", available);
    fixture.add_mdev_type(kVf0, "nvidia-700", "good", "2");
    std::vector<Error> problems;
    const auto types = list_mdev_types(fixture.root(), problems);
    ASSERT_TRUE(ok(types));
    ASSERT_THAT(*types, SizeIs(1));
    EXPECT_EQ((*types)[0].name, "good");
    ASSERT_THAT(problems, SizeIs(1));
    EXPECT_EQ(problems[0].reason, "MALFORMED_ATTRIBUTE");
    EXPECT_TRUE(test::mentions(problems[0], "nvidia-699/available_instances")) << to_text(problems[0]);
  }
}

TEST(MdevDevices, AreReadWithParentTypeAndGroup) {
  const FixtureHost fixture;
  fixture.add_mdev_type(kVf0, "nvidia-699", "x", "0");
  fixture.add_mdev(kUuid, kVf0, "nvidia-699", 77);
  fixture.make_directory("sys/bus/mdev/devices/no-uuid");
  std::vector<Error> problems;
  const auto devices = list_mdev_devices(fixture.root(), problems);
  ASSERT_TRUE(ok(devices));
  ASSERT_THAT(*devices, SizeIs(1));
  EXPECT_EQ((*devices)[0].uuid.to_string(), kUuid);
  EXPECT_EQ((*devices)[0].parent, kVf0);
  EXPECT_EQ((*devices)[0].type_id, "nvidia-699");
  EXPECT_EQ((*devices)[0].iommu_group, 77U);
  EXPECT_THAT(device_nodes((*devices)[0]), testing::ElementsAre("/dev/vfio/77", "/dev/vfio/devices/vfio77"));
  EXPECT_EQ((*devices)[0].gpu_instance_id, std::nullopt);
  EXPECT_THAT(problems, IsEmpty());
}

TEST(MdevDevices, OfAParentThatIsNoPciFunctionHaveNone) {
  const FixtureHost fixture;
  fixture.make_directory("sys/devices/virtual/mtty/mtty/" + kUuid);
  fixture.link("sys/bus/mdev/devices/" + kUuid, "../../../devices/virtual/mtty/mtty/" + kUuid);
  const auto device = find_mdev_device(fixture.root(), *Uuid::parse(kUuid));
  ASSERT_TRUE(ok(device));
  ASSERT_TRUE(*device);
  EXPECT_EQ((*device)->parent, std::nullopt);
  EXPECT_EQ((*device)->type_id, "");
  EXPECT_EQ((*device)->iommu_group, std::nullopt);
}

// Taken for gone, it would be left behind by the lease that made it.
TEST(MdevDevices, OneThatCantBeLookedAtIsNotGone) {
  const FixtureHost fixture;
  fixture.link("sys/bus/mdev/devices/" + kUuid, kUuid);  // to itself: ELOOP
  const auto device = find_mdev_device(fixture.root(), *Uuid::parse(kUuid));
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().os_errno, ELOOP);
}

TEST(GpuInstanceId, OfAVgpu) {
  struct Case {
    std::string name;
    std::optional<std::string> text;  // nullopt: no such file
    std::optional<std::uint32_t> id;
  };
  const Case cases[] = {
      {"number", "3\n", 3},  {"zero", "0\n", 0},          {"absent", {}, {}},
      {"none", "N/A\n", {}}, {"no instance", "-1\n", {}}, {"empty", "\n", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const FixtureHost fixture;
    fixture.make_directory("sys/vgpu");
    if (c.text) fixture.write("sys/vgpu/nvidia/gpu_instance_id", *c.text);
    const auto id = find_gpu_instance_id(fixture.root(), "sys/vgpu");
    ASSERT_TRUE(ok(id));
    EXPECT_EQ(*id, c.id);
  }
}

TEST(GpuInstanceId, BeforeTheVgpuExistsReadsEnxio) {
  const FixtureHost fixture;
  fixture.make_unreadable("sys/vgpu/nvidia/gpu_instance_id");
  EXPECT_EQ(find_gpu_instance_id(fixture.root(), "sys/vgpu").value(), std::nullopt);
  fixture.make_directory("sys/other/nvidia/gpu_instance_id");
  EXPECT_FALSE(find_gpu_instance_id(fixture.root(), "sys/other")) << "any other errno is an error";
}

}  // namespace
}  // namespace slicebroker::vfio
