// SPDX-License-Identifier: Apache-2.0
// CreateMdev and AssignVgpuType. Numbers of one digit, since a plain file keeps what is behind a write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/step.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::fails;
using test::FixtureHost;
using test::ok;

constexpr PciAddress kVf{0, 0x41, 0, 4};
constexpr PciAddress kOtherVf{0, 0x41, 0, 5};
const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";
const CreateMdev kCreate{kVf, "nvidia-699", *Uuid::parse(kUuid), {}};

class CreateMdevTest : public testing::Test {
 protected:
  CreateMdevTest() {
    for (const auto& vf : {kVf, kOtherVf}) {
      fixture_.add_function(vf);
      fixture_.add_mdev_type(vf, "nvidia-699", "GRID A100D-1-10C", "1");
      fixture_.add_mdev_type(vf, "nvidia-700", "GRID A100D-2-20C", "1");
    }
  }
  FixtureHost fixture_;
};

TEST_F(CreateMdevTest, ObservesWhetherItIsThere) {
  const auto absent = kCreate.observe(fixture_.host());
  ASSERT_TRUE(ok(absent));
  EXPECT_FALSE(absent->already_so);
  EXPECT_EQ(absent->before, (Fields{{"exists", "no"}}));
  fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);
  EXPECT_TRUE(kCreate.observe(fixture_.host()).value().already_so);
}

TEST_F(CreateMdevTest, AnotherDeviceOfThatUuidIsNotIt) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-700", 77);
  EXPECT_FALSE(kCreate.observe(fixture_.host()).value().already_so) << "another type";
  fixture_.remove_mdev(kUuid);
  fixture_.add_mdev(kUuid, kOtherVf, "nvidia-699", 78);
  EXPECT_FALSE(kCreate.observe(fixture_.host()).value().already_so) << "another parent";
}

TEST_F(CreateMdevTest, AcceptedWriteWithoutADeviceIsAFailure) {
  const auto made = kCreate.apply(fixture_.host());
  ASSERT_FALSE(made);
  EXPECT_TRUE(test::mentions(made.error(), kUuid)) << to_text(made.error());
  EXPECT_EQ(fixture_.read(device_path(kVf, "mdev_supported_types/nvidia-699/create")), kUuid);
}

TEST_F(CreateMdevTest, DeviceThatAppearsIsVerified) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);  // as the kernel would at the write
  EXPECT_TRUE(ok(kCreate.apply(fixture_.host())));
}

TEST_F(CreateMdevTest, UnknownTypeNamesItsFile) {
  CreateMdev step = kCreate;
  step.type_id = "nvidia-1";
  const auto made = step.apply(fixture_.host());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().os_errno, ENOENT);
  EXPECT_TRUE(test::mentions(made.error(), "mdev_supported_types/nvidia-1/create")) << to_text(made.error());
}

TEST_F(CreateMdevTest, OnAnotherGpuInstanceThanAskedForIsRefused) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);
  CreateMdev step = kCreate;
  step.gpu_instance_id = 5;
  EXPECT_TRUE(fails(step.apply(fixture_.host()), ErrorCode::kRefused, "GPU_INSTANCE_MISMATCH")) << "none was given";
  fixture_.write(device_path(kVf, kUuid + "/nvidia/gpu_instance_id"), "6\n");
  const auto other = step.apply(fixture_.host());
  ASSERT_TRUE(fails(other, ErrorCode::kRefused, "GPU_INSTANCE_MISMATCH"));
  EXPECT_TRUE(test::mentions(other.error(), "5") && test::mentions(other.error(), "6")) << to_text(other.error());
  fixture_.write(device_path(kVf, kUuid + "/nvidia/gpu_instance_id"), "5\n");
  EXPECT_TRUE(ok(step.apply(fixture_.host())));
}

TEST_F(CreateMdevTest, UndoOfAnAbsentDeviceIsSuccess) {
  const auto before = fixture_.snapshot();
  EXPECT_TRUE(ok(kCreate.undo(fixture_.host(), {{"exists", "no"}})));
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(CreateMdevTest, UndoAsksTheKernelAndLooks) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);
  const auto undone = kCreate.undo(fixture_.impatient_host(), {{"exists", "no"}});
  EXPECT_TRUE(fails(undone, ErrorCode::kNoAnswer, "MDEV_NOT_REMOVED"));
  EXPECT_EQ(fixture_.read(device_path(kVf, kUuid + "/remove")), "1");
}

TEST_F(CreateMdevTest, UndoLeavesAnotherDeviceOfThatUuidAlone) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-700", 77);
  EXPECT_TRUE(fails(kCreate.undo(fixture_.host(), {}), ErrorCode::kDrift, "CHANGED_BY_OTHERS"));
  EXPECT_EQ(fixture_.read(device_path(kVf, kUuid + "/remove")), "");
  fixture_.remove_mdev(kUuid);
  fixture_.add_mdev(kUuid, kOtherVf, "nvidia-699", 78);
  EXPECT_TRUE(fails(kCreate.undo(fixture_.host(), {}), ErrorCode::kDrift, "CHANGED_BY_OTHERS"));
  EXPECT_EQ(fixture_.read(device_path(kOtherVf, kUuid + "/remove")), "");
}

TEST_F(CreateMdevTest, UndoNeverRemovesAnOpenDevice) {
  for (const char* node : {"/dev/vfio/77", "/dev/vfio/devices/vfio77"}) {
    SCOPED_TRACE(node);
    fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);
    fixture_.add_process(4711, "qemu", {node});
    const auto undone = kCreate.undo(fixture_.host(), {});
    ASSERT_TRUE(fails(undone, ErrorCode::kHeld, "HELD_BY_PROCESS"));
    EXPECT_TRUE(test::mentions(undone.error(), "pid 4711 (qemu) has " + std::string(node))) << to_text(undone.error());
    EXPECT_EQ(fixture_.read(device_path(kVf, kUuid + "/remove")), "");
  }
}

TEST_F(CreateMdevTest, RemoveThatBlocksIsWedged) {
  fixture_.add_mdev(kUuid, kVf, "nvidia-699", 77);
  fixture_.make_fifo(device_path(kVf, kUuid + "/remove"));
  EXPECT_TRUE(fails(kCreate.undo(fixture_.impatient_host(), {}), ErrorCode::kNoAnswer, "WEDGED"));
}

class AssignVgpuTypeTest : public testing::Test {
 protected:
  AssignVgpuTypeTest() {
    fixture_.add_function(kVf, {.driver = "nvidia", .iommu_group = 40, .vfio_device = "vfio4"});
    fixture_.set_vendor_vf(kVf, "0", "");
  }
  std::string type() const { return fixture_.read(device_path(kVf, "nvidia/current_vgpu_type")); }
  FixtureHost fixture_;
  AssignVgpuType step_{kVf, 5, {}};
};

TEST_F(AssignVgpuTypeTest, GoesThereAndBack) {
  const auto seen = step_.observe(fixture_.host());
  ASSERT_TRUE(ok(seen));
  EXPECT_FALSE(seen->already_so);
  const auto before = fixture_.snapshot();
  ASSERT_TRUE(ok(step_.apply(fixture_.host())));
  EXPECT_EQ(type(), "5\n");
  EXPECT_TRUE(step_.observe(fixture_.host()).value().already_so);
  ASSERT_TRUE(ok(step_.undo(fixture_.host(), seen->before)));
  EXPECT_TRUE(fixture_.is_as(before));
  EXPECT_TRUE(ok(step_.undo(fixture_.host(), seen->before))) << "twice is fine";
}

TEST_F(AssignVgpuTypeTest, TypeThatReadsBackOtherwiseIsNotTaken) {
  fixture_.set_vendor_vf(kVf, "00", "");  // "5" over "00" reads 50
  const auto assigned = step_.apply(fixture_.host());
  ASSERT_TRUE(fails(assigned, ErrorCode::kFailed, "VGPU_TYPE_NOT_TAKEN"));
  EXPECT_TRUE(test::mentions(assigned.error(), "50")) << to_text(assigned.error());
}

TEST_F(AssignVgpuTypeTest, OnAnotherGpuInstanceThanAskedForIsRefused) {
  step_.gpu_instance_id = 3;
  fixture_.write(device_path(kVf, "nvidia/gpu_instance_id"), "4\n");
  EXPECT_TRUE(fails(step_.apply(fixture_.host()), ErrorCode::kRefused, "GPU_INSTANCE_MISMATCH"));
  ASSERT_TRUE(ok(step_.undo(fixture_.host(), {{"type", "0"}})));
  EXPECT_EQ(type(), "0\n");
}

TEST_F(AssignVgpuTypeTest, UndoLeavesTheTypeOfOthersAlone) {
  fixture_.set_vendor_vf(kVf, "7", "");
  EXPECT_TRUE(fails(step_.undo(fixture_.host(), {{"type", "0"}}), ErrorCode::kDrift, "CHANGED_BY_OTHERS"));
  EXPECT_EQ(type(), "7\n");
}

TEST_F(AssignVgpuTypeTest, UndoRestoresTheTypeThatWasThere) {
  fixture_.set_vendor_vf(kVf, "5", "");
  ASSERT_TRUE(ok(step_.undo(fixture_.host(), {{"type", "7"}})));
  EXPECT_EQ(type(), "7\n");
}

TEST_F(AssignVgpuTypeTest, UndoNeverTakesTheTypeFromAnOpenVf) {
  fixture_.set_vendor_vf(kVf, "5", "");
  for (const char* node : {"/dev/vfio/40", "/dev/vfio/devices/vfio4"}) {
    SCOPED_TRACE(node);
    fixture_.add_process(4711, "qemu", {node});
    EXPECT_TRUE(fails(step_.undo(fixture_.host(), {{"type", "0"}}), ErrorCode::kHeld, "HELD_BY_PROCESS"));
    EXPECT_EQ(type(), "5\n");
  }
}

}  // namespace
}  // namespace slicebroker::vfio
