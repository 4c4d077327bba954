// SPDX-License-Identifier: Apache-2.0
// Files that never answer: a FIFO without a writer blocks whoever opens it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/host/ask_child.h"
#include "vfio/inventory.h"
#include "vfio/step.h"

namespace slicebroker::vfio {
namespace {

using namespace std::chrono_literals;
using test::device_path;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kVf{0, 0x41, 0, 4};
constexpr PciAddress kAudio{0, 0x41, 0, 1};
constexpr PciAddress kOther{0, 0xc4, 0, 0};

class SilenceTest : public testing::Test {
 protected:
  SilenceTest() { fill(fixture_); }
  static void fill(const test::FixtureHost& fixture) {
    fixture.add_function(kGpu, {.driver = "nvidia", .iommu_group = 13});
    fixture.add_function(kAudio, {.class_code = "0x040300", .iommu_group = 13});
    fixture.add_function(kVf, {.driver = "nvidia", .iommu_group = 14});
    fixture.add_function(kOther, {.driver = "nvidia", .iommu_group = 15});
    fixture.set_vfs(kGpu, {kVf}, 16);
    fixture.set_vendor_vf(kVf, "0", "");
  }
  static Host impatient(const test::FixtureHost& fixture) {
    auto host = fixture.host();
    host.patience = 300ms;
    return host;
  }
  Host host() const { return impatient(fixture_); }

  test::FixtureHost fixture_;
};

TEST_F(SilenceTest, OneAttributeIsPassedOverAndTheOthersAreThere) {
  struct Case {
    std::string name;
    std::string path;
    PciAddress device;
  };
  const Case cases[] = {
      {"device's lock, on 6.1", device_path(kGpu, "driver_override"), kGpu},
      {"device's lock", device_path(kGpu, "sriov_numvfs"), kGpu},
      {"what comes from memory", device_path(kGpu, "modalias"), kGpu},
      {"vendor's file", device_path(kVf, "nvidia/current_vgpu_type"), kVf},
      {"nvidia's /proc", "proc/driver/nvidia/gpus/0000:41:00.0/information", kGpu},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const test::FixtureHost fixture;
    fill(fixture);
    fixture.make_fifo(c.path);
    const auto inventory = read_inventory(impatient(fixture));
    ASSERT_TRUE(ok(inventory));
    EXPECT_THAT(inventory->functions, SizeIs(4)) << "what shares a group or GPU must not look alone";
    ASSERT_THAT(inventory->silences, SizeIs(1));
    EXPECT_EQ(inventory->silences[0].device, c.device);
    EXPECT_TRUE(test::mentions(inventory->problems.at(0), c.path.substr(c.path.rfind('/'))))
        << to_text(inventory->problems.at(0));
    EXPECT_EQ(inventory->problems.at(0).code, ErrorCode::kNoAnswer);
    EXPECT_EQ(inventory->find_silence(*inventory->find_function(kOther), Inventory::Extent::kWithParts), nullptr);
    EXPECT_NE(inventory->find_silence(*inventory->find_function(kGpu), Inventory::Extent::kWithParts), nullptr);
    EXPECT_EQ(inventory->find_function(kVf)->physical_function, kGpu);
    EXPECT_EQ(inventory->find_function(kAudio)->iommu_group, 13U);
  }
}

TEST_F(SilenceTest, DeviceIsAskedNothingMoreThatMayWait) {
  for (const auto* leaf : {"driver_override", "sriov_numvfs"}) fixture_.make_fifo(device_path(kGpu, leaf));
  const auto inventory = read_inventory(host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_THAT(inventory->silences, SizeIs(1)) << "each silence costs the host's patience";
  EXPECT_THAT(inventory->find_function(kGpu)->virtual_functions, testing::ElementsAre(kVf)) << "links tell of them";
}

TEST_F(SilenceTest, SeveralDevices) {
  for (const auto& device : {kGpu, kOther, kAudio}) fixture_.make_fifo(device_path(device, "driver_override"));
  const auto inventory = read_inventory(host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_THAT(inventory->silences, SizeIs(3));
}

TEST_F(SilenceTest, HealthyHostHasNone) {
  const auto inventory = read_inventory(host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_THAT(inventory->silences, IsEmpty());
}

TEST_F(SilenceTest, StepThatOnlyLooksGivesUpAndNamesTheFile) {
  fixture_.make_fifo(device_path(kGpu, "driver_override"));
  const auto seen = observe(Step(BindDriver{kGpu, "vfio-pci"}), host());
  ASSERT_TRUE(test::fails(seen, ErrorCode::kNoAnswer, "DEVICE_SILENT"));
  EXPECT_TRUE(test::mentions(seen.error(), "driver_override")) << to_text(seen.error());
}

TEST(AskChild, AnswersAndFailures) {
  const test::FixtureHost fixture;
  const auto host = fixture.host();
  const auto number = [](int value) { return [value](const Host&) -> Result<int> { return value; }; };
  EXPECT_EQ(answer_of<int>(host, Purpose::kLook, number(4711)).value(), 4711);
  const auto failed = answer_of<int>(host, Purpose::kLook, [](const Host&) -> Result<int> {
    Error error = caused_by("ask", "somebody", os_error("open", "/x", EBUSY));
    error.host = HostOutcome::kChanged;
    error.stuck = StuckProcess{7, 8};
    return fail(std::move(error));
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().causes.at(0).os_errno, EBUSY);
  EXPECT_EQ(failed.error().host, HostOutcome::kChanged);
  EXPECT_EQ(failed.error().stuck, (StuckProcess{7, 8}));
  const std::string large(1 << 20, 'x');  // longer than a pipe holds
  EXPECT_EQ(answer_of<std::string>(host, Purpose::kLook, [&](const Host&) -> Result<std::string> { return large; }),
            large);
  EXPECT_FALSE(answer_of<int>(host, Purpose::kLook, [](const Host&) -> Result<int> { end_child(0); }));
  EXPECT_FALSE(answer_of<int>(host, Purpose::kLook, [](const Host&) -> Result<int> {
    ::raise(SIGKILL);
    return 0;
  }));
}

TEST(AskChild, NvmlThatIsSilentIsNamed) {
  const test::FixtureHost fixture;
  auto host = fixture.host();
  host.deadline = 50ms;
  const auto silent = answer_of<int>(host, Purpose::kLook, [](const Host& watched) -> Result<int> {
    watched.watch->begin(Watch::Kind::kNvml, "NVML on GPU 0000:41:00.0");
    while (true) ::pause();
  });
  ASSERT_TRUE(test::fails(silent, ErrorCode::kNoAnswer, "NVML_SILENT"));
  EXPECT_TRUE(test::mentions(silent.error(), "0000:41:00.0")) << to_text(silent.error());
  EXPECT_FALSE(silent.error().stuck) << "it could be ended";
}

TEST(DeviceIn, IsTheLastOneNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"sys/bus/pci/devices/0000:41:00.0/driver_override", "0000:41:00.0"},
      {"sys/devices/pci0000:40/0000:40:01.0/0000:41:00.0/sriov_numvfs", "0000:41:00.0"},
      {"sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/nvidia/x", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"},
      {"proc/4711/fd", "proc/4711"},
      {"proc/sys/kernel/osrelease", ""},
      {"NVML on GPU 0000:41:00.0", "0000:41:00.0"},
      {"NVML", ""},
  };
  for (const auto& [path, device] : cases) EXPECT_EQ(device_in(path), device) << path;
}

}  // namespace
}  // namespace slicebroker::vfio
