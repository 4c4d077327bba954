// SPDX-License-Identifier: Apache-2.0
// Steps run and undone on a fixture. AssignVgpuType with types of one digit works on plain files; so does DisableVfs.
#include "broker/transaction/transaction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using test::device_path;
using test::kGpu;
using test::kVf0;
using test::kVf1;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using vfio::AssignVgpuType;
using vfio::BindDriver;

constexpr PciAddress kVf2{0, 0x41, 0, 6};

class TransactionTest : public testing::Test {
 protected:
  TransactionTest() : ledger_(Ledger::open(state_.directory()).value()) {
    fixture_.add_function(kGpu, {.driver = "nvidia", .iommu_group = 13});
    for (const auto& vf : {kVf0, kVf1, kVf2}) {
      fixture_.add_function(vf);
      fixture_.set_vendor_vf(vf, "0", "");
    }
  }

  Lease begin(const std::vector<vfio::Step>& steps) {
    auto lease = test::mdev_lease();
    lease.steps = observe_steps(steps, fixture_.host()).value();
    return test::begin(ledger_, lease);
  }
  std::vector<StepState> recorded() const {
    std::vector<StepState> states;
    const auto view = ledger_.read().value();
    for (const auto& step : view.leases.at(0).steps) states.push_back(step.state);
    return states;
  }
  std::string type(const PciAddress& vf) const { return fixture_.read(device_path(vf, "nvidia/current_vgpu_type")); }

  test::FixtureHost fixture_;
  test::FixtureHost state_;
  Ledger ledger_;
  std::vector<std::string> events_;
  StepListener listener_ = [this](const StepEvent& event) {
    events_.push_back(event.step + ": " + std::string(name(event.state)));
  };
};

TEST_F(TransactionTest, RunsEveryStepAndUndoesItNewestFirst) {
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{kVf1, 6, {}}});
  const auto before = fixture_.snapshot();
  ASSERT_TRUE(ok(run_steps(lease, ledger_, fixture_.host(), listener_)));
  EXPECT_EQ(type(kVf0), "5\n");
  EXPECT_EQ(type(kVf1), "6\n");
  EXPECT_THAT(recorded(), ElementsAre(StepState::kDone, StepState::kDone));
  ASSERT_TRUE(ok(undo_steps(lease, ledger_, fixture_.host(), listener_)));
  EXPECT_TRUE(fixture_.is_as(before));
  EXPECT_THAT(recorded(), ElementsAre(StepState::kUndone, StepState::kUndone));
  EXPECT_THAT(
      events_,
      ElementsAre("assign vGPU type 5 to VF 0000:41:00.4: started", "assign vGPU type 5 to VF 0000:41:00.4: done",
                  "assign vGPU type 6 to VF 0000:41:00.5: started", "assign vGPU type 6 to VF 0000:41:00.5: done",
                  "assign vGPU type 6 to VF 0000:41:00.5: undone", "assign vGPU type 5 to VF 0000:41:00.4: undone"));
  ASSERT_TRUE(ok(undo_steps(lease, ledger_, fixture_.host(), listener_))) << "twice is fine";
  EXPECT_EQ(events_.size(), 6U);
}

TEST_F(TransactionTest, FailureInTheMiddleRestoresTheHostAndSaysSo) {
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{kVf1, 6, 3}, AssignVgpuType{kVf2, 7, {}}});
  const auto before = fixture_.snapshot();
  // The second one gets no GPU instance, and 3 was asked for.
  const auto ran = run_steps(lease, ledger_, fixture_.host(), {});
  ASSERT_TRUE(test::fails(ran, ErrorCode::kRefused, "GPU_INSTANCE_MISMATCH"));
  EXPECT_EQ(ran.error().host, HostOutcome::kRestored);
  EXPECT_TRUE(test::mentions(ran.error(), "assign vGPU type 6 to VF 0000:41:00.5")) << to_text(ran.error());
  EXPECT_TRUE(fixture_.is_as(before));
  EXPECT_THAT(recorded(), ElementsAre(StepState::kUndone, StepState::kUndone, StepState::kPlanned));
}

TEST_F(TransactionTest, UndoThatFailsIsNamedAndTheOthersAreStillUndone) {
  fixture_.set_vendor_vf(kVf1, "00", "");  // "6" reads back as 60, which nobody may then take away
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{kVf1, 6, {}}});
  const auto ran = run_steps(lease, ledger_, fixture_.host(), {});
  ASSERT_FALSE(ran);
  EXPECT_EQ(ran.error().code, ErrorCode::kHostChanged);
  EXPECT_EQ(ran.error().host, HostOutcome::kChanged);
  EXPECT_TRUE(test::mentions(ran.error(), "VGPU_TYPE_NOT_TAKEN")) << to_text(ran.error());
  EXPECT_TRUE(test::mentions(ran.error(), "undo: assign vGPU type 6 to VF 0000:41:00.5")) << to_text(ran.error());
  EXPECT_TRUE(test::mentions(ran.error(), "CHANGED_BY_OTHERS")) << to_text(ran.error());
  EXPECT_TRUE(test::mentions(ran.error(), "slicebroker reconcile")) << to_text(ran.error());
  EXPECT_EQ(type(kVf0), "0\n");
  EXPECT_EQ(type(kVf1), "60\n");
  EXPECT_THAT(recorded(), ElementsAre(StepState::kUndone, StepState::kStarted)) << "what is left can be undone later";
}

TEST_F(TransactionTest, SilentKernelKeepsItsCode) {
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, BindDriver{kGpu, "vfio-pci"}});
  fixture_.make_fifo("sys/bus/pci/drivers/nvidia/unbind");
  const auto ran = run_steps(lease, ledger_, fixture_.impatient_host(), {});
  ASSERT_TRUE(test::fails(ran, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_EQ(ran.error().host, HostOutcome::kChanged) << "the write may still happen";
  EXPECT_EQ(type(kVf0), "0\n");
}

TEST_F(TransactionTest, WhatWasSoIsNeitherDoneNorUndone) {
  fixture_.set_vendor_vf(kVf0, "5", "");
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{kVf1, 6, {}}});
  EXPECT_TRUE(lease.steps[0].already_so);
  ASSERT_TRUE(ok(run_steps(lease, ledger_, fixture_.host(), {})));
  EXPECT_THAT(recorded(), ElementsAre(StepState::kPlanned, StepState::kDone));
  ASSERT_TRUE(ok(undo_steps(lease, ledger_, fixture_.host(), {})));
  EXPECT_EQ(type(kVf0), "5\n");
  EXPECT_EQ(type(kVf1), "0\n");
}

// Recovery after a crash has only what the ledger says.
TEST_F(TransactionTest, CrashedBrokersStepsAreUndoneFromTheLedger) {
  const auto before = fixture_.snapshot();
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{kVf1, 6, {}}, AssignVgpuType{kVf2, 7, {}}});
  ASSERT_TRUE(ok(ledger_.set_step_state(lease.generation, 0, StepState::kDone)));
  ASSERT_TRUE(ok(ledger_.set_step_state(lease.generation, 1, StepState::kStarted)));
  fixture_.write(device_path(kVf0, "nvidia/current_vgpu_type"), "5\n");
  fixture_.write(device_path(kVf2, "nvidia/current_vgpu_type"), "7\n");  // somebody else's: the third never started
  auto read = ledger_.read().value().leases.at(0);
  ASSERT_TRUE(ok(undo_steps(read, ledger_, fixture_.host(), {})));
  EXPECT_EQ(type(kVf0), "0\n");
  EXPECT_EQ(type(kVf1), "0\n");
  EXPECT_EQ(type(kVf2), "7\n");
  EXPECT_THAT(recorded(), ElementsAre(StepState::kUndone, StepState::kUndone, StepState::kPlanned));
}

TEST_F(TransactionTest, ObservingChangesNothingAndNamesWhatItCantSee) {
  const auto before = fixture_.snapshot();
  const auto seen =
      observe_steps({AssignVgpuType{kVf0, 5, {}}, AssignVgpuType{{0, 0x42, 0, 0}, 5, {}}}, fixture_.host());
  ASSERT_FALSE(seen);
  EXPECT_TRUE(test::mentions(seen.error(), "0000:42:00.0")) << to_text(seen.error());
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(TransactionTest, NothingIsWrittenToTheHostThatTheLedgerDoesNotKnow) {
  auto lease = begin({AssignVgpuType{kVf0, 5, {}}});
  lease.generation = 4711;  // the ledger has no such lease: its steps can't be recorded
  const auto before = fixture_.snapshot();
  EXPECT_FALSE(run_steps(lease, ledger_, fixture_.host(), {}));
  EXPECT_TRUE(fixture_.is_as(before));
}

}  // namespace
}  // namespace slicebroker::broker
