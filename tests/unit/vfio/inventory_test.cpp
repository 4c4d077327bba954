// SPDX-License-Identifier: Apache-2.0
#include "vfio/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "tests/unit/vfio/fake_nvml.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::FixtureHost;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kVf{0, 0x41, 0, 4};
const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";

TEST(Inventory, WithoutNvmlSaysWhyAndHasEverythingElse) {
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia", .iommu_group = 13});
  fixture.add_function(kVf, {.driver = "nvidia", .iommu_group = 14, .vfio_device = "vfio0"});
  fixture.set_vfs(kGpu, {kVf}, 16);
  fixture.set_vendor_vf(kVf, "0", "ID    : vGPU Name\n1155  : NVIDIA L40S-8Q\n");
  fixture.add_mdev_type(kVf, "nvidia-699", "GRID A100D-1-10C", "1");
  fixture.add_mdev(kUuid, kVf, "nvidia-699", 77);
  fixture.add_process(7, "qemu", {"/dev/vfio/14"});
  fixture.set_driver({0, 0xc4, 0, 0}, "vfio-pci");
  const auto inventory = read_inventory(fixture.host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_EQ(inventory->nvidia.has_value(), false);
  ASSERT_TRUE(inventory->nvml_error);
  EXPECT_EQ(inventory->nvml_error->reason, "NVML_NOT_FOUND");
  EXPECT_THAT(inventory->functions, SizeIs(2));
  EXPECT_THAT(inventory->mdev_types, SizeIs(1));
  EXPECT_THAT(inventory->mdevs, SizeIs(1));
  EXPECT_THAT(inventory->vendor_vfs, SizeIs(1));
  EXPECT_THAT(inventory->holders, SizeIs(1));
  EXPECT_TRUE(inventory->vfio_pci_loaded);
  EXPECT_THAT(inventory->problems, IsEmpty());
}

TEST(Inventory, WithNvmlHasItsGpus) {
  test::FakeNvml nvml;
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia"});
  auto host = fixture.host();
  host.nvml_library = test::FakeNvml::path();
  const auto inventory = read_inventory(host);
  ASSERT_TRUE(ok(inventory));
  EXPECT_FALSE(inventory->nvml_error);
  ASSERT_NE(inventory->find_nvidia_gpu(kGpu), nullptr);
  EXPECT_EQ(inventory->find_nvidia_gpu(kGpu)->name, "NVIDIA A100 80GB PCIe");
  EXPECT_EQ(inventory->find_nvidia_gpu(kVf), nullptr);
  EXPECT_FALSE(inventory->vfio_pci_loaded);
}

TEST(Inventory, GpuThatNvmlCantReadIsAProblem) {
  test::FakeNvml nvml;
  nvml.set("FAKE_NVML_FAIL", "nvmlDeviceGetUUID#0=15");
  const FixtureHost fixture;
  auto host = fixture.host();
  host.nvml_library = test::FakeNvml::path();
  const auto inventory = read_inventory(host);
  ASSERT_TRUE(ok(inventory));
  EXPECT_EQ(inventory->find_nvidia_gpu(kGpu), nullptr);
  ASSERT_THAT(inventory->problems, SizeIs(1));
  EXPECT_TRUE(test::mentions(inventory->problems[0], "0000:41:00.0")) << to_text(inventory->problems[0]);
}

TEST(Inventory, UnreadableVfIsAProblemAndTheOthersAreThere) {
  const FixtureHost fixture;
  const PciAddress other{0, 0x41, 0, 5};
  fixture.add_function(kGpu);
  fixture.add_function(kVf);
  fixture.add_function(other);
  fixture.set_vfs(kGpu, {kVf, other}, 16);
  fixture.set_vendor_vf(kVf, "garbage", "");
  fixture.set_vendor_vf(other, "0", "");
  const auto inventory = read_inventory(fixture.host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_EQ(inventory->find_vendor_vf(kVf), nullptr);
  EXPECT_NE(inventory->find_vendor_vf(other), nullptr);
  ASSERT_THAT(inventory->problems, SizeIs(1));
  EXPECT_TRUE(test::mentions(inventory->problems[0], kVf.to_string()));
}

TEST(Inventory, RootWithoutPciBusIsAnErrorAndNotAnEmptyHost) {
  const FixtureHost fixture;
  fixture.remove("sys/bus/pci");
  const auto inventory = read_inventory(fixture.host());
  ASSERT_FALSE(inventory);
  EXPECT_TRUE(test::mentions(inventory.error(), "sys/bus/pci")) << to_text(inventory.error());
}

TEST(Inventory, ReadingChangesNothing) {
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia", .iommu_group = 13});
  fixture.set_vendor_vf(kGpu, "0", "");
  const auto before = fixture.snapshot();
  ASSERT_TRUE(ok(read_inventory(fixture.host())));
  EXPECT_TRUE(fixture.is_as(before));
}

TEST(GroupCompanions, AreTheOthersOfTheGroupWithoutBridges) {
  const auto function = [](std::uint8_t number, std::uint32_t class_code, std::optional<std::uint32_t> group) {
    PciFunction made;
    made.address = {0, 0x41, 0, number};
    made.class_code = class_code;
    made.iommu_group = group;
    return made;
  };
  struct Case {
    std::string name;
    std::uint32_t class_code;
    std::optional<std::uint32_t> group;
    bool companion;
  };
  const Case cases[] = {
      {"audio of the GPU", 0x040300, 13, true},
      {"bridge", 0x060400, 13, false},
      {"NVSwitch, which only looks like a bridge", 0x068000, 13, true},
      {"host bridge", 0x060000, 13, true},
      {"in another group", 0x040300, 14, false},
      {"in no group", 0x040300, {}, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Inventory inventory;
    inventory.functions = {function(0, 0x030200, 13), function(1, c.class_code, c.group)};
    const auto companions = inventory.group_companions(inventory.functions[0]);
    ASSERT_THAT(companions, SizeIs(c.companion ? 1 : 0));
    if (c.companion) {
      EXPECT_EQ(companions[0], &inventory.functions[1]);
    }
  }
  Inventory without_iommu;
  without_iommu.functions = {function(0, 0x030200, {}), function(1, 0x040300, {})};
  EXPECT_THAT(without_iommu.group_companions(without_iommu.functions[0]), IsEmpty());
}

TEST(HoldersOf, AreThoseOfTheFunctionsOwnNodes) {
  Inventory inventory;
  PciFunction function;
  function.iommu_group = 13;
  function.vfio_devices = {"vfio2"};
  function.nvidia_minor = 0;
  inventory.holders = {{1, "a", "/dev/vfio/13"},
                       {2, "b", "/dev/vfio/1"},
                       {3, "c", "/dev/vfio/devices/vfio2"},
                       {4, "d", "/dev/vfio/devices/vfio22"},
                       {5, "e", "/dev/nvidia0"},
                       {6, "f", "/dev/nvidia1"}};
  std::vector<pid_t> pids;
  for (const auto& holder : inventory.holders_of(function)) pids.push_back(holder.pid);
  EXPECT_THAT(pids, testing::ElementsAre(1, 3, 5));
}

}  // namespace
}  // namespace slicebroker::vfio
