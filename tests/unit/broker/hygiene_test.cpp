// SPDX-License-Identifier: Apache-2.0
// What is done to a device between two guests.
#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using namespace std::chrono_literals;
using test::device_path;
using test::fails;
using test::kOtherGpu;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kGpuSelector = "gpu=c4:00.0";  // on vfio-pci before us: no step is needed

Hygiene gpus(ResetDemand demand) {
  return {demand, ResetDemand::kFunction, {}};
}
Hygiene exempting(const CardMatch& card) {
  return {ResetDemand::kAny, ResetDemand::kFunction, {card}};
}

class HygieneTest : public test::BrokerFixture {
 protected:
  HygieneTest() { host_.write(reset_file(), "0"); }

  static std::string reset_file() { return device_path(kOtherGpu, "reset"); }
  bool was_reset() const { return host_.read(reset_file()) == "1"; }
  void refuse_resets() const { host_.make_unreadable(reset_file()); }

  Broker impatient() {
    Environment environment{host_.host(100ms), state_directory(), {}, {}, 100ms, policy_};
    environment.connect = [this](const hypervisors::VmReference& reference) {
      return std::make_unique<test::FakeHypervisor>(reference.kind, vm_at(reference.to_string()));
    };
    return Broker(std::move(environment));
  }

  Lease lease() const { return *ledger().find(1).value(); }
  std::vector<Quarantine> quarantines() const { return ledger().read().value().quarantines; }
  void attach_gpu() { ASSERT_TRUE(ok(attach("libvirt:web1", {kGpuSelector}))); }
};

TEST_F(HygieneTest, GuestsDeviceIsResetAndTheLeaseSaysHow) {
  attach_gpu();
  EXPECT_FALSE(was_reset()) << "not before the guest";
  EXPECT_THAT(lease().resets, ElementsAre(DeviceReset{kOtherGpu, ResetDemand::kAny}));
  const auto released = broker().detach(leases());
  ASSERT_TRUE(ok(released));
  EXPECT_TRUE(was_reset());
  const DeviceReset done{kOtherGpu, ResetDemand::kAny, ResetState::kDone, "flr", "", "function reset (flr)"};
  EXPECT_THAT(released->at(0).lease.resets, ElementsAre(done));
  EXPECT_THAT(lease().resets, ElementsAre(done)) << "as recorded";
  std::vector<std::string> details;
  const auto records = ledger().audit({.generation = 1}).value();
  for (const auto& record : records) {
    if (record.event == "device.reset") details.push_back(record.detail);
  }
  EXPECT_THAT(details, ElementsAre("0000:c4:00.0 started", "0000:c4:00.0 done: function reset (flr)"));
}

TEST_F(HygieneTest, DeviceThatWasNotResetIsKeptFromTheNext) {
  attach_gpu();
  refuse_resets();
  const auto released = broker().detach(leases());
  ASSERT_TRUE(ok(released)) << "it was given back";
  EXPECT_THAT(leases(), IsEmpty());
  const auto& reset = released->at(0).lease.resets.at(0);
  EXPECT_EQ(reset.state, ResetState::kFailed);
  EXPECT_EQ(reset.code, "RESET_FAILED");
  ASSERT_THAT(quarantines(), SizeIs(1));
  EXPECT_EQ(quarantines()[0].device, (LeasedDevice{"pci:0000:c4:00.0", kOtherGpu}));
  EXPECT_EQ(quarantines()[0].code, "RESET_FAILED");
  EXPECT_FALSE(attach("libvirt:db2", {kGpuSelector})) << "quarantined";
  ASSERT_TRUE(ok(broker().reconcile(DryRun::kNo)));
  EXPECT_THAT(quarantines(), SizeIs(1)) << "until somebody has looked";
}

TEST_F(HygieneTest, WhatHasNoWayToBeResetIsKeptFromTheNext) {
  attach_gpu();
  host_.remove(device_path(kOtherGpu, "reset_method"));
  ASSERT_TRUE(ok(broker().detach(leases())));
  ASSERT_THAT(quarantines(), SizeIs(1));
  EXPECT_EQ(quarantines()[0].code, "RESET_NOT_POSSIBLE");
}

TEST_F(HygieneTest, PolicyOfTheLeaseDecides) {
  struct Case {
    std::string name;
    Hygiene hygiene;
    bool reset;
    std::string quarantine;
  };
  const Case cases[] = {
      {"none", gpus(ResetDemand::kNone), false, ""},
      {"function", gpus(ResetDemand::kFunction), true, ""},
      {"bus, which it can't", gpus(ResetDemand::kBus), false, "RESET_NOT_POSSIBLE"},
      {"exempt by address", exempting(kOtherGpu), false, ""},
      {"exempt by ids", exempting(PciIds{0x10de, 0x20b5}), false, ""},
      {"another one is exempt", exempting(PciIds{0x10de, 0x2331}), true, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    host_.write(reset_file(), "0");
    policy_.hygiene = c.hygiene;
    attach_gpu();
    policy_.hygiene = gpus(ResetDemand::kNone);  // detach does not ask it again
    ASSERT_TRUE(ok(broker().detach(leases())));
    EXPECT_EQ(was_reset(), c.reset);
    ASSERT_THAT(quarantines(), SizeIs(c.quarantine.empty() ? 0 : 1));
    if (c.quarantine.empty()) continue;
    EXPECT_EQ(quarantines()[0].code, c.quarantine);
    ASSERT_TRUE(ok(broker().clear_quarantine("c4:00.0")));
  }
}

TEST_F(HygieneTest, LeaseThatNoGuestEverHadIsNotReset) {
  auto ledger = this->ledger();
  auto lease = test::mdev_lease();
  lease.attachment = {"slicebroker-1", hypervisors::Surface::kGpu, {}, kOtherGpu, {}};
  lease.devices = {{"pci:0000:c4:00.0", kOtherGpu}};
  lease.resets = {{kOtherGpu, ResetDemand::kAny}};
  test::begin_in(ledger, lease, LeaseState::kPreparing);
  ASSERT_TRUE(ok(broker().reconcile(DryRun::kNo)));
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_FALSE(was_reset());
  EXPECT_THAT(quarantines(), IsEmpty());
}

TEST_F(HygieneTest, RefusedByTheVmmItIsResetAllTheSame) {
  vm_at("libvirt:web1").attach_error = test::failure(ErrorCode::kFailed, "NO");
  ASSERT_FALSE(attach("libvirt:web1", {kGpuSelector}));
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_TRUE(was_reset()) << "the VMM may have handed it over before it failed";
}

TEST_F(HygieneTest, RebootIsAReset) {
  attach_gpu();
  host_.set_boot_id("22222222-2222-4333-8444-555555555555");
  ASSERT_TRUE(ok(broker().reconcile(DryRun::kNo)));
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_FALSE(was_reset());
  EXPECT_EQ(lease().resets.at(0).outcome, "reboot");
}

TEST_F(HygieneTest, SilentResetKeepsTheLeaseAndIsDoneAnewLater) {
  attach_gpu();
  host_.make_fifo(reset_file());
  const auto silent = impatient().detach(leases());
  ASSERT_TRUE(fails(silent, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_EQ(silent.error().host, HostOutcome::kChanged);
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_EQ(leases()[0].state, LeaseState::kReleasing);
  EXPECT_EQ(leases()[0].resets.at(0).state, ResetState::kStarted);
  ASSERT_THAT(quarantines(), SizeIs(1));
  EXPECT_EQ(quarantines()[0].code, "WEDGED");

  host_.remove(reset_file());
  host_.write(reset_file(), "0");
  ASSERT_TRUE(ok(impatient().detach(leases())));
  EXPECT_TRUE(was_reset());
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_THAT(quarantines(), IsEmpty()) << "the one for the silence ends with the lease";
}

TEST_F(HygieneTest, QuarantineForASilenceDoesNotHideThatTheResetFailedLater) {
  attach_gpu();
  host_.make_fifo(reset_file());
  ASSERT_FALSE(impatient().detach(leases()));
  refuse_resets();
  ASSERT_TRUE(ok(impatient().detach(leases())));
  ASSERT_THAT(quarantines(), SizeIs(1));
  EXPECT_EQ(quarantines()[0].code, "RESET_FAILED");
}

TEST(DemandedResets, FollowSurfaceAndMember) {
  using hypervisors::Surface;
  const PciAddress gpu{0, 1, 0, 0}, audio{0, 1, 0, 1}, twin{0, 2, 0, 0}, vf{0, 1, 0, 4};
  vfio::Inventory inventory;
  const auto add = [&](const PciAddress& address, std::uint16_t device, std::uint32_t class_code) -> auto& {
    auto& function = inventory.functions.emplace_back();
    function.address = address;
    function.vendor = vfio::kVendorNvidia;
    function.device = device;
    function.class_code = class_code;
    return function;
  };
  add(gpu, 0x2331, 0x030200);
  add(audio, 0x22ba, 0x040300);
  add(vf, 0x2331, 0x030200).physical_function = gpu;
  add(twin, 0x2331, 0x030000);
  struct Case {
    std::string name;
    Surface surface;
    std::optional<PciAddress> function;
    std::vector<PciAddress> companions;
    Hygiene hygiene;
    std::vector<DemandedReset> demanded;
  };
  using enum ResetDemand;
  const Case cases[] = {
      {"what comes along, where it can be", Surface::kGpu, gpu, {audio}, {}, {{gpu, kAny}, {audio, kIfAble}}},
      {"GPUs first", Surface::kGpu, gpu, {audio, twin}, gpus(kBus), {{gpu, kBus}, {twin, kBus}, {audio, kIfAble}}},
      {"none", Surface::kGpu, gpu, {audio}, gpus(kNone), {{gpu, kNone}, {audio, kNone}}},
      {"exempt, with what comes along",
       Surface::kGpu,
       gpu,
       {audio, twin},
       exempting(gpu),
       {{gpu, kNone}, {audio, kNone}, {twin, kAny}}},
      {"what comes along is exempt",
       Surface::kGpu,
       gpu,
       {audio},
       exempting(PciIds{0x10de, 0x22ba}),
       {{gpu, kAny}, {audio, kNone}}},
      {"VF", Surface::kVf, vf, {}, gpus(kNone), {{vf, kFunction}}},
      {"VF, none", Surface::kVf, vf, {}, {kAny, kNone, {}}, {{vf, kNone}}},
      {"VF of an exempt GPU", Surface::kVf, vf, {}, exempting(gpu), {{vf, kNone}}},
      {"VF alone exempt", Surface::kVf, vf, {}, exempting(vf), {{vf, kNone}}},
      {"vendor VF", Surface::kVendorVf, vf, {}, {}, {}},
      {"mediated device", Surface::kMdev, std::nullopt, {}, {}, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Policy policy;
    policy.hygiene = c.hygiene;
    EXPECT_EQ(demanded_resets(policy, inventory, {"id", c.surface, {}, c.function, c.companions}), c.demanded);
  }
}

}  // namespace
}  // namespace slicebroker::broker
