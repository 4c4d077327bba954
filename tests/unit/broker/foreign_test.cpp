// SPDX-License-Identifier: Apache-2.0
// What other tools own is named, refused, and not touched when leases beside it end.
#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::kGpu;
using test::kMdev;
using test::kOtherGpu;
using test::kVf1;
using test::ok;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kWholeGpu = "gpu=c4:00.0";

std::string domain_with(const std::string& name, const std::string& bus) {
  return "<domain type='kvm'><name>" + name +
         "</name><devices><hostdev mode='subsystem' type='pci'><source><address domain='0' bus='" + bus +
         "' slot='0' function='0'/></source></hostdev></devices></domain>";
}

class ForeignTest : public test::BrokerFixture {
 protected:
  void define(const std::string& domain) const {
    host_.write("etc/libvirt/qemu/" + domain + ".xml", domain_with(domain, "0xc4"));
  }
  void run(const std::string& domain) const {
    host_.write("run/libvirt/qemu/" + domain + ".xml",
                "<domstatus state='running' pid='7'>" + domain_with(domain, "0xc4") + "</domstatus>");
  }
  void pin(const PciAddress& function, const std::string& driver) const {
    host_.write("etc/driverctl.d/pci-" + function.to_string(), driver + "\n");
  }
};

TEST_F(ForeignTest, OwnerAndFileAreNamedAndTheHostIsUntouched) {
  pin(kOtherGpu, "vfio-pci");
  const auto before = host_.snapshot();
  const auto refused = attach("libvirt:web1", {kWholeGpu});
  ASSERT_TRUE(fails(refused, ErrorCode::kHeld, "FOREIGN_OWNER"));
  EXPECT_TRUE(test::mentions(refused.error(), "driverctl owns pci:0000:c4:00.0"));
  EXPECT_TRUE(test::mentions(refused.error(), "/etc/driverctl.d/pci-0000:c4:00.0 pins it to vfio-pci"));
  EXPECT_TRUE(test::mentions(refused.error(), "driverctl unset-override 0000:c4:00.0"));
  EXPECT_TRUE(nothing_recorded());
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(ForeignTest, PolicyLetsAPinnedGpuBeUsedAndItStaysAsItWas) {
  pin(kOtherGpu, "vfio-pci");
  policy_.use_claimed_by = {vfio::Claimant::kDriverctl};
  const auto before = host_.snapshot();
  ASSERT_TRUE(ok(attach("libvirt:web1", {kWholeGpu})));
  const auto taken = leases();
  ASSERT_THAT(taken, SizeIs(1));
  EXPECT_TRUE(ok(broker().detach(taken)));
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(ForeignTest, DomainThatIsDefinedWithADeviceMayHaveItItself) {
  define("web1");
  EXPECT_TRUE(fails(attach("libvirt:db2", {kWholeGpu}), ErrorCode::kHeld, "FOREIGN_OWNER"));
  EXPECT_TRUE(fails(attach("ch:/run/ch.sock", {kWholeGpu}), ErrorCode::kHeld, "FOREIGN_OWNER"));
  EXPECT_TRUE(ok(broker().plan_attach(vm("libvirt:web1"), selectors({kWholeGpu}), {})));
  EXPECT_TRUE(ok(attach("libvirt:web1", {kWholeGpu})));
}

TEST_F(ForeignTest, VmThatIsNamedByItsUuidIsTheDomainThatTheFileNames) {
  define("web1");
  const std::string by_uuid = "libvirt:99999999-0000-4000-8000-000000000001";
  EXPECT_TRUE(ok(broker().plan_attach(vm(by_uuid), selectors({kWholeGpu}), {})));
  EXPECT_TRUE(ok(attach(by_uuid, {kWholeGpu})));
}

TEST_F(ForeignTest, LeasedDeviceInTheStatusOfItsDomainIsALease) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kWholeGpu})));
  run("web1");
  const auto refused = attach("libvirt:db2", {kWholeGpu});
  EXPECT_TRUE(fails(refused, ErrorCode::kHeld, "LEASED"));
}

TEST_F(ForeignTest, DomainThatRunsWithADeviceKeepsItWhateverThePolicySays) {
  run("db2");
  policy_.use_claimed_by = {vfio::Claimant::kLibvirt};
  EXPECT_TRUE(fails(attach("libvirt:web1", {kWholeGpu}), ErrorCode::kHeld, "FOREIGN_OWNER"));
}

TEST_F(ForeignTest, PinThatCameDuringALeaseIsLeftAtItsEnd) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kWholeGpu})));
  pin(kOtherGpu, "vfio-pci");
  const auto before = host_.snapshot();
  EXPECT_TRUE(ok(broker().detach(leases())));
  EXPECT_TRUE(host_.is_as(before));
  EXPECT_TRUE(nothing_recorded());
  EXPECT_TRUE(fails(attach("libvirt:web1", {kWholeGpu}), ErrorCode::kHeld, "FOREIGN_OWNER"));
}

TEST_F(ForeignTest, VgpuThatSomebodyMadeOverALeaseIsReportedAndLeft) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {"type=nvidia-5"})));
  const std::string type = "sys/bus/pci/devices/" + kVf1.to_string() + "/nvidia/current_vgpu_type";
  host_.write(type, "6");
  const auto refused = broker().detach(leases());
  ASSERT_FALSE(refused);
  EXPECT_TRUE(test::mentions(refused.error(), "CHANGED_BY_OTHERS")) << to_text(refused.error());
  EXPECT_EQ(host_.read(type), "6");
  EXPECT_THAT(leases(), SizeIs(1));
}

TEST_F(ForeignTest, ReconcileDoesNotTouchWhatNoLeaseMade) {
  host_.write("etc/mdevctl.d/0000:41:00.4/" + kMdev, R"({"mdev_type":"nvidia-699","start":"auto","attrs":[]})");
  pin(kGpu, "nvidia");
  define("db2");
  ASSERT_TRUE(nothing_recorded());
  (void)ledger();
  const auto before = host_.snapshot();
  const auto findings = broker().reconcile(DryRun::kNo);
  ASSERT_TRUE(ok(findings));
  EXPECT_THAT(*findings, IsEmpty());
  EXPECT_TRUE(host_.is_as(before));
}

TEST_F(ForeignTest, FileThatCantBeReadIsAProblemOfTheInventory) {
  host_.write("etc/mdevctl.d/0000:41:00.4/" + kMdev, "{");
  host_.write("etc/libvirt/qemu/web1.xml", "<domain><hostdev");
  const auto inventory = broker().inventory();
  ASSERT_TRUE(ok(inventory));
  EXPECT_THAT(inventory->claim_problems, SizeIs(2));
  EXPECT_THAT(inventory->problems, IsEmpty());
  EXPECT_TRUE(fails(attach("libvirt:web1", {"mdev=" + kMdev}), ErrorCode::kHeld, "FOREIGN_OWNER"));
}

}  // namespace
}  // namespace slicebroker::broker
