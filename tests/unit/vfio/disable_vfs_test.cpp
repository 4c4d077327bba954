// SPDX-License-Identifier: Apache-2.0
#include "vfio/sriov/disable_vfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::fails;
using test::FixtureHost;
using test::ok;

constexpr PciAddress kPf{0, 0x41, 0, 0};
constexpr PciAddress kVf0{0, 0x41, 0, 4};
constexpr PciAddress kVf1{0, 0x41, 0, 5};
const DisableVfs kStep{kPf};

class DisableVfsTest : public testing::Test {
 protected:
  DisableVfsTest() {
    fixture_.add_function(kPf, {.driver = "nvidia"});
    fixture_.add_function(kVf0, {.driver = "nvidia", .iommu_group = 40, .vfio_device = "vfio0"});
    fixture_.add_function(kVf1, {.driver_override = "pci-stub", .iommu_group = 41});
    fixture_.set_vfs(kPf, {kVf0, kVf1}, 4);
  }
  std::string count() const { return fixture_.read(device_path(kPf, "sriov_numvfs")); }

  FixtureHost fixture_;
};

TEST_F(DisableVfsTest, ObservesEveryVfWithDriverAndOverride) {
  const auto seen = kStep.observe(fixture_.host());
  ASSERT_TRUE(ok(seen));
  EXPECT_FALSE(seen->already_so);
  EXPECT_EQ(seen->before, (Fields{{"count", "2"},
                                  {"driver", "nvidia"},
                                  {"vf.0000:41:00.4", "nvidia|(null)"},
                                  {"vf.0000:41:00.5", "|pci-stub"}}));
}

TEST_F(DisableVfsTest, WithoutVfsIsSo) {
  fixture_.set_vfs(kPf, {}, 4);
  EXPECT_TRUE(kStep.observe(fixture_.host()).value().already_so);
}

TEST_F(DisableVfsTest, GoesThereAndBack) {
  const auto seen = kStep.observe(fixture_.host()).value();
  const auto before = fixture_.snapshot();
  ASSERT_TRUE(ok(kStep.apply(fixture_.host())));
  EXPECT_EQ(count(), "0\n");
  EXPECT_TRUE(kStep.observe(fixture_.host()).value().already_so);
  ASSERT_TRUE(ok(kStep.undo(fixture_.host(), seen.before)));
  EXPECT_TRUE(fixture_.is_as(before));
  EXPECT_TRUE(ok(kStep.undo(fixture_.host(), seen.before))) << "twice is fine";
}

TEST_F(DisableVfsTest, UndoGivesEveryVfItsOverrideBack) {
  const auto seen = kStep.observe(fixture_.host()).value();
  ASSERT_TRUE(ok(kStep.apply(fixture_.host())));
  fixture_.write(device_path(kVf1, "driver_override"), "(null)\n");  // a fresh VF has none
  ASSERT_TRUE(ok(kStep.undo(fixture_.host(), seen.before)));
  EXPECT_EQ(fixture_.read(device_path(kVf1, "driver_override")), "pci-stub\n");
}

TEST_F(DisableVfsTest, UndoWithoutTheVfsComingBackFails) {
  const auto seen = kStep.observe(fixture_.host()).value();
  ASSERT_TRUE(ok(kStep.apply(fixture_.host())));
  fixture_.remove("sys/bus/pci/devices/" + kVf1.to_string());
  EXPECT_FALSE(kStep.undo(fixture_.host(), seen.before));
}

TEST_F(DisableVfsTest, UndoLeavesTheVfsOfOthersAlone) {
  const auto seen = kStep.observe(fixture_.host()).value();
  fixture_.set_vfs(kPf, {kVf0}, 4);
  EXPECT_FALSE(kStep.undo(fixture_.host(), seen.before));
  EXPECT_EQ(count(), "1\n");
}

TEST_F(DisableVfsTest, VfInUseIsNamedAndNoneIsDisabled) {
  struct Case {
    std::string name;
    void (*use)(const FixtureHost&);
    std::string reason;
    std::string said;
  };
  const Case cases[] = {
      {"held by a VMM", [](const FixtureHost& host) { host.add_process(4711, "qemu", {"/dev/vfio/41"}); },
       "HELD_BY_PROCESS", "pid 4711 (qemu) has /dev/vfio/41 open"},
      {"carries an mdev",
       [](const FixtureHost& host) { host.add_mdev("6f1c2d3e-0000-5000-8000-00000000000a", kVf1, "nvidia-699", 77); },
       "VF_IN_USE", "6f1c2d3e-0000-5000-8000-00000000000a"},
      {"carries a vGPU", [](const FixtureHost& host) { host.set_vendor_vf(kVf1, "1155", ""); }, "VF_IN_USE", "1155"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const FixtureHost host;
    host.add_function(kPf);
    host.add_function(kVf0, {.iommu_group = 40});
    host.add_function(kVf1, {.iommu_group = 41});
    host.set_vfs(kPf, {kVf0, kVf1}, 4);
    c.use(host);
    const auto before = host.snapshot();
    const auto disabled = kStep.apply(host.host());
    ASSERT_TRUE(fails(disabled, ErrorCode::kHeld, c.reason));
    EXPECT_TRUE(test::mentions(disabled.error(), c.said)) << to_text(disabled.error());
    EXPECT_TRUE(test::mentions(disabled.error(), kVf1.to_string())) << to_text(disabled.error());
    EXPECT_TRUE(host.is_as(before));
  }
}

TEST_F(DisableVfsTest, DriverThatTakesTheWriteAndKeepsItsVfsIsNotBelieved) {
  fixture_.write(device_path(kPf, "sriov_numvfs"), "02\n");  // "0" written over it still reads as 2
  EXPECT_FALSE(kStep.apply(fixture_.impatient_host()));
}

TEST_F(DisableVfsTest, DriverThatRefusesTheWriteHasARemedy) {
  fixture_.remove(device_path(kPf, "sriov_numvfs"));
  fixture_.make_unreadable(device_path(kPf, "sriov_totalvfs"));
  EXPECT_FALSE(kStep.apply(fixture_.host())) << "unreadable";
  fixture_.remove(device_path(kPf, "sriov_totalvfs"));
  const auto disabled = kStep.apply(fixture_.host());
  ASSERT_FALSE(disabled);
  EXPECT_TRUE(test::mentions(disabled.error(), "sriov-manage -d 0000:41:00.0")) << to_text(disabled.error());
}

}  // namespace
}  // namespace slicebroker::vfio
