// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using test::fails;
using test::failure;
using test::kMdev;
using test::kOtherGpu;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kMdevSelector = "mdev=" + kMdev;

class AttachTest : public test::BrokerFixture {};

TEST_F(AttachTest, ExistingMdevIsHandedOverAsItIs) {
  const auto before = host_.snapshot();
  const auto attached = attach("libvirt:web1", {kMdevSelector});
  ASSERT_TRUE(ok(attached));
  ASSERT_THAT(*attached, SizeIs(1));
  const auto& lease = (*attached)[0];
  EXPECT_EQ(lease.state, LeaseState::kAttached);
  EXPECT_EQ(lease.guest_address, "0000:05:00.0");
  EXPECT_THAT(lease.steps, IsEmpty());
  EXPECT_TRUE(vm_at("libvirt:web1").has(lease.attachment));
  EXPECT_EQ(lease.attachment.mdev, Uuid::parse(kMdev));
  EXPECT_TRUE(host_.is_as(before));

  const auto recorded = leases();
  ASSERT_THAT(recorded, SizeIs(1));
  EXPECT_EQ(recorded[0].state, LeaseState::kAttached);
  EXPECT_EQ(recorded[0].guest_address, "0000:05:00.0");
  EXPECT_EQ(recorded[0].vm_uuid, vm_at("libvirt:web1").machine.uuid);
  EXPECT_EQ(recorded[0].selector, kMdevSelector);
}

TEST_F(AttachTest, GpuOnVfioPciGoesToCloudHypervisorAsItIs) {
  const auto before = host_.snapshot();
  const auto attached = attach("ch:/run/ch.sock", {"gpu=c4:00.0"});
  ASSERT_TRUE(ok(attached));
  EXPECT_EQ(attached->at(0).attachment.surface, Surface::kGpu);
  EXPECT_EQ(attached->at(0).attachment.function, kOtherGpu);
  EXPECT_THAT(attached->at(0).steps, IsEmpty());
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(AttachTest, SliceIsMadeBeforeTheVmmIsTold) {
  auto& vm = vm_at("libvirt:web1");
  std::string seen;
  std::vector<LeaseState> states;
  vm.during_attach = [&] {
    seen = vgpu_type();
    for (const auto& lease : leases()) states.push_back(lease.state);
  };
  const auto attached = attach("libvirt:web1", {kMade});
  ASSERT_TRUE(ok(attached));
  EXPECT_EQ(seen, "5\n");
  EXPECT_THAT(states, ElementsAre(LeaseState::kPrepared)) << "the ledger knew before the VMM did";
  ASSERT_THAT(leases().at(0).steps, SizeIs(1));
  EXPECT_EQ(leases()[0].steps[0].state, StepState::kDone);
  ASSERT_TRUE(ok(broker().detach(*attached)));
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(AttachTest, VmmsProcessIsRecorded) {
  host_.add_process(815, "qemu", {}, 4711);
  vm_at("libvirt:web1").machine.vmm_pid = 815;
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMdevSelector})));
  EXPECT_EQ(leases().at(0).vmm, (vfio::ProcessIdentity{815, 4711}));
}

TEST_F(AttachTest, VmThatWasNamedByItsUuidIsRecordedByItsName) {
  const auto attached = attach("libvirt:99999999-0000-4000-8000-000000000001", {kMdevSelector});
  ASSERT_TRUE(ok(attached));
  EXPECT_EQ(attached->at(0).owner(), "libvirt:web1");
}

TEST_F(AttachTest, SecondOwnerIsToldWhoHoldsIt) {
  for (const auto* selector : {kMdevSelector.c_str(), "gpu=c4:00.0", kMade}) {
    SCOPED_TRACE(selector);
    ASSERT_TRUE(ok(attach("libvirt:web1", {selector})));
    const auto before = host_.snapshot();
    const auto second = attach("libvirt:db2", {selector});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kHeld);
    EXPECT_EQ(second.error().host, HostOutcome::kUntouched);
    EXPECT_TRUE(test::mentions(second.error(), "libvirt:web1 holds it by lease")) << to_text(second.error());
    EXPECT_THAT(vm_at("libvirt:db2").devices, IsEmpty());
    EXPECT_TRUE(host_.is_as(before));
    ASSERT_TRUE(ok(broker().detach(leases())));
  }
}

TEST_F(AttachTest, RefusingVmmGivesTheLeaseBack) {
  for (const auto* selector : {kMdevSelector.c_str(), kMade}) {
    SCOPED_TRACE(selector);
    const auto before = host_.snapshot();
    vm_at("libvirt:web1").attach_error = failure(ErrorCode::kRefused, "VM_PAUSED");
    const auto attached = attach("libvirt:web1", {selector});
    ASSERT_TRUE(fails(attached, ErrorCode::kRefused, "VM_PAUSED"));
    EXPECT_EQ(attached.error().host, HostOutcome::kRestored);
    EXPECT_TRUE(test::mentions(attached.error(), "the VMM said no")) << to_text(attached.error());
    EXPECT_TRUE(host_.is_as(before));
    EXPECT_THAT(leases(), IsEmpty());
  }
}

TEST_F(AttachTest, SilentVmmThatTookItIsAttached) {
  auto& vm = vm_at("libvirt:web1");
  vm.attach_error = failure(ErrorCode::kNoAnswer, "TIMEOUT");
  vm.takes_it_anyway = true;
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  EXPECT_EQ(leases().at(0).state, LeaseState::kAttached);
  EXPECT_EQ(vgpu_type(), "5\n");
}

TEST_F(AttachTest, SilentVmmThatDidNotTakeItGivesTheLeaseBack) {
  vm_at("libvirt:web1").attach_error = failure(ErrorCode::kNoAnswer, "TIMEOUT");
  const auto attached = attach("libvirt:web1", {kMade});
  ASSERT_TRUE(fails(attached, ErrorCode::kNoAnswer, "TIMEOUT"));
  EXPECT_EQ(attached.error().host, HostOutcome::kRestored);
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(AttachTest, VmmThatStaysSilentKeepsTheLease) {
  auto& vm = vm_at("libvirt:web1");
  vm.attach_error = failure(ErrorCode::kNoAnswer, "TIMEOUT");
  vm.has_error = failure(ErrorCode::kNoAnswer, "TIMEOUT");
  const auto attached = attach("libvirt:web1", {kMade});
  ASSERT_TRUE(fails(attached, ErrorCode::kNoAnswer, "TIMEOUT"));
  EXPECT_EQ(attached.error().host, HostOutcome::kChanged);
  EXPECT_TRUE(test::mentions(attached.error(), "slicebroker reconcile")) << to_text(attached.error());
  EXPECT_THAT(leases(), SizeIs(1)) << "the guest may have it";
  EXPECT_EQ(vgpu_type(), "5\n");
}

TEST_F(AttachTest, HostThatCantBeRestoredKeepsTheLeaseAndSaysSo) {
  auto& vm = vm_at("libvirt:web1");
  vm.attach_error = failure(ErrorCode::kRefused, "VM_PAUSED");
  vm.during_attach = [&] { host_.set_vendor_vf(test::kVf1, "7", ""); };  // another tool was faster
  const auto attached = attach("libvirt:web1", {kMade});
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, ErrorCode::kHostChanged);
  EXPECT_EQ(attached.error().host, HostOutcome::kChanged);
  EXPECT_TRUE(test::mentions(attached.error(), "CHANGED_BY_OTHERS")) << to_text(attached.error());
  EXPECT_TRUE(test::mentions(attached.error(), "VM_PAUSED")) << to_text(attached.error());
  EXPECT_THAT(leases(), SizeIs(1)) << "nobody else gets the device until somebody has looked";
  EXPECT_EQ(vgpu_type(), "7\n");
}

TEST_F(AttachTest, FailedStepRestoresTheHostAndEndsTheLease) {
  host_.set_vendor_vf(test::kVf1, "0", "5 : NVIDIA L40S-8Q\n");
  host_.remove(test::device_path(test::kVf1, "nvidia/gpu_instance_id"));
  host_.make_directory(test::device_path(test::kVf1, "nvidia/gpu_instance_id"));  // reads EISDIR: not a plain "none"
  const auto before = host_.snapshot();
  const auto attached = attach("libvirt:web1", {kMade});
  ASSERT_FALSE(attached);
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_TRUE(nothing_recorded());
}

TEST_F(AttachTest, WhatIsRefusedLeavesNoTrace) {
  struct Case {
    std::string name;
    void (*prepare)(test::FakeVm&);
    std::string selector;
    ErrorCode code;
  };
  const Case cases[] = {
      {"VM is not running", [](test::FakeVm& vm) { vm.machine.running = false; }, kMdevSelector, ErrorCode::kRefused},
      {"no such VM", [](test::FakeVm& vm) { vm.find_error = failure(ErrorCode::kNotFound, ""); }, kMdevSelector,
       ErrorCode::kNotFound},
      {"hypervisor is silent", [](test::FakeVm& vm) { vm.version_error = failure(ErrorCode::kNoAnswer, ""); },
       kMdevSelector, ErrorCode::kNoAnswer},
      {"no such device", [](test::FakeVm&) {}, "gpu=42:00.0", ErrorCode::kNotFound},
      {"no NVML to ask", [](test::FakeVm&) {}, test::kMig3, ErrorCode::kRefused},
      {"function is no GPU", [](test::FakeVm&) {}, "gpu=41:00.4", ErrorCode::kRefused},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto& vm = vm_at("libvirt:web1") = {};
    c.prepare(vm);
    const auto before = host_.snapshot();
    const auto attached = attach("libvirt:web1", {c.selector});
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code, c.code) << to_text(attached.error());
    EXPECT_EQ(attached.error().host, HostOutcome::kUntouched);
    EXPECT_THAT(vm.devices, IsEmpty());
    EXPECT_TRUE(host_.is_as(before));
    EXPECT_TRUE(nothing_recorded());
  }
}

TEST_F(AttachTest, CloudHypervisorTakesADeviceBeforeItBoots) {
  vm_at("ch:/run/ch.sock").machine.running = false;
  EXPECT_TRUE(ok(attach("ch:/run/ch.sock", {"gpu=c4:00.0"})));
}

TEST_F(AttachTest, SeveralAreAllOrNothing) {
  const auto before = host_.snapshot();
  const auto all = attach("libvirt:web1", {kMade, kMdevSelector, "gpu=c4:00.0"});
  ASSERT_TRUE(ok(all));
  EXPECT_THAT(*all, SizeIs(3));
  EXPECT_THAT(vm_at("libvirt:web1").devices, SizeIs(3));
  ASSERT_TRUE(ok(broker().detach(*all)));

  const auto attached = attach("libvirt:web1", {kMade, kMdevSelector, "gpu=42:00.0"});
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(test::mentions(attached.error(), "gpu=0000:42:00.0")) << to_text(attached.error());
  EXPECT_NE(attached.error().host, HostOutcome::kChanged);
  EXPECT_THAT(vm_at("libvirt:web1").devices, IsEmpty());
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(AttachTest, LaterOneThatCantBeHadLeavesEverythingUntouched) {
  for (const auto* impossible : {"gpu=42:00.0", "gpu=41:00.4", kMade}) {
    SCOPED_TRACE(impossible);
    auto& vm = vm_at("libvirt:web1");
    vm.calls = 0;
    const auto before = host_.snapshot();
    const auto attached = attach("libvirt:web1", {kMade, kMdevSelector, impossible});
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().host, HostOutcome::kUntouched) << to_text(attached.error());
    EXPECT_EQ(vm.calls, 2) << "only its version and whether it runs";
    EXPECT_TRUE(host_.is_as(before));
    EXPECT_EQ(ledger().read().value().revision, 0) << "no intent was ever recorded";
  }
}

TEST_F(AttachTest, DeviceNamedTwiceIsNotHandedOverTwice) {
  const auto attached = attach("libvirt:web1", {kMdevSelector, kMdevSelector});
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, ErrorCode::kHeld);
  EXPECT_TRUE(test::mentions(attached.error(), "an earlier selector of this request takes it"))
      << to_text(attached.error());
  EXPECT_EQ(attached.error().host, HostOutcome::kUntouched);
  EXPECT_THAT(leases(), IsEmpty());
}

TEST_F(AttachTest, EarlierDeviceThatTheGuestKeepsIsNotCalledUntouched) {
  auto& vm = vm_at("libvirt:web1");
  vm.detach_error = failure(ErrorCode::kNoAnswer, "GUEST_SILENT");
  vm.during_attach = [&] {
    if (!vm.devices.empty()) vm.attach_error = failure(ErrorCode::kRefused, "NO_MORE_SLOTS");
  };
  const auto attached = attach("libvirt:web1", {kMade, "gpu=c4:00.0"});
  ASSERT_FALSE(attached);
  EXPECT_TRUE(test::mentions(attached.error(), "NO_MORE_SLOTS")) << to_text(attached.error());
  EXPECT_TRUE(test::mentions(attached.error(), "GUEST_SILENT")) << to_text(attached.error());
  EXPECT_EQ(attached.error().host, HostOutcome::kChanged) << to_text(attached.error());
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kAttached);
}

TEST_F(AttachTest, DryRunIsTheVeryPlanAndTouchesNothing) {
  const auto before = host_.snapshot();
  const auto planned = told(broker().plan_attach(vm("libvirt:web1"), selectors({kMade, kMdevSelector}), {}));
  ASSERT_TRUE(ok(planned));
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_FALSE(state_.exists("state"));
  EXPECT_THAT(vm_at("libvirt:web1").devices, IsEmpty());
  const auto attached = attach("libvirt:web1", {kMade, kMdevSelector});
  ASSERT_TRUE(ok(attached));
  ASSERT_EQ(planned->size(), attached->size());
  for (std::size_t i = 0; i < planned->size(); ++i) {
    EXPECT_TRUE((*planned)[i].plan.devices == (*attached)[i].devices);
    ASSERT_EQ((*planned)[i].plan.steps.size(), (*attached)[i].steps.size());
    for (std::size_t s = 0; s < (*attached)[i].steps.size(); ++s) {
      EXPECT_TRUE((*planned)[i].plan.steps[s] == (*attached)[i].steps[s].step);
    }
  }
}

TEST_F(AttachTest, DryRunOfADeviceNamedTwiceIsHeldAsWell) {
  const auto planned = told(broker().plan_attach(vm("libvirt:web1"), selectors({kMdevSelector, kMdevSelector}), {}));
  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().code, ErrorCode::kHeld);
  EXPECT_EQ(planned.error().host, HostOutcome::kUntouched);
}

TEST_F(AttachTest, WhatADeadBrokerLeftIsSettledFirst) {
  {
    auto ledger = this->ledger();
    test::begin(ledger, test::mdev_lease("db2"));  // preparing, and its broker is no more
  }
  EXPECT_TRUE(ok(attach("libvirt:web1", {kMdevSelector})));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].owner(), "libvirt:web1");
}

TEST_F(AttachTest, ExplainTouchesNothing) {
  const auto before = host_.snapshot();
  const auto resolution = broker().explain(selectors({kMade})[0], {}, {});
  ASSERT_TRUE(ok(resolution));
  EXPECT_NE(resolution->granted(), nullptr);
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_FALSE(state_.exists("state"));
}

TEST_F(AttachTest, PolicyBoundsWhatIsGivenAndNotWhatIsGivenBack) {
  const auto before = host_.snapshot();
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  policy_.exclude = {test::kGpu};
  EXPECT_TRUE(ok(broker().detach(leases())));
  EXPECT_TRUE(host_.is_as(before));
  const auto refused = attach("libvirt:web1", {kMade});
  ASSERT_TRUE(fails(refused, ErrorCode::kRefused, "NOT_MANAGED"));
  EXPECT_EQ(refused.error().host, HostOutcome::kUntouched);
  EXPECT_TRUE(
      fails(broker().plan_attach(vm("libvirt:web1"), selectors({kMade}), {}), ErrorCode::kRefused, "NOT_MANAGED"));
  const auto explained = broker().explain(selectors({kMade})[0], {}, {});
  ASSERT_TRUE(ok(explained));
  EXPECT_EQ(explained->granted(), nullptr);
  EXPECT_TRUE(host_.is_as(before));
}

TEST(MakeRequest, WhatIsLeftOpenIsAsThePolicySays) {
  Policy policy;
  policy.default_fallback = Fallback::kNone;
  policy.default_isolation = Isolation::kHardware;
  const auto selector = parse_selector("type=nvidia-5").value();
  const auto silent = make_request(selector, {}, {}, policy);
  EXPECT_EQ(silent.fallback, Fallback::kNone);
  EXPECT_EQ(silent.isolation, Isolation::kHardware);
  const auto said = make_request(selector, {}, {Fallback::kGpu, Isolation::kAny, {}}, policy);
  EXPECT_EQ(said.fallback, Fallback::kGpu);
  EXPECT_EQ(said.isolation, Isolation::kAny);
}

}  // namespace
}  // namespace slicebroker::broker
