// SPDX-License-Identifier: Apache-2.0
// Quarantined and foreign devices: what the resolver makes of them, and what `quarantine` takes for a device.
#include "tests/unit/broker/broker_fixture.h"
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::hold;
using test::kAudio;
using test::kGpu;
using test::kMdev;
using test::kMig3;
using test::kMig5;
using test::kVf0;
using test::kVf1;
using test::ok;
using test::request;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Hold fence(const std::string& device, HoldKind kind = HoldKind::kQuarantine) {
  auto made = hold(device);
  made.kind = kind;
  made.owner = kind == HoldKind::kForeign ? "mdevctl" : "uid 0";
  made.detail = "WEDGED: it hangs";
  return made;
}

vfio::Inventory gpu_with_audio() {
  auto host = test::plain_gpu();
  test::add(host, test::pci(kAudio, {.class_code = 0x040300, .driver = std::nullopt, .iommu_group = 13}));
  return host;
}

vfio::Inventory with_mdev(std::optional<std::uint32_t> instance) {
  auto host = test::mdev_host();
  test::add_mdev(host, kVf0, "nvidia-699", instance);
  return host;
}

vfio::Inventory vfs_in_one_group() {
  auto host = test::vendor_host();
  for (const auto& vf : {kVf0, kVf1}) test::function_at(host, vf).iommu_group = 40;
  return host;
}

TEST(QuarantineResolver, NothingOfAFencedDeviceIsProposed) {
  struct Case {
    std::string name;
    vfio::Inventory host;
    std::string device;
    std::string selector;
    bool granted;
  };
  const std::string gpu = device_key(kGpu);
  const std::string mdev = "mdev:" + kMdev;
  const Case cases[] = {
      {"the GPU itself", test::plain_gpu(), gpu, "gpu=41:00.0", false},
      {"a companion of the GPU", gpu_with_audio(), device_key(kAudio), "gpu=41:00.0", false},
      {"a slice of the GPU: a VF", test::vendor_host(), device_key(kVf0), "gpu=41:00.0", false},
      {"a slice of the GPU: a GPU instance", test::mig_gpu(), gpu_instance_key(kGpu, 3), "gpu=41:00.0", false},
      {"the GPU of a MIG slice", test::vendor_host(), gpu, kMig3, false},
      {"the GPU of a profile", test::vendor_host(), gpu, "profile=1g.10gb", false},
      {"the GPU of a type", test::mdev_host(), gpu, "type=nvidia-699", false},
      {"the GPU of an mdev", with_mdev(3), gpu, "mdev=" + kMdev, false},
      {"the GPU of a slice that can't be surfaced: no fallback", test::mig_gpu(), gpu, kMig3, false},
      {"another slice of a slice that can't be surfaced: no fallback", test::mig_gpu(), gpu_instance_key(kGpu, 5),
       kMig3, false},
      {"the mdev itself", with_mdev(3), mdev, "mdev=" + kMdev, false},
      {"the VF of an mdev", with_mdev(3), device_key(kVf0), "mdev=" + kMdev, false},
      {"the GPU instance of an mdev", with_mdev(3), gpu_instance_key(kGpu, 3), "mdev=" + kMdev, false},
      {"the slice itself", test::vendor_host(), gpu_instance_key(kGpu, 3), kMig3, false},
      {"an instance that NVIDIA's driver could pick", test::vendor_host(), gpu_instance_key(kGpu, 5), "profile=1g.10gb",
       false},
      {"VF in the group of every other one", vfs_in_one_group(), device_key(kVf0), kMig3, false},
      {"one VF of two", test::vendor_host(), device_key(kVf0), kMig3, true},
      {"another slice", test::vendor_host(), gpu_instance_key(kGpu, 5), kMig3, true},
      {"an instance of another profile", test::vendor_host(), gpu_instance_key(kGpu, 1), "profile=1g.10gb", true},
      {"another GPU", test::plain_gpu(), device_key(test::kOtherGpu), "gpu=41:00.0", true},
  };
  for (const auto& c : cases) {
    for (const auto kind : {HoldKind::kQuarantine, HoldKind::kForeign}) {
      SCOPED_TRACE(c.name + (kind == HoldKind::kForeign ? ", foreign" : ", quarantined"));
      auto held = fence(c.device, kind);
      if (c.name == "another GPU") held.leased.gpu = test::kOtherGpu;
      const auto resolution = resolve(c.host, {held}, request(c.selector)).value();
      if (c.granted) {
        EXPECT_NE(resolution.granted(), nullptr);
        continue;
      }
      ASSERT_EQ(resolution.granted(), nullptr);
      const auto error = refusal(resolution);
      const bool foreign = kind == HoldKind::kForeign;
      EXPECT_EQ(error.code, foreign ? ErrorCode::kHeld : ErrorCode::kRefused);
      EXPECT_TRUE(test::mentions(error, foreign ? "FOREIGN_OWNER" : "QUARANTINED")) << to_text(error);
      EXPECT_TRUE(
          test::mentions(error, foreign ? "mdevctl owns " + c.device : c.device + " is quarantined: WEDGED: it hangs"))
          << to_text(error);
    }
  }
}

TEST(QuarantineResolver, RemedyIsTheCommandThatClearsIt) {
  const auto resolution = resolve(test::plain_gpu(), {fence(device_key(kGpu))}, request("gpu=41:00.0")).value();
  EXPECT_THAT(refusal(resolution).hint, HasSubstr("slicebroker quarantine clear pci:0000:41:00.0"));
}

class QuarantineTest : public test::BrokerFixture {
 protected:
  Result<bool> add(const std::string& text) {
    auto device = broker().find_device(text);
    if (!device) return fail(std::move(device).error());
    return broker().quarantine(*device, "noise");
  }
};

TEST_F(QuarantineTest, DeviceIsFoundUnderEachOfItsNames) {
  struct Case {
    std::string text;
    std::string key;
    PciAddress gpu;
  };
  const Case cases[] = {
      {"0000:41:00.0", "pci:0000:41:00.0", kGpu},
      {"41:00.0", "pci:0000:41:00.0", kGpu},
      {"pci_0000_41_00_4", "pci:0000:41:00.4", kGpu},
      {"pci:0000:41:00.4", "pci:0000:41:00.4", kGpu},
      {kMdev, "mdev:" + kMdev, kGpu},
      {"mdev:" + kMdev, "mdev:" + kMdev, kGpu},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto found = broker().find_device(c.text);
    ASSERT_TRUE(ok(found));
    EXPECT_EQ(found->device, c.key);
    EXPECT_EQ(found->gpu, c.gpu);
  }
}

TEST_F(QuarantineTest, UnknownDeviceIsNotFoundAndTheNearestAreNamed) {
  for (const auto* text : {"0000:42:00.0", "42:00.0", "nonsense", "6f1c2d3e-0000-5000-8000-00000000000b"}) {
    SCOPED_TRACE(text);
    const auto found = broker().find_device(text);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(found.error().host, HostOutcome::kUntouched);
  }
  EXPECT_THAT(broker().find_device("42:00.0").error().hint, HasSubstr("0000:41:00.0"));
  EXPECT_THAT(broker().find_device("6f1c2d3e-0000-5000-8000-00000000000b").error().hint, HasSubstr(kMdev));
  EXPECT_EQ(broker().name_device("42:00.0").value().device, "pci:0000:42:00.0") << "what --force takes";
  EXPECT_FALSE(broker().name_device("nonsense"));
}

TEST_F(QuarantineTest, QuarantinedDeviceIsRefusedUntilCleared) {
  ASSERT_TRUE(ok(add("41:00.0")));
  const auto before = host_.snapshot();
  for (const auto& selector : {"mdev=" + kMdev, std::string(kMade), std::string("gpu=41:00.0")}) {
    SCOPED_TRACE(selector);
    const auto attached = attach("libvirt:web1", {selector});
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code, ErrorCode::kRefused);
    EXPECT_TRUE(test::mentions(attached.error(), "QUARANTINED")) << to_text(attached.error());
    EXPECT_EQ(attached.error().host, HostOutcome::kUntouched);
    EXPECT_FALSE(broker().plan_attach(vm("libvirt:web1"), selectors({selector}), {}));
    EXPECT_EQ(broker().explain(selectors({selector})[0], {}, {}).value().granted(), nullptr);
  }
  EXPECT_TRUE(host_.is_as(before));
  host_.set_boot_id("99999999-2222-4333-8444-555555555555");
  EXPECT_FALSE(attach("libvirt:web1", {"mdev=" + kMdev})) << "also after a reboot";
  EXPECT_TRUE(ok(attach("libvirt:web1", {"gpu=c4:00.0"}))) << "another GPU is nobody's concern";
  ASSERT_TRUE(ok(broker().clear_quarantine("pci_0000_41_00_0")));
  EXPECT_TRUE(ok(attach("libvirt:web1", {"mdev=" + kMdev})));
}

TEST_F(QuarantineTest, LeasedDeviceIsGivenBackAndThenStays) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  ASSERT_TRUE(ok(add("41:00.5")));
  ASSERT_TRUE(ok(broker().detach(leases())));
  EXPECT_EQ(vgpu_type(), "0\n");
  EXPECT_TRUE(fails(attach("libvirt:web1", {kMade}), ErrorCode::kRefused, "QUARANTINED"));
}

TEST_F(QuarantineTest, ClearingWhatIsNotQuarantinedIsNotFound) {
  for (const auto* text : {"41:00.0", "nonsense", "MIG-00000000-0000-5000-8000-000000000001"}) {
    EXPECT_TRUE(fails(broker().clear_quarantine(text), ErrorCode::kNotFound, "NOT_QUARANTINED")) << text;
  }
  EXPECT_THAT(broker().ledger_view().value().quarantines, IsEmpty());
}

TEST_F(QuarantineTest, TenantGoesIntoTheLease) {
  RequestOptions options;
  options.tenant = "acme";
  ASSERT_TRUE(ok(broker().attach(vm("libvirt:web1"), selectors({"mdev=" + kMdev}), options)));
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].tenant, "acme");
  EXPECT_EQ(leases()[0].vm_uuid, vm_at("libvirt:web1").machine.uuid);
  const auto records = ledger().audit({.generation = leases()[0].generation}).value();
  ASSERT_FALSE(records.empty());
  EXPECT_EQ(records[0].tenant, "acme");
  EXPECT_EQ(records[0].boot_id, leases()[0].boot_id);
}

TEST_F(QuarantineTest, ReconcileIsInTheAuditTrail) {
  ASSERT_TRUE(ok(attach("libvirt:web1", {kMade})));
  const auto generation = leases().at(0).generation;
  vm_at("libvirt:web1").devices.clear();
  ASSERT_TRUE(ok(broker().reconcile(DryRun::kNo)));
  ASSERT_THAT(leases(), IsEmpty());
  const auto records = ledger().audit({.generation = generation}).value();
  EXPECT_THAT(records.back().detail, HasSubstr("reconciled: its guest no longer has the device"));
}

}  // namespace
}  // namespace slicebroker::broker
