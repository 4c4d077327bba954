// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using namespace std::chrono_literals;
using test::fails;
using test::failure;
using test::kMdev;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kMdevSelector = "mdev=" + kMdev;

class DetachTest : public test::BrokerFixture {
 protected:
  test::FakeVm& web1() { return vm_at("libvirt:web1"); }
};

TEST_F(DetachTest, GivesTheHostBackAndEndsTheLease) {
  const auto before = host_.snapshot();
  for (const auto* selector : {kMdevSelector.c_str(), kMade, "gpu=c4:00.0"}) {
    SCOPED_TRACE(selector);
    ASSERT_TRUE(ok(attach("libvirt:web1", {selector})));
    ASSERT_TRUE(ok(broker().detach(leases())));
    EXPECT_THAT(web1().devices, IsEmpty());
    EXPECT_THAT(leases(), IsEmpty());
    EXPECT_TRUE(host_.is_as(before));
    EXPECT_TRUE(ok(attach("libvirt:db2", {selector}))) << "free for the next one";
    ASSERT_TRUE(ok(broker().detach(leases())));
  }
}

TEST_F(DetachTest, FindsTheLeaseUnderEachOfItsNames) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector, "gpu=c4:00.0"})));
  const auto number = std::to_string(leases().at(0).generation);
  struct Case {
    std::string name;
    std::string vm;
    std::string device;
    std::size_t found;
  };
  const Case cases[] = {
      {"all of the VM", "libvirt:web1", "", 2},
      {"VM by UUID", "libvirt:99999999-0000-4000-8000-000000000001", "", 2},
      {"by number", "libvirt:web1", number, 1},
      {"by selector", "libvirt:web1", kMdevSelector, 1},
      {"by another spelling of the selector", "libvirt:web1", "gpu=pci_0000_c4_00_0", 1},
      {"by mdev UUID", "libvirt:web1", kMdev, 1},
      {"by address", "libvirt:web1", "c4:00.0", 1},
      {"another VM's", "libvirt:db2", "", 0},
      {"another VM's, by number", "libvirt:db2", number, 0},
      {"same name under another hypervisor", "ch:web1", "", 0},
      {"another device", "libvirt:web1", "41:00.0", 0},
      {"another number", "libvirt:web1", "4711", 0},
      {"nonsense", "libvirt:web1", "the GPU", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto found = broker().find_leases(vm(c.vm), c.device);
    if (c.found > 0) {
      ASSERT_TRUE(ok(found));
      EXPECT_THAT(*found, SizeIs(c.found));
    } else {
      ASSERT_TRUE(fails(found, ErrorCode::kNotFound, "NO_LEASE"));
      EXPECT_EQ(found.error().host, HostOutcome::kUntouched);
    }
  }
}

TEST_F(DetachTest, LedgerThatCannotBeReadIsSaidToHaveLeftTheHostUntouched) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  const auto held = leases();
  state_.write("state/ledger.db", "");
  EXPECT_TRUE(fails(told(broker().find_leases(vm("libvirt:web1"), "")), ErrorCode::kFailed, "LEDGER_UNUSABLE"));
  EXPECT_TRUE(fails(told(broker().detach(held)), ErrorCode::kFailed, "LEDGER_UNUSABLE"));
}

TEST_F(DetachTest, GuestThatDoesNotLetGoKeepsTheLease) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  const auto before = host_.snapshot();
  web1().detach_error = failure(ErrorCode::kNoAnswer, "GUEST_SILENT");
  const auto detached = told(broker().detach(leases()));
  ASSERT_TRUE(fails(detached, ErrorCode::kNoAnswer, "GUEST_SILENT"));
  EXPECT_EQ(detached.error().host, HostOutcome::kUntouched);
  EXPECT_TRUE(host_.is_as(before));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kAttached);

  web1().detach_error = std::nullopt;
  EXPECT_TRUE(ok(broker().detach(leases()))) << "and can be asked again";
  EXPECT_EQ(vgpu_type(), "0\n");
}

// Where the VMM can't be asked, its open handles tell whether it still has the device.
TEST_F(DetachTest, OfAFailingVmmGoesByItsOpenHandles) {
  struct Case {
    std::string name;
    std::string selector;
    std::string node;
    bool held;
  };
  const Case cases[] = {
      {"mdev: nothing is open", kMdevSelector, "/dev/null", false},
      {"mdev: another group is open", kMdevSelector, "/dev/vfio/7", false},
      {"mdev: its group is open", kMdevSelector, "/dev/vfio/77", true},
      {"mdev: its device is open (iommufd)", kMdevSelector, "/dev/vfio/devices/vfio77", true},
      {"GPU: its group is open", "gpu=c4:00.0", "/dev/vfio/20", true},
      {"GPU: its device is open (iommufd)", "gpu=c4:00.0", "/dev/vfio/devices/vfio0", true},
      {"vendor VF: its group is open", kMade, "/dev/vfio/41", true},
      {"vendor VF: another VF's is open", kMade, "/dev/vfio/40", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    web1() = {};
    ASSERT_TRUE(ok(attach("libvirt:web1", {c.selector})));
    host_.add_process(815, "qemu", {c.node});
    web1().detach_error = web1().has_error = failure(ErrorCode::kFailed, "CONNECTION_LOST");
    const auto detached = told(broker(20ms).detach(leases()));
    EXPECT_EQ(detached.has_value(), !c.held);
    EXPECT_THAT(leases(), SizeIs(c.held ? 1 : 0));
    if (c.held && !leases().empty()) {
      EXPECT_EQ(leases()[0].state, LeaseState::kAttached);
    }
    host_.remove_process(815);
    web1().detach_error = web1().has_error = std::nullopt;
    ASSERT_TRUE(ok(broker().detach(leases())));
  }
}

// libvirt's connection broke between the device and its companion, of which QEMU has nothing open.
TEST_F(DetachTest, CompanionThatTheVmmStillHasKeepsTheLease) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {"gpu=c4:00.0"})));
  web1().detach_error = failure(ErrorCode::kFailed, "CONNECTION_LOST");
  const auto detached = told(broker(20ms).detach(leases()));
  EXPECT_TRUE(fails(detached, ErrorCode::kFailed, "CONNECTION_LOST"));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kAttached);
  web1().detach_error = std::nullopt;
  EXPECT_TRUE(ok(broker().detach(leases())));
}

TEST_F(DetachTest, WaitsForTheLastOpenHandle) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  host_.add_process(815, "qemu", {"/dev/vfio/41"});
  std::thread vmm([&] {
    std::this_thread::sleep_for(50ms);
    host_.remove_process(815);
  });
  const auto detached = told(broker(10s).detach(leases()));
  vmm.join();
  ASSERT_TRUE(ok(detached));
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(DetachTest, HandleThatStaysOpenKeepsTheLeaseAndIsNamed) {
  for (const auto& [selector, node] : std::map<std::string, std::string>{
           {kMade, "/dev/vfio/41"}, {kMdevSelector, "/dev/vfio/77"}, {"gpu=c4:00.0", "/dev/vfio/20"}}) {
    SCOPED_TRACE(selector);
    ASSERT_TRUE(ok(attach("libvirt:web1", {selector})));
    const auto before = host_.snapshot();
    host_.add_process(815, "qemu", {node});
    const auto detached = told(broker(20ms).detach(leases()));
    ASSERT_FALSE(detached) << "the lease ended with the device open";
    EXPECT_TRUE(test::mentions(detached.error(), "815")) << to_text(detached.error());
    EXPECT_THAT(leases(), SizeIs(1));
    host_.remove_process(815);
    EXPECT_TRUE(host_.is_as(before));
    ASSERT_TRUE(ok(broker().detach(leases()))) << "and can be asked again";
    EXPECT_THAT(leases(), IsEmpty());
  }
}

TEST_F(DetachTest, GoesOnPastADeviceThatFails) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector})));
  ASSERT_TRUE(ok(attach("libvirt:db2", {kMade})));
  web1().detach_error = failure(ErrorCode::kNoAnswer, "GUEST_SILENT");
  const auto detached = told(broker().detach(leases()));
  ASSERT_TRUE(fails(detached, ErrorCode::kNoAnswer, "GUEST_SILENT"));
  EXPECT_TRUE(test::mentions(detached.error(), "1 of 2")) << to_text(detached.error());
  EXPECT_EQ(detached.error().host, HostOutcome::kChanged) << "the other one was given back";
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].selector, kMdevSelector);
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(DetachTest, SeveralFailuresAreAllNamed) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector, "gpu=c4:00.0", kMade})));
  web1().detach_error = failure(ErrorCode::kNoAnswer, "GUEST_SILENT");
  const auto detached = told(broker().detach(leases()));
  ASSERT_FALSE(detached);
  EXPECT_EQ(detached.error().code, ErrorCode::kNoAnswer);
  EXPECT_THAT(detached.error().causes, SizeIs(3));
  EXPECT_TRUE(test::mentions(detached.error(), "3 of 3")) << to_text(detached.error());
  EXPECT_EQ(detached.error().host, HostOutcome::kUntouched);
  EXPECT_THAT(leases(), SizeIs(3));
}

TEST_F(DetachTest, StepThatCantBeUndoneKeepsTheLease) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  host_.set_vendor_vf(test::kVf1, "7", "");
  const auto detached = told(broker().detach(leases()));
  ASSERT_FALSE(detached);
  EXPECT_EQ(detached.error().host, HostOutcome::kChanged);
  EXPECT_TRUE(test::mentions(detached.error(), "CHANGED_BY_OTHERS")) << to_text(detached.error());
  EXPECT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(vgpu_type(), "7\n");
}

TEST_F(DetachTest, StaleLeaseIsNoWorkAndTheNewOneStays) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector})));
  const auto old = leases();
  ASSERT_TRUE(ok(broker().detach(old)));
  ASSERT_TRUE(ok(attach("libvirt:db2", {kMdevSelector})));
  const auto again = broker().detach(old);
  ASSERT_TRUE(ok(again));
  ASSERT_THAT(*again, SizeIs(1));
  EXPECT_TRUE(again->front().had_ended);
  EXPECT_EQ(again->front().lease.ended_at.size(), 20U) << again->front().lease.ended_at;
  EXPECT_TRUE(vm_at("libvirt:db2").has(leases().at(0).attachment));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].owner(), "libvirt:db2");
}

TEST_F(DetachTest, NumberOfAnEndedLeaseIsFoundAndNothingIsDone) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector})));
  const auto number = std::to_string(leases().at(0).generation);
  ASSERT_TRUE(ok(broker().detach(leases())));
  const auto calls = web1().calls;
  const auto found = broker().find_leases(vm("libvirt:web1"), number);
  ASSERT_TRUE(ok(found));
  ASSERT_THAT(*found, SizeIs(1));
  EXPECT_EQ(found->front().state, LeaseState::kReleased);
  const auto detached = broker().detach(*found);
  ASSERT_TRUE(ok(detached));
  EXPECT_TRUE(detached->front().had_ended);
  EXPECT_EQ(web1().calls, calls);
  EXPECT_TRUE(fails(broker().find_leases(vm("libvirt:db2"), number), ErrorCode::kNotFound, "NO_LEASE"));
}

TEST_F(DetachTest, LeaseThatALiveBrokerIsPreparingIsNotTakenFromIt) {
  host_.add_process(4711, "slicebroker", {}, 5);
  auto lease = test::mdev_lease();
  lease.broker = {4711, 5};
  {
    auto ledger = this->ledger();
    test::begin(ledger, lease);
  }
  EXPECT_FALSE(broker().detach(leases()));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kPreparing);
  EXPECT_EQ(leases()[0].broker, lease.broker);
}

}  // namespace
}  // namespace slicebroker::broker
