// SPDX-License-Identifier: Apache-2.0
// libvirt's hook: what a domain asked for in its metadata, agreed in its XML.
#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using hypervisors::libvirt::Domain;
using hypervisors::libvirt::RequestedDevice;
using test::fails;
using test::kMdev;
using test::kVf1;
using test::ok;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kMdevSelector = "mdev=" + kMdev;

class HookTest : public test::BrokerFixture {
 protected:
  // A hook must never call libvirt, which waits for it.
  ~HookTest() override {
    for (const auto& [name, vm] : vms_) EXPECT_EQ(vm.calls, 0) << name;
  }

  static Domain web1(std::vector<RequestedDevice> requests = {}) {
    Domain domain;
    domain.name = "web1";
    domain.uuid = Uuid::parse("99999999-0000-4000-8000-000000000001");
    domain.type = "kvm";
    for (const auto& request : requests) {
      if (request.mdev) domain.mdevs.push_back(*request.mdev);
      if (request.function) domain.functions.push_back(*request.function);
    }
    domain.requests = std::move(requests);
    return domain;
  }
  static RequestedDevice mdev_request() { return {kMdevSelector, "", "", {}, Uuid::parse(kMdev), {}}; }
  static RequestedDevice made_request() { return {kMade, "", "", {}, {}, kVf1}; }
};

TEST_F(HookTest, DomainWithoutRequestCostsNothing) {
  const auto before = host_.snapshot();
  auto other = web1();
  other.mdevs = {*Uuid::parse(kMdev)};  // a device that it was given by hand
  EXPECT_TRUE(ok(broker().hook_prepare(other)));
  EXPECT_TRUE(ok(broker().hook_started(other)));
  EXPECT_TRUE(ok(broker().hook_release(other)));
  EXPECT_FALSE(state_.exists("state"));
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(HookTest, DomainsLifeFromPrepareToRelease) {
  const auto before = host_.snapshot();
  const auto domain = web1({mdev_request(), made_request()});
  ASSERT_TRUE(ok(broker().hook_prepare(domain)));
  auto prepared = leases();
  ASSERT_THAT(prepared, SizeIs(2));
  EXPECT_EQ(prepared[0].state, LeaseState::kPrepared);
  EXPECT_EQ(prepared[0].owner(), "libvirt:web1");
  EXPECT_EQ(prepared[0].vm_uuid, domain.uuid);
  EXPECT_EQ(prepared[0].attachment.id, "slicebroker-request-0") << "as the XML calls it";
  EXPECT_EQ(prepared[0].attachment.mdev, Uuid::parse(kMdev));
  EXPECT_EQ(prepared[1].attachment.id, "slicebroker-request-1");
  EXPECT_EQ(prepared[1].attachment.function, kVf1);
  EXPECT_EQ(vgpu_type(), "5\n");

  ASSERT_TRUE(ok(broker().hook_started(domain)));
  for (const auto& lease : leases()) EXPECT_EQ(lease.state, LeaseState::kAttached);

  ASSERT_TRUE(ok(broker().hook_release(domain)));
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_TRUE(ok(broker().hook_release(domain))) << "libvirt may call it twice";
}

TEST_F(HookTest, RequestThatWasNotMadeRealIsRefusedWithTheRemedy) {
  struct Case {
    std::string name;
    void (*change)(Domain&);
  };
  const Case cases[] = {
      {"never",
       [](Domain& domain) {
         domain.requests[0].mdev = std::nullopt;
         domain.mdevs.clear();
       }},
      {"hostdev was taken out", [](Domain& domain) { domain.mdevs.clear(); }},
      {"hostdev is of another device", [](Domain& domain) { domain.mdevs = {Uuid::random()}; }},
      {"hostdev is there twice", [](Domain& domain) { domain.mdevs.push_back(domain.mdevs[0]); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto domain = web1({mdev_request()});
    c.change(domain);
    const auto before = host_.snapshot();
    const auto prepared = told(broker().hook_prepare(domain));
    ASSERT_TRUE(fails(prepared, ErrorCode::kUsage, "BAD_DOMAIN_REQUEST"));
    EXPECT_TRUE(test::mentions(prepared.error(), "slicebroker xml --domain")) << to_text(prepared.error());
    EXPECT_EQ(prepared.error().host, HostOutcome::kUntouched);
    EXPECT_TRUE(nothing_recorded());
    EXPECT_TRUE(host_.is_as(before));
  }
}

TEST_F(HookTest, PolicyThatIsNoWordOfOursIsRefused) {
  struct Case {
    std::string name;
    RequestedDevice device;
  };
  const Case cases[] = {
      {"fallback", {kMdevSelector, "maybe", "", {}, Uuid::parse(kMdev), {}}},
      {"isolation", {kMdevSelector, "", "hard", {}, Uuid::parse(kMdev), {}}},
      {"group member", {kMdevSelector, "", "", {"audio"}, Uuid::parse(kMdev), {}}},
      {"selector", {"the mdev", "", "", {}, Uuid::parse(kMdev), {}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto prepared = told(broker().hook_prepare(web1({c.device})));
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, ErrorCode::kUsage);
    EXPECT_TRUE(nothing_recorded());
  }
}

TEST_F(HookTest, RequestsAreAllOrNothing) {
  const auto before = host_.snapshot();
  auto missing = made_request();
  missing.selector = "type=nvidia-4711";
  missing.function = test::kVf0;
  const auto prepared = told(broker().hook_prepare(web1({made_request(), missing})));
  ASSERT_FALSE(prepared);
  EXPECT_TRUE(test::mentions(prepared.error(), "nvidia-4711")) << to_text(prepared.error());
  EXPECT_NE(prepared.error().host, HostOutcome::kChanged);
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(HookTest, DeviceOfAnotherDomainIsHeldAndItsOwnerNamed) {
  auto db2 = web1({mdev_request()});
  db2.name = "db2";
  db2.uuid = Uuid::random();
  ASSERT_TRUE(ok(broker().hook_prepare(db2)));
  const auto prepared = told(broker().hook_prepare(web1({mdev_request()})));
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, ErrorCode::kHeld);
  EXPECT_TRUE(test::mentions(prepared.error(), "libvirt:db2")) << to_text(prepared.error());
  ASSERT_THAT(leases(), SizeIs(1));
  ASSERT_TRUE(ok(broker().hook_release(web1({mdev_request()}))));
  EXPECT_THAT(leases(), SizeIs(1)) << "the other domain keeps its own";
}

TEST_F(HookTest, DomainThatStartsAnewGetsItsDevicesAgain) {
  const auto domain = web1({made_request()});
  ASSERT_TRUE(ok(broker().hook_prepare(domain)));
  ASSERT_TRUE(ok(broker().hook_started(domain)));
  const auto first = leases().at(0).generation;
  ASSERT_TRUE(ok(broker().hook_prepare(domain))) << "its release never came";
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_GT(leases()[0].generation, first);
  EXPECT_EQ(vgpu_type(), "5\n");
}

TEST_F(HookTest, DomainThatWasRenamedIsKnownByItsUuid) {
  ASSERT_TRUE(ok(broker().hook_prepare(web1({made_request()}))));
  auto renamed = web1({made_request()});
  renamed.name = "web1-new";
  ASSERT_TRUE(ok(broker().hook_release(renamed)));
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_EQ(vgpu_type(), "0\n");
}

TEST_F(HookTest, ReleaseGivesBackWhatWasAttachedWhileItRan) {
  {
    auto ledger = this->ledger();
    auto lease = test::mdev_lease();
    lease.vm_uuid = web1().uuid;
    test::begin_in(ledger, lease, LeaseState::kAttached);
  }
  ASSERT_TRUE(ok(broker().hook_release(web1())));
  EXPECT_THAT(leases(), IsEmpty());
}

TEST_F(HookTest, AttachThatIsUnderWayIsLeftToItsBroker) {
  host_.add_process(4711, "slicebroker", {}, 5);
  {
    auto ledger = this->ledger();
    auto lease = test::mdev_lease();
    lease.vm_uuid = web1().uuid;
    lease.broker = {4711, 5};
    test::begin(ledger, lease);
  }
  ASSERT_TRUE(ok(broker().hook_release(web1())));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kPreparing);
}

TEST_F(HookTest, HeldDeviceStaysLeasedAfterRelease) {
  const auto domain = web1({made_request()});
  ASSERT_TRUE(ok(broker().hook_prepare(domain)));
  host_.add_process(815, "qemu", {"/dev/vfio/41"});
  const auto released = told(broker(std::chrono::milliseconds(20)).hook_release(domain));
  ASSERT_FALSE(released);
  EXPECT_TRUE(test::mentions(released.error(), "pid 815 (qemu)")) << to_text(released.error());
  EXPECT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(vgpu_type(), "5\n");
}

TEST_F(HookTest, PlanNamesADeviceForEachRequestAndTouchesNothing) {
  const auto before = host_.snapshot();
  const auto attachments = broker().plan_domain(web1({mdev_request(), made_request()}), {});
  ASSERT_TRUE(ok(attachments));
  ASSERT_THAT(*attachments, SizeIs(2));
  EXPECT_EQ((*attachments)[0].mdev, Uuid::parse(kMdev));
  EXPECT_EQ((*attachments)[0].id, "slicebroker-request-0");
  EXPECT_EQ((*attachments)[1].function, kVf1);
  EXPECT_EQ((*attachments)[1].id, "slicebroker-request-1");
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_FALSE(state_.exists("state"));
}

TEST_F(HookTest, PlanGivesOneDeviceToOneRequestOnly) {
  const auto attachments = broker().plan_domain(web1({made_request(), made_request()}), {});
  ASSERT_FALSE(attachments);
  EXPECT_EQ(attachments.error().code, ErrorCode::kHeld);
}

TEST_F(HookTest, PlanOfARunningDomainIsWhatItHasNow) {
  const auto domain = web1({made_request()});
  ASSERT_TRUE(ok(broker().hook_prepare(domain)));
  ASSERT_TRUE(ok(broker().hook_started(domain)));
  const auto attachments = broker().plan_domain(domain, {});
  ASSERT_TRUE(ok(attachments)) << "its own lease is no obstacle: it will have been given back by its next start";
  EXPECT_EQ(attachments->at(0).function, kVf1);
}

TEST_F(HookTest, PolicyBoundsWhatADomainIsGivenAtItsStart) {
  const auto domain = web1({made_request()});
  policy_.hypervisor_surfaces[hypervisors::HypervisorKind::kLibvirt].deny = {hypervisors::Surface::kVendorVf};
  const auto refused = broker().hook_prepare(domain);
  ASSERT_TRUE(fails(refused, ErrorCode::kRefused, "SURFACE_DENIED"));
  EXPECT_EQ(refused.error().host, HostOutcome::kUntouched);
  EXPECT_TRUE(fails(broker().plan_domain(domain, {}), ErrorCode::kRefused, "SURFACE_DENIED"));
  policy_ = {};
  ASSERT_TRUE(ok(broker().hook_prepare(domain)));
  policy_.include = std::vector<GpuMatch>{};
  EXPECT_TRUE(ok(broker().hook_release(domain))) << "giving back does not ask it";
  EXPECT_THAT(leases(), IsEmpty());
}

}  // namespace
}  // namespace slicebroker::broker
