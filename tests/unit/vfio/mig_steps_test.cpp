// SPDX-License-Identifier: Apache-2.0
// DestroyGpuInstances and DisableMig against fake_nvml.c, on a layout that it would number the same again.
#include "vfio/nvidia/mig_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "tests/unit/vfio/fake_nvml.h"
#include "vfio/nvidia/nvml.h"
#include "vfio/step.h"

namespace slicebroker::vfio {
namespace {

using nvidia::GpuInstance;
using nvidia::MigMode;
using nvidia::Nvml;
using test::fails;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kA100{0, 0x41, 0, 0};
constexpr PciAddress kMissing{0, 0x42, 0, 0};
const DestroyGpuInstances kDestroy{kA100};
const DisableMig kDisable{kA100};

GpuInstance instance(std::uint32_t profile, nvidia::Placement placement,
                     std::vector<nvidia::ComputeInstance> compute_instances) {
  GpuInstance made;
  made.profile_id = profile;
  made.placement = placement;
  made.compute_instances = std::move(compute_instances);
  return made;
}

class MigStepsTest : public testing::Test {
 protected:
  // MIG on; GI 1 (3g at 4:4, one CI) and GI 2 (2g at 2:2, two CIs), nobody in them.
  MigStepsTest() {
    nvml_.set("FAKE_NVML_MIG", "off");
    nvml_.reset();
    const auto nvml = Nvml::open(test::FakeNvml::path()).value();
    EXPECT_TRUE(ok(nvml.set_mig_mode(kA100, MigMode::kOn)));
    EXPECT_TRUE(ok(nvml.create_gpu_instance(kA100, instance(9, {4, 4}, {{0, 103, {0, 3}, ""}}))));
    EXPECT_TRUE(
        ok(nvml.create_gpu_instance(kA100, instance(14, {2, 2}, {{0, 101, {0, 1}, ""}, {1, 101, {1, 1}, ""}}))));
  }

  Host host() const {
    auto made = fixture_.host();
    made.nvml_library = test::FakeNvml::path();
    return made;
  }
  nvidia::Gpu gpu() const { return Nvml::open(test::FakeNvml::path()).value().read_driver().value().gpus.at(0); }

  test::FakeNvml nvml_;
  test::FixtureHost fixture_;
};

TEST_F(MigStepsTest, LayoutComesBackWithTheSameUuids) {
  const auto before = gpu().instances;
  ASSERT_THAT(before, SizeIs(2));
  ASSERT_FALSE(before[1].compute_instances.at(1).mig_uuid.empty());
  const auto seen = kDestroy.observe(host());
  ASSERT_TRUE(ok(seen));
  EXPECT_FALSE(seen->already_so);
  ASSERT_TRUE(ok(kDestroy.apply(host())));
  EXPECT_THAT(gpu().instances, IsEmpty());
  EXPECT_TRUE(kDestroy.observe(host()).value().already_so);
  ASSERT_TRUE(ok(kDestroy.undo(host(), seen->before)));
  EXPECT_EQ(gpu().instances, before);
  ASSERT_TRUE(ok(kDestroy.undo(host(), seen->before))) << "twice is fine";
  EXPECT_EQ(gpu().instances, before);
}

TEST_F(MigStepsTest, WholeLayoutAndModeComeBackInReverse) {
  const auto before = gpu().instances;
  const auto destroyed = kDestroy.observe(host()).value();
  const auto disabled = kDisable.observe(host()).value();
  EXPECT_EQ(disabled.before, (Fields{{"mig_mode", "on"}}));
  ASSERT_TRUE(ok(kDestroy.apply(host())));
  ASSERT_TRUE(ok(kDisable.apply(host())));
  EXPECT_EQ(gpu().mig_mode, MigMode::kOff);
  EXPECT_TRUE(kDisable.observe(host()).value().already_so);
  ASSERT_TRUE(ok(kDisable.undo(host(), disabled.before)));
  EXPECT_EQ(gpu().mig_mode, MigMode::kOn);
  ASSERT_TRUE(ok(kDestroy.undo(host(), destroyed.before)));
  EXPECT_EQ(gpu().instances, before);
}

TEST_F(MigStepsTest, UndoMakesOnlyWhatIsMissing) {
  const auto before = gpu().instances;
  const auto seen = kDestroy.observe(host()).value();
  ASSERT_TRUE(ok(Nvml::open(test::FakeNvml::path()).value().destroy_gpu_instance(kA100, 2)));
  ASSERT_TRUE(ok(kDestroy.undo(host(), seen.before)));
  EXPECT_EQ(gpu().instances, before);
}

TEST_F(MigStepsTest, InstanceInUseStaysAndWhatWasDestroyedComesBack) {
  const auto before = gpu().instances;
  const auto seen = kDestroy.observe(host()).value();
  nvml_.set("FAKE_NVML_FAIL", "nvmlGpuInstanceDestroy@1=19");
  const auto destroyed = kDestroy.apply(host());
  ASSERT_FALSE(destroyed);
  EXPECT_EQ(destroyed.error().code, ErrorCode::kHeld);
  nvml_.unset("FAKE_NVML_FAIL");
  ASSERT_TRUE(ok(kDestroy.undo(host(), seen.before)));
  EXPECT_EQ(gpu().instances, before);
}

TEST_F(MigStepsTest, AnotherInstanceInThePlaceIsReportedAndLeftAlone) {
  auto seen = kDestroy.observe(host()).value();
  const auto now = gpu().instances;
  seen.before["gpu_instance.2"] = "14,2,2;101,0,1,MIG-00000000-0000-5000-8000-000000000099";
  const auto undone = kDestroy.undo(host(), seen.before);
  ASSERT_TRUE(fails(undone, ErrorCode::kHostChanged, "GPU_INSTANCE_NOT_THE_SAME"));
  EXPECT_TRUE(test::mentions(undone.error(), "MIG-00000000-0000-5000-8000-000000000099")) << to_text(undone.error());
  EXPECT_EQ(gpu().instances, now);
}

TEST_F(MigStepsTest, NumberThatDoesNotComeBackIsReported) {
  ASSERT_TRUE(ok(Nvml::open(test::FakeNvml::path()).value().destroy_gpu_instance(kA100, 1)));
  const auto seen = kDestroy.observe(host()).value();  // GI 2 alone; made again it becomes GI 1
  ASSERT_TRUE(ok(kDestroy.apply(host())));
  EXPECT_TRUE(fails(kDestroy.undo(host(), seen.before), ErrorCode::kHostChanged, "GPU_INSTANCE_NOT_THE_SAME"));
}

TEST_F(MigStepsTest, ModeWithInstancesIsHeld) {
  const auto disabled = kDisable.apply(host());
  ASSERT_FALSE(disabled);
  EXPECT_EQ(disabled.error().code, ErrorCode::kHeld);
  EXPECT_EQ(gpu().mig_mode, MigMode::kOn);
  EXPECT_EQ(gpu().pending_mig_mode, MigMode::kOn) << "nothing may wait for the next reset";
}

TEST_F(MigStepsTest, UndoOfAModeThatWasOffLeavesItOff) {
  ASSERT_TRUE(ok(kDestroy.apply(host())));
  ASSERT_TRUE(ok(kDisable.apply(host())));
  ASSERT_TRUE(ok(kDisable.undo(host(), {{"mig_mode", "off"}})));
  EXPECT_EQ(gpu().mig_mode, MigMode::kOff);
}

TEST_F(MigStepsTest, GpuThatNvmlDoesNotListIsNotFound) {
  for (const Step& step : {Step(DestroyGpuInstances{kMissing}), Step(DisableMig{kMissing})}) {
    SCOPED_TRACE(describe(step));
    EXPECT_TRUE(fails(observe(step, host()), ErrorCode::kNotFound, "GPU_NOT_IN_NVML"));
    EXPECT_TRUE(fails(vfio::apply(step, host()), ErrorCode::kNotFound, "GPU_NOT_IN_NVML"));
    EXPECT_TRUE(fails(undo(step, host(), {{"mig_mode", "on"}, {"gpu_instance.1", "9,4,4"}}), ErrorCode::kNotFound,
                      "GPU_NOT_IN_NVML"));
  }
}

TEST_F(MigStepsTest, WithoutNvmlSayWhatIsMissing) {
  EXPECT_TRUE(fails(kDestroy.observe(fixture_.host()), ErrorCode::kNotFound, "NVML_NOT_FOUND"));
  EXPECT_TRUE(fails(kDisable.apply(fixture_.host()), ErrorCode::kNotFound, "NVML_NOT_FOUND"));
}

}  // namespace
}  // namespace slicebroker::vfio
