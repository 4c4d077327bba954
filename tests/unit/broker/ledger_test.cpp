// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::kGpu;
using test::kVf0;
using test::mdev_lease;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class LedgerTest : public testing::Test {
 protected:
  Ledger open() const { return Ledger::open(directory()).value(); }
  std::string directory() const { return fixture_.directory() + "/state"; }

  test::FixtureHost fixture_;
};

// A lease with something in every field.
Lease full_lease() {
  auto lease = mdev_lease();
  lease.vm_uuid = Uuid::parse("99999999-0000-4000-8000-000000000001");
  lease.slice = "\"quoted\", 'quoted', Ünïcode, 100 %\nand a line";
  lease.attachment.companions = {kGpu, kVf0};
  lease.devices = {{"pci:0000:41:00.4", kGpu}, {"mdev:" + test::kMdev, kGpu}, {"gpu-instance:0000:41:00.0/3", kGpu}};
  lease.steps = {{vfio::DestroyGpuInstances{kGpu}, {{"gpu_instance.1", "9,4,4;103,0,3,MIG-x"}}, false, {}},
                 {vfio::DisableMig{kGpu}, {{"mig_mode", "off"}}, true, {}},
                 {vfio::CreateMdev{kVf0, "nvidia-699", *Uuid::parse(test::kMdev), 3}, {}, false, {}}};
  return lease;
}

void expect_same(const Lease& read, const Lease& written) {
  EXPECT_EQ(read.generation, written.generation);
  EXPECT_EQ(read.state, written.state);
  EXPECT_EQ(read.vm, written.vm);
  EXPECT_EQ(read.vm_uuid, written.vm_uuid);
  EXPECT_EQ(read.selector, written.selector);
  EXPECT_EQ(read.slice, written.slice);
  EXPECT_EQ(read.boot_id, written.boot_id);
  EXPECT_EQ(read.broker, written.broker);
  EXPECT_TRUE(read.attachment == written.attachment) << read.attachment.id;
  EXPECT_TRUE(read.devices == written.devices);
  ASSERT_EQ(read.steps.size(), written.steps.size());
  for (std::size_t i = 0; i < read.steps.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_TRUE(read.steps[i].step == written.steps[i].step);
    EXPECT_EQ(read.steps[i].before, written.steps[i].before);
    EXPECT_EQ(read.steps[i].already_so, written.steps[i].already_so);
    EXPECT_EQ(read.steps[i].state, written.steps[i].state);
  }
}

TEST_F(LedgerTest, LeaseIsReadAsItWasWrittenAlsoAfterReopening) {
  Lease written;
  {
    auto ledger = open();
    written = test::begin(ledger, full_lease());
    EXPECT_EQ(written.attachment.id, "slicebroker-" + std::to_string(written.generation));
    const auto view = ledger.read();
    ASSERT_TRUE(ok(view));
    ASSERT_THAT(view->leases, SizeIs(1));
    expect_same(view->leases[0], written);
    EXPECT_THAT(view->leases[0].created_at, testing::MatchesRegex("20..-..-..T..:..:..Z"));
  }
  const auto view = open().read();
  ASSERT_TRUE(ok(view));
  ASSERT_THAT(view->leases, SizeIs(1));
  expect_same(view->leases[0], written);
}

TEST_F(LedgerTest, AttachmentKeepsAnIdThatItHas) {
  auto ledger = open();
  auto lease = mdev_lease();
  lease.attachment.id = "slicebroker-request-0";
  test::begin(ledger, lease);
  EXPECT_EQ(ledger.read().value().leases[0].attachment.id, "slicebroker-request-0");
}

TEST_F(LedgerTest, LeaseGoesThroughItsLife) {
  auto ledger = open();
  const auto generation = test::begin(ledger, full_lease()).generation;
  const auto now = [&] { return ledger.read().value().leases.at(0); };
  ASSERT_TRUE(ok(ledger.set_step_state(generation, 0, StepState::kDone)));
  ASSERT_TRUE(ok(ledger.set_step_state(generation, 2, StepState::kStarted)));
  EXPECT_EQ(now().steps[0].state, StepState::kDone);
  EXPECT_EQ(now().steps[1].state, StepState::kPlanned);
  EXPECT_EQ(now().steps[2].state, StepState::kStarted);
  ASSERT_TRUE(ok(ledger.move(generation, LeaseState::kPreparing, LeaseState::kPrepared)));
  EXPECT_EQ(now().state, LeaseState::kPrepared);
  ASSERT_TRUE(ok(ledger.set_attached(generation, "0000:05:00.0", vfio::ProcessIdentity{815, 4711})));
  EXPECT_EQ(now().state, LeaseState::kAttached);
  EXPECT_EQ(now().guest_address, "0000:05:00.0");
  EXPECT_EQ(now().vmm, (vfio::ProcessIdentity{815, 4711}));
  auto seen = now();
  auto seen_by_another = now();
  ASSERT_TRUE(ok(ledger.claim(seen, {77, 88})));
  EXPECT_EQ(now().broker, (vfio::ProcessIdentity{77, 88}));
  EXPECT_EQ(now().state, LeaseState::kReleasing);
  EXPECT_TRUE(fails(ledger.claim(seen_by_another, {99, 1}), ErrorCode::kFailed, "STALE_LEASE")) << "one gets it";
  ASSERT_TRUE(ok(ledger.end(generation, "detached")));
  EXPECT_THAT(ledger.read().value().leases, IsEmpty());
}

TEST_F(LedgerTest, UnknownVmmReadsAsNone) {
  auto ledger = open();
  const auto lease = test::begin_in(ledger, mdev_lease(), LeaseState::kAttached);
  EXPECT_EQ(ledger.read().value().leases[0].vmm, std::nullopt);
}

TEST_F(LedgerTest, LeasesAreByGeneration) {
  auto ledger = open();
  std::vector<std::int64_t> begun;
  for (int i = 0; i < 12; ++i) {
    auto lease = mdev_lease();
    lease.devices = {{"pci:" + std::to_string(i), kGpu}};
    begun.push_back(test::begin(ledger, lease).generation);
  }
  std::vector<std::int64_t> read;
  const auto view = ledger.read().value();
  for (const auto& lease : view.leases) read.push_back(lease.generation);
  EXPECT_EQ(read, begun);
  EXPECT_TRUE(std::is_sorted(begun.begin(), begun.end()));
}

TEST_F(LedgerTest, GenerationIsNeverUsedTwice) {
  std::int64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    auto ledger = open();  // also not by the next process
    const auto generation = test::begin(ledger, mdev_lease()).generation;
    EXPECT_GT(generation, last);
    last = generation;
    ASSERT_TRUE(ok(ledger.end(generation, "")));
  }
}

TEST_F(LedgerTest, BeginOnAnOldViewIsRefusedAndLeavesNothing) {
  struct Case {
    std::string name;
    void (*change)(Ledger&);
  };
  const Case cases[] = {
      {"another lease began", [](Ledger& ledger) { test::begin(ledger, mdev_lease("db2")); }},
      {"another lease ended", [](Ledger& ledger) { EXPECT_TRUE(ok(ledger.end(1, ""))); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto ledger = open();
    const auto revision = ledger.read().value().revision;
    c.change(ledger);
    const auto leases = ledger.read().value().leases.size();
    auto lease = mdev_lease();
    lease.devices = {{"pci:0000:c4:00.0", test::kOtherGpu}};
    EXPECT_TRUE(fails(ledger.begin(lease, revision), ErrorCode::kFailed, "LEDGER_MOVED_ON"));
    EXPECT_THAT(ledger.read().value().leases, SizeIs(leases));
  }
}

TEST_F(LedgerTest, ProgressOfALeaseIsNoNewRevision) {
  auto ledger = open();
  const auto generation = test::begin(ledger, full_lease()).generation;
  const auto revision = ledger.read().value().revision;
  ASSERT_TRUE(ok(ledger.set_step_state(generation, 0, StepState::kDone)));
  ASSERT_TRUE(ok(ledger.move(generation, LeaseState::kPreparing, LeaseState::kPrepared)));
  auto lease = ledger.read().value().leases.at(0);
  ASSERT_TRUE(ok(ledger.claim(lease, {1, 2})));
  EXPECT_EQ(ledger.read().value().revision, revision);
}

TEST_F(LedgerTest, DeviceIsLeasedOnceWhateverTheResolverThought) {
  auto ledger = open();
  const auto first = test::begin(ledger, full_lease());
  auto second = mdev_lease("db2");
  second.devices = {{"pci:0000:c4:00.0", test::kOtherGpu}, {"mdev:" + test::kMdev, kGpu}};
  const auto begun = ledger.begin(second, ledger.read().value().revision);
  ASSERT_TRUE(fails(begun, ErrorCode::kHeld, "LEASED"));
  EXPECT_TRUE(test::mentions(begun.error(), "mdev:" + test::kMdev)) << to_text(begun.error());
  const auto view = ledger.read().value();
  ASSERT_THAT(view.leases, SizeIs(1)) << "nothing of the second one stays";
  EXPECT_EQ(view.leases[0].owner(), "libvirt:web1");

  ASSERT_TRUE(ok(ledger.end(first.generation, "")));
  EXPECT_TRUE(ok(ledger.begin(second, ledger.read().value().revision))) << "free again";
}

TEST_F(LedgerTest, StaleGenerationChangesNothing) {
  auto ledger = open();
  auto old_lease = test::begin(ledger, mdev_lease());
  const auto old = old_lease.generation;
  ASSERT_TRUE(ok(ledger.end(old, "")));
  const auto next = test::begin(ledger, mdev_lease("db2"));
  EXPECT_TRUE(fails(ledger.end(old, "again"), ErrorCode::kFailed, "STALE_LEASE"));
  EXPECT_TRUE(fails(ledger.claim(old_lease, {1, 2}), ErrorCode::kFailed, "STALE_LEASE"));
  EXPECT_TRUE(fails(ledger.set_attached(old, "", {}), ErrorCode::kFailed, "STALE_LEASE"));
  EXPECT_TRUE(
      fails(ledger.move(old, LeaseState::kAttached, LeaseState::kReleasing), ErrorCode::kFailed, "STALE_LEASE"));
  EXPECT_TRUE(fails(ledger.end(4711, ""), ErrorCode::kFailed, "STALE_LEASE")) << "never was";
  const auto view = ledger.read().value();
  ASSERT_THAT(view.leases, SizeIs(1));
  expect_same(view.leases[0], next);
}

TEST_F(LedgerTest, MoveFromAnotherStateIsStale) {
  auto ledger = open();
  const auto generation = test::begin(ledger, mdev_lease()).generation;
  EXPECT_TRUE(
      fails(ledger.move(generation, LeaseState::kPrepared, LeaseState::kReleasing), ErrorCode::kFailed, "STALE_LEASE"));
  EXPECT_TRUE(fails(ledger.set_attached(generation, "", {}), ErrorCode::kFailed, "STALE_LEASE")) << "not prepared yet";
  EXPECT_EQ(ledger.read().value().leases[0].state, LeaseState::kPreparing);
}

// Two processes at once: each lease begins once, no device is leased twice, nobody fails for waiting.
TEST_F(LedgerTest, TwoBrokersAtOnceTakeTurns) {
  constexpr int kLeases = 15;
  open();
  const auto work = [&](const std::string& owner) {
    auto ledger = open();
    for (int i = 0; i < kLeases;) {
      auto lease = mdev_lease(owner);
      lease.devices = {{owner + std::to_string(i), kGpu}};
      const auto begun = ledger.begin(lease, ledger.read().value().revision);
      if (begun) {
        ++i;
      } else {
        ASSERT_TRUE(fails(begun, ErrorCode::kFailed, "LEDGER_MOVED_ON"));
      }
    }
  };
  std::thread other([&] { work("b"); });
  work("a");
  other.join();
  EXPECT_THAT(open().read().value().leases, SizeIs(2 * kLeases));
}

TEST(Lease, StatesHaveNamesThatReadBack) {
  for (const auto state : {LeaseState::kPreparing, LeaseState::kPrepared, LeaseState::kAttached, LeaseState::kReleasing,
                           LeaseState::kReleased}) {
    EXPECT_EQ(parse_lease_state(name(state)), state);
  }
  for (const auto state : {StepState::kPlanned, StepState::kStarted, StepState::kDone, StepState::kUndone}) {
    EXPECT_EQ(parse_step_state(name(state)), state);
  }
  EXPECT_EQ(parse_lease_state("attaching"), std::nullopt);
  EXPECT_EQ(parse_step_state(""), std::nullopt);
}

TEST(Lease, HoldsAreItsDevices) {
  auto lease = full_lease();
  lease.generation = 7;
  const auto holds = holds_of({lease});
  ASSERT_THAT(holds, SizeIs(3));
  EXPECT_EQ(holds[1].leased.device, "mdev:" + test::kMdev);
  EXPECT_EQ(holds[1].generation, 7);
  EXPECT_EQ(holds[1].owner, "libvirt:web1");
}

}  // namespace
}  // namespace slicebroker::broker
