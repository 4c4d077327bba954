// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/bind_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "tests/unit/vfio/fake_kernel.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::fails;
using test::FixtureHost;
using test::ok;

constexpr PciAddress kGpu{0, 0x41, 0, 0};
const BindDriver kStep{kGpu, "vfio-pci"};

class BindDriverTest : public testing::Test {
 protected:
  void add_gpu(const std::string& driver, const std::string& driver_override = "(null)") {
    fixture_.add_function(kGpu, {.driver = driver, .driver_override = driver_override, .iommu_group = 13});
    fixture_.set_driver({0, 0xff, 0, 0}, "vfio-pci");  // the driver is loaded
  }
  std::string driver() const {
    return fixture_.root().find_link_name(device_path(kGpu, "driver")).value().value_or("");
  }
  std::string driver_override() const { return fixture_.read(device_path(kGpu, "driver_override")); }

  FixtureHost fixture_;
};

TEST_F(BindDriverTest, ObservesWhatItWillChange) {
  add_gpu("nvidia", "nvidia");
  const auto seen = kStep.observe(fixture_.host());
  ASSERT_TRUE(ok(seen));
  EXPECT_FALSE(seen->already_so);
  EXPECT_EQ(seen->before, (Fields{{"driver", "nvidia"}, {"driver_override", "nvidia"}, {"power_control", "on"}}));
}

TEST_F(BindDriverTest, OnItsDriverAlreadyIsSo) {
  add_gpu("vfio-pci");
  EXPECT_TRUE(kStep.observe(fixture_.host()).value().already_so);
  fixture_.set_driver(kGpu, "");
  EXPECT_FALSE(kStep.observe(fixture_.host()).value().already_so);
}

TEST_F(BindDriverTest, KernelThatDoesNothingIsNotBelieved) {
  add_gpu("nvidia");
  const auto seen = kStep.observe(fixture_.host()).value();
  const auto bound = kStep.apply(fixture_.impatient_host());
  ASSERT_TRUE(fails(bound, ErrorCode::kFailed, "DRIVER_NOT_BOUND"));
  EXPECT_TRUE(test::mentions(bound.error(), "its driver is nvidia")) << to_text(bound.error());
  EXPECT_EQ(driver_override(), "vfio-pci\n");
  ASSERT_TRUE(ok(kStep.undo(fixture_.host(), seen.before)));
  EXPECT_EQ(driver(), "nvidia");
  EXPECT_EQ(driver_override().front(), '\n') << "a lone newline clears an override that was not set";
}

TEST_F(BindDriverTest, UndoRestoresTheOverrideThatWasSet) {
  add_gpu("nvidia", "pci-stub");
  const auto seen = kStep.observe(fixture_.host()).value();
  EXPECT_FALSE(kStep.apply(fixture_.impatient_host()));
  EXPECT_EQ(driver_override(), "vfio-pci\n");
  ASSERT_TRUE(ok(kStep.undo(fixture_.host(), seen.before)));
  EXPECT_EQ(driver_override(), "pci-stub\n");
}

TEST_F(BindDriverTest, GoesThereAndBackWhereTheKernelAnswers) {
  struct Case {
    std::string name;
    std::string driver;
    std::string driver_override;
  };
  const Case cases[] = {{"from its driver", "nvidia", "nvidia12"},
                        {"from no driver", "", "pci-stub"},
                        {"from pci-stub", "pci-stub", "pci-stub"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    add_gpu(c.driver, c.driver_override);
    fixture_.write("dev/vfio/13", "");
    if (!c.driver.empty()) fixture_.write("sys/bus/pci/drivers/" + c.driver + "/unbind", "");
    const auto before = kStep.observe(fixture_.host()).value().before;
    const test::FakeKernel kernel(fixture_, kGpu);
    const auto bound = kStep.apply(fixture_.host());
    ASSERT_TRUE(ok(bound));
    EXPECT_EQ(driver(), "vfio-pci");
    EXPECT_TRUE(kStep.observe(fixture_.host()).value().already_so);
    fixture_.write(device_path(kGpu, "power/control"), "auto\n");  // vfio-pci's doing
    ASSERT_TRUE(ok(kStep.undo(fixture_.host(), before)));
    EXPECT_EQ(driver(), c.driver);
    EXPECT_EQ(driver_override(), c.driver_override + "\n");
    EXPECT_EQ(fixture_.read(device_path(kGpu, "power/control")).substr(0, 2), "on");
    EXPECT_TRUE(ok(kStep.undo(fixture_.host(), before))) << "twice is fine";
  }
}

TEST_F(BindDriverTest, NodeThatDoesNotAppearIsNoAnswer) {
  add_gpu("vfio-pci");
  fixture_.make_directory(device_path(kGpu, "vfio-dev/vfio0"));
  const auto bound = kStep.apply(fixture_.impatient_host());
  ASSERT_TRUE(fails(bound, ErrorCode::kNoAnswer, "VFIO_NODE_MISSING"));
  EXPECT_TRUE(test::mentions(bound.error(), "/dev/vfio/13")) << to_text(bound.error());
}

TEST_F(BindDriverTest, HeldFunctionIsNeverUnbound) {
  struct Case {
    std::string name;
    std::string node;
  };
  const Case cases[] = {{"by its group", "/dev/vfio/13"}, {"by its GPU node", "/dev/nvidia3"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    add_gpu("nvidia");
    fixture_.set_nvidia_minor(kGpu, 3);
    fixture_.add_process(4711, "nv-hostengine", {c.node});
    const auto bound = kStep.apply(fixture_.host());
    ASSERT_TRUE(fails(bound, ErrorCode::kHeld, "HELD_BY_PROCESS"));
    EXPECT_TRUE(test::mentions(bound.error(), "pid 4711 (nv-hostengine) has " + c.node)) << to_text(bound.error());
    EXPECT_EQ(fixture_.read("sys/bus/pci/drivers/nvidia/unbind"), "");
    EXPECT_EQ(fixture_.read("sys/bus/pci/drivers_probe"), "");
  }
}

TEST_F(BindDriverTest, UndoOfAHeldFunctionIsRefusedToo) {
  add_gpu("vfio-pci", "vfio-pci");
  fixture_.add_process(4711, "qemu", {"/dev/vfio/13"});
  const auto undone = kStep.undo(fixture_.host(), {{"driver", "nvidia"}, {"driver_override", "(null)"}});
  EXPECT_TRUE(fails(undone, ErrorCode::kHeld, "HELD_BY_PROCESS"));
  EXPECT_EQ(fixture_.read("sys/bus/pci/drivers/vfio-pci/unbind"), "");
}

TEST_F(BindDriverTest, UndoLeavesTheDriverOfOthersAlone) {
  add_gpu("xe-vfio-pci", "xe-vfio-pci");
  const auto before = fixture_.snapshot();
  const auto undone = kStep.undo(fixture_.host(), {{"driver", "nvidia"}, {"driver_override", "(null)"}});
  ASSERT_TRUE(fails(undone, ErrorCode::kDrift, "CHANGED_BY_OTHERS"));
  EXPECT_TRUE(test::mentions(undone.error(), "xe-vfio-pci")) << to_text(undone.error());
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(BindDriverTest, UndoLeavesTheOverrideOfOthersAlone) {
  add_gpu("vfio-pci", "pci-stub");
  const auto before = fixture_.snapshot();
  const auto undone = kStep.undo(fixture_.host(), {{"driver", "nvidia"}, {"driver_override", "(null)"}});
  ASSERT_TRUE(fails(undone, ErrorCode::kDrift, "CHANGED_BY_OTHERS"));
  EXPECT_TRUE(test::mentions(undone.error(), "driver_override is now pci-stub")) << to_text(undone.error());
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(BindDriverTest, UndoOfAFunctionAsBeforeTouchesNothing) {
  add_gpu("nvidia", "nvidia");
  const auto before = fixture_.snapshot();
  const auto undone = kStep.undo(fixture_.host(), kStep.observe(fixture_.host()).value().before);
  EXPECT_TRUE(ok(undone));
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(BindDriverTest, UnbindThatBlocksIsWedged) {
  add_gpu("nvidia");
  fixture_.make_fifo("sys/bus/pci/drivers/nvidia/unbind");
  const auto bound = kStep.apply(fixture_.impatient_host());
  ASSERT_TRUE(fails(bound, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_EQ(fixture_.read("sys/bus/pci/drivers_probe"), "") << "no probe after a silent unbind";
}

}  // namespace
}  // namespace slicebroker::vfio
