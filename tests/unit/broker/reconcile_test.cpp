// SPDX-License-Identifier: Apache-2.0
// What crashes, reboots and ending VMMs leave behind, put into the ledger by hand.
#include <sqlite3.h>

#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using test::failure;
using test::ok;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ReconcileTest : public test::BrokerFixture {
 protected:
  // A lease of a slice that was made on 0000:41:00.5: the step is done, and the host shows it.
  Lease made_lease() {
    auto lease = test::mdev_lease();
    lease.selector = kMade;
    lease.attachment = {"slicebroker-made", hypervisors::Surface::kVendorVf, {}, test::kVf1, {}};
    lease.devices = {{"pci:0000:41:00.5", test::kGpu}};
    lease.steps = {{vfio::AssignVgpuType{test::kVf1, 5, {}}, {{"type", "0"}}, false, StepState::kDone}};
    host_.write(test::device_path(test::kVf1, "nvidia/current_vgpu_type"), "5\n");
    return lease;
  }
  Lease put(const Lease& lease, LeaseState state) {
    auto ledger = this->ledger();
    return test::begin_in(ledger, lease, state);
  }
  void make_old() const {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((state_directory() + "/ledger.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, "UPDATE lease SET created_at = '2001-01-01T00:00:00Z'", nullptr, nullptr, nullptr),
              SQLITE_OK);
    sqlite3_close(database);
  }
  std::vector<Finding> reconcile(DryRun dry_run = DryRun::kNo) {
    const auto findings = broker().reconcile(dry_run);
    EXPECT_TRUE(ok(findings));
    return findings ? *findings : std::vector<Finding>{};
  }
  // Whether the guest of libvirt:web1 has the lease's device.
  void set_guest_has(const Lease& lease, bool has) {
    vm_at("libvirt:web1").devices.clear();
    if (has) vm_at("libvirt:web1").devices.push_back(lease.attachment);
  }
};

TEST_F(ReconcileTest, VerdictOfEveryState) {
  enum class After { kStays, kEnded };
  struct Case {
    std::string name;
    LeaseState state;
    bool guest_has;
    bool guest_runs;
    bool old;
    std::string drift;  // empty: nothing to say
    LeaseState after;   // kReleased: ended, and the host is as before
  };
  const Case cases[] = {
      {"died while preparing", LeaseState::kPreparing, false, true, false, "died while preparing",
       LeaseState::kReleased},
      {"prepared, the guest has it", LeaseState::kPrepared, true, true, false, "did not know", LeaseState::kAttached},
      {"prepared, the guest runs without it", LeaseState::kPrepared, false, true, false, "never got",
       LeaseState::kReleased},
      {"prepared, the guest may be about to start", LeaseState::kPrepared, false, false, false, "",
       LeaseState::kPrepared},
      {"prepared long ago, the guest never started", LeaseState::kPrepared, false, false, true, "never got",
       LeaseState::kReleased},
      {"attached", LeaseState::kAttached, true, true, false, "", LeaseState::kAttached},
      {"attached, the guest lost it", LeaseState::kAttached, false, true, false, "no longer has",
       LeaseState::kReleased},
      {"attached, the guest ended", LeaseState::kAttached, false, false, true, "no longer has", LeaseState::kReleased},
      {"died while releasing", LeaseState::kReleasing, false, true, false, "died while releasing",
       LeaseState::kReleased},
      {"died while releasing, the guest still has it", LeaseState::kReleasing, true, true, false, "still has",
       LeaseState::kAttached},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    state_.remove("state");
    const auto lease = put(made_lease(), c.state);
    if (c.old) make_old();
    set_guest_has(lease, c.guest_has);
    vm_at("libvirt:web1").machine.running = c.guest_runs;
    const auto host_before = host_.snapshot();

    const auto would = reconcile(DryRun::kYes);
    EXPECT_TRUE(host_.is_as(host_before));
    ASSERT_THAT(leases(), SizeIs(1));
    EXPECT_EQ(leases()[0].state, c.state);
    ASSERT_THAT(would, SizeIs(c.drift.empty() ? 0 : 1));

    const auto findings = reconcile();
    ASSERT_THAT(findings, SizeIs(c.drift.empty() ? 0 : 1));
    if (!c.drift.empty()) {
      EXPECT_THAT(would[0].drift, HasSubstr(c.drift));
      EXPECT_FALSE(would[0].resolved);
      EXPECT_EQ(findings[0].generation, lease.generation);
      EXPECT_EQ(findings[0].owner, "libvirt:web1");
      EXPECT_THAT(findings[0].drift, HasSubstr(c.drift));
      EXPECT_EQ(findings[0].action, would[0].action);
      EXPECT_TRUE(findings[0].resolved) << (findings[0].error ? to_text(*findings[0].error) : "");
    }
    if (c.after == LeaseState::kReleased) {
      EXPECT_THAT(leases(), IsEmpty());
      EXPECT_EQ(vgpu_type(), "0\n");
    } else {
      ASSERT_THAT(leases(), SizeIs(1));
      EXPECT_EQ(leases()[0].state, c.after);
      EXPECT_EQ(vgpu_type(), "5\n");
    }
    EXPECT_THAT(reconcile(), IsEmpty()) << "a second time changes nothing";
  }
}

TEST_F(ReconcileTest, LeaseOfAnEarlierBootEndsAndTheHostIsLeftAlone) {
  for (const auto state :
       {LeaseState::kPreparing, LeaseState::kPrepared, LeaseState::kAttached, LeaseState::kReleasing}) {
    SCOPED_TRACE(std::string(name(state)));
    auto lease = made_lease();
    lease.boot_id = "00000000-0000-4000-8000-000000000000";
    lease.broker = {4711, 5};
    host_.add_process(4712, "other", {}, 5);
    set_guest_has(put(lease, state), true);
    const auto before = host_.snapshot();
    const auto findings = reconcile();
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_THAT(findings[0].drift, HasSubstr("boot"));
    EXPECT_THAT(leases(), IsEmpty());
    EXPECT_TRUE(host_.is_as(before)) << "what it did is gone; what is there now is not its doing";
  }
}

TEST_F(ReconcileTest, LiveBrokersWorkIsLeftAlone) {
  for (const auto state : {LeaseState::kPreparing, LeaseState::kPrepared, LeaseState::kReleasing}) {
    SCOPED_TRACE(std::string(name(state)));
    state_.remove("state");
    host_.add_process(4711, "slicebroker", {}, 5);
    auto lease = made_lease();
    lease.broker = {4711, 5};
    put(lease, state);
    EXPECT_THAT(reconcile(), IsEmpty());
    ASSERT_THAT(leases(), SizeIs(1));
    EXPECT_EQ(leases()[0].state, state);
    EXPECT_EQ(leases()[0].broker, lease.broker);
    EXPECT_EQ(vgpu_type(), "5\n");
  }
}

TEST_F(ReconcileTest, PidThatSomebodyElseHasNowIsADeadBroker) {
  host_.add_process(4711, "sshd", {}, 6);
  auto lease = made_lease();
  lease.broker = {4711, 5};
  put(lease, LeaseState::kPreparing);
  EXPECT_THAT(reconcile(), SizeIs(1));
  EXPECT_EQ(vgpu_type(), "0\n");
}

// The one that goes on with a release undoes it: recorded as attached, the lease would be anybody's to release
// meanwhile.
TEST_F(ReconcileTest, ReleaseThatAnotherBrokerGoesOnWithIsLeftToIt) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {"mdev=" + test::kMdev})));
  auto ledger = this->ledger();
  auto lease = leases().at(0);
  ASSERT_TRUE(ok(ledger.claim(lease, {4'000'001, 1}, "by a broker that died")));
  host_.add_process(815, "slicebroker", {}, 4711);
  vm_at("libvirt:web1").during_has = [&] {
    if (lease.broker.pid != 815) {
      EXPECT_TRUE(ok(ledger.claim(lease, {815, 4711})));
    }
  };
  const auto findings = broker().reconcile(DryRun::kNo);
  ASSERT_TRUE(ok(findings));
  ASSERT_THAT(*findings, SizeIs(1));
  EXPECT_FALSE((*findings)[0].resolved);
  EXPECT_EQ((*findings)[0].error->reason, "STALE_LEASE");
  EXPECT_EQ(leases().at(0).state, LeaseState::kReleasing);
}

TEST_F(ReconcileTest, SilentHypervisorDecidesNothing) {
  for (const auto state : {LeaseState::kPrepared, LeaseState::kAttached, LeaseState::kReleasing}) {
    SCOPED_TRACE(std::string(name(state)));
    state_.remove("state");
    put(made_lease(), state);
    vm_at("libvirt:web1").has_error = failure(ErrorCode::kNoAnswer, "LIBVIRT_SILENT");
    const auto findings = reconcile();
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_FALSE(findings[0].resolved);
    ASSERT_TRUE(findings[0].error);
    EXPECT_EQ(findings[0].error->reason, "LIBVIRT_SILENT");
    ASSERT_THAT(leases(), SizeIs(1));
    EXPECT_EQ(leases()[0].state, state);
    EXPECT_EQ(vgpu_type(), "5\n");
  }
}

TEST_F(ReconcileTest, HostThatSomebodyChangedUnderAGuestIsOnlyReported) {
  const auto lease = put(made_lease(), LeaseState::kAttached);
  set_guest_has(lease, true);
  host_.write(test::device_path(test::kVf1, "nvidia/current_vgpu_type"), "7\n");
  const auto findings = reconcile();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_THAT(findings[0].drift, HasSubstr("assign vGPU type 5"));
  EXPECT_FALSE(findings[0].resolved);
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kAttached);
  EXPECT_EQ(vgpu_type(), "7\n");
}

// Two tenants on one device is what a person has to hear of at once; taking it from either is no tool's decision.
TEST_F(ReconcileTest, DeviceThatAnotherHasTooIsOnlyReported) {
  struct Case {
    std::string name;
    bool guest_has;
    std::function<void()> happens;
    std::string code;
    std::string says;
  };
  const Case cases[] = {
      {"another domain runs with it", true,
       [&] {
         host_.write("run/libvirt/qemu/db2.xml",
                     "<domstatus state='running' pid='7'><domain><name>db2</name><devices><hostdev mode='subsystem' "
                     "type='pci'><source><address domain='0' bus='0x41' slot='0' function='0x5'/></source></hostdev>"
                     "</devices></domain></domstatus>");
       },
       "OTHER_VM_HAS_IT", "libvirt:db2, as "},
      {"another domain has it and its own has not", false, [] {}, "OTHER_VM_HAS_IT", "libvirt:db2, as "},
      {"another process has it open", true,
       [&] {
         host_.remove("run/libvirt/qemu/db2.xml");
         host_.add_process(814, "qemu", {"/dev/vfio/41"});
         host_.add_process(816, "thief", {"/dev/vfio/41"});
         vm_at("libvirt:web1").machine.vmm_pid = 814;
       },
       "OTHER_PROCESS_HAS_IT", "pid 816 (thief) has /dev/vfio/41 open"},
      {"its domain was made anew", true, [&] { vm_at("libvirt:web1").machine.uuid = Uuid::random(); }, "VM_REPLACED",
       "and the lease is "},
  };
  auto lease = made_lease();
  lease.vm_uuid = vm_at("libvirt:web1").machine.uuid;
  lease = put(lease, LeaseState::kAttached);
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    set_guest_has(lease, c.guest_has);
    c.happens();
    const auto before = host_.snapshot();
    const auto findings = reconcile();
    ASSERT_THAT(findings, SizeIs(1));
    EXPECT_EQ(findings[0].code, c.code);
    EXPECT_THAT(findings[0].drift, HasSubstr(c.says));
    EXPECT_FALSE(findings[0].resolved);
    EXPECT_TRUE(host_.is_as(before));
    ASSERT_THAT(leases(), SizeIs(1));
    EXPECT_EQ(leases()[0].state, LeaseState::kAttached);
  }
}

// Who has it can't be told from a device that can't be read, so it is not taken for free.
TEST_F(ReconcileTest, DeviceThatCantBeReadIsNotGivenBack) {
  put(made_lease(), LeaseState::kPreparing);
  host_.add_process(815, "qemu", {"/dev/vfio/41"});
  host_.write(test::device_path(test::kVf1, "vendor"), "garbled\n");
  const auto findings = reconcile();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].resolved);
  ASSERT_TRUE(findings[0].error);
  EXPECT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(vgpu_type(), "5\n");
}

TEST_F(ReconcileTest, WhatCantBeGivenBackYetIsGivenBackLater) {
  put(made_lease(), LeaseState::kPreparing);
  host_.add_process(815, "qemu", {"/dev/vfio/41"});
  const auto findings = reconcile();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].resolved);
  ASSERT_TRUE(findings[0].error);
  EXPECT_TRUE(test::mentions(*findings[0].error, "pid 815 (qemu)")) << to_text(*findings[0].error);
  EXPECT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(vgpu_type(), "5\n");

  host_.remove_process(815);
  const auto again = reconcile();
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_TRUE(again[0].resolved);
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(ReconcileTest, OneLeaseThatFailsDoesNotKeepTheOthersBack) {
  put(made_lease(), LeaseState::kPreparing);
  put(test::mdev_lease("db2"), LeaseState::kPreparing);
  host_.add_process(815, "qemu", {"/dev/vfio/41"});
  EXPECT_THAT(reconcile(), SizeIs(2));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].owner(), "libvirt:web1");
}

TEST_F(ReconcileTest, DryRunWithoutALedgerMakesNone) {
  EXPECT_THAT(reconcile(DryRun::kYes), IsEmpty());
  EXPECT_FALSE(state_.exists("state"));
}

TEST_F(ReconcileTest, UnusableLedgerIsAnErrorAndNotAnEmptyOne) {
  state_.write("state/ledger.db", "no ledger");
  EXPECT_FALSE(broker().reconcile(DryRun::kNo));
  EXPECT_FALSE(broker().reconcile(DryRun::kYes));
  EXPECT_EQ(state_.read("state/ledger.db"), "no ledger");
}

}  // namespace
}  // namespace slicebroker::broker
