// SPDX-License-Identifier: Apache-2.0
// A kernel that does not answer: a FIFO in the place of an attribute blocks whoever opens it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "tests/unit/broker/broker_fixture.h"
#include "vfio/host/child.h"

namespace slicebroker::broker {
namespace {

using test::device_path;
using test::fails;
using test::ok;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

constexpr PciAddress kThird{0, 0x81, 0, 0};

class BrokerSilenceTest : public test::BrokerFixture {
 protected:
  BrokerSilenceTest() {
    host_.add_function(kThird, {.driver = "nouveau", .iommu_group = 30});
    host_.set_driver({0, 0x82, 0, 0}, "vfio-pci");
  }
  broker::Broker impatient() {
    auto host = host_.host();
    host.deadline = 1s;
    host.patience = 400ms;
    broker::Environment environment{std::move(host), state_directory(), {}, {}, 100ms};
    environment.connect = [this](const hypervisors::VmReference& vm) {
      return std::make_unique<test::FakeHypervisor>(vm.kind, vm_at(vm.to_string()));
    };
    return broker::Broker(std::move(environment));
  }
  Result<std::vector<Lease>> attach_within(const std::string& selector) {
    return told(impatient().attach(vm("libvirt:web1"), selectors({selector}), {}));
  }
  Result<Resolution> explain(const std::string& selector) {
    return impatient().explain(parse_selector(selector).value(), {}, {});
  }
  std::vector<Quarantine> quarantines() { return ledger().read().value().quarantines; }
};

TEST_F(BrokerSilenceTest, WriteIsLeftBehindAndItsDeviceQuarantinedUntilItIsAsBefore) {
  host_.make_fifo("sys/bus/pci/drivers/nouveau/unbind");
  const auto attached = attach_within("gpu=81:00.0");
  ASSERT_TRUE(fails(attached, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_EQ(attached.error().host, HostOutcome::kChanged);
  ASSERT_THAT(leases(), SizeIs(1));
  ASSERT_THAT(quarantines(), SizeIs(1));
  const auto quarantine = quarantines()[0];
  EXPECT_EQ(quarantine.device.device, "pci:0000:81:00.0");
  EXPECT_EQ(quarantine.code, "WEDGED");
  EXPECT_EQ(quarantine.generation, leases()[0].generation);
  EXPECT_THAT(quarantine.detail, HasSubstr("0000:81:00.0/driver/unbind"));

  EXPECT_TRUE(ok(impatient().plan_attach(vm("libvirt:web2"), selectors({"gpu=c4:00.0"}), {})))
      << "others are served meanwhile";

  host_.remove("sys/bus/pci/drivers/nouveau/unbind");
  host_.write("sys/bus/pci/drivers/nouveau/unbind", "");
  const auto findings = impatient().reconcile(DryRun::kNo);
  ASSERT_TRUE(ok(findings));
  ASSERT_THAT(*findings, SizeIs(1));
  EXPECT_TRUE((*findings)[0].resolved);
  // A plain file keeps the rest of a longer text, so driver_override does not read as it did.
  EXPECT_THAT((*findings)[0].action, HasSubstr("pci:0000:81:00.0 stays quarantined"));
  EXPECT_THAT(quarantines(), SizeIs(1));
}

TEST_F(BrokerSilenceTest, QuarantineOfItsOwnEndsWithTheLeaseWhenTheHostIsRestored) {
  auto ledger = this->ledger();
  auto lease = test::mdev_lease();
  lease.attachment = {"slicebroker-made", hypervisors::Surface::kVendorVf, {}, test::kVf1, {}};
  lease.devices = {{"pci:0000:41:00.5", test::kGpu}};
  lease.steps = {{vfio::AssignVgpuType{test::kVf1, 5, {}}, {{"type", "0"}}, false, StepState::kStarted}};
  host_.write(device_path(test::kVf1, "nvidia/current_vgpu_type"), "5\n");
  lease = test::begin(ledger, lease);
  ASSERT_TRUE(ok(ledger.add_quarantine({lease.devices[0], "WEDGED", "", "", "slicebroker", lease.generation})));
  ASSERT_TRUE(ok(ledger.add_quarantine({{"pci:0000:c4:00.0", test::kOtherGpu}, "OPERATOR", "", "", "uid 0"})));
  const auto findings = impatient().reconcile(DryRun::kNo);
  ASSERT_TRUE(ok(findings));
  ASSERT_THAT(*findings, SizeIs(1));
  EXPECT_TRUE((*findings)[0].resolved);
  EXPECT_EQ(vgpu_type(), "0\n");
  EXPECT_THAT(leases(), IsEmpty());
  ASSERT_THAT(quarantines(), SizeIs(1)) << "one that was made by hand stays";
  EXPECT_EQ(quarantines()[0].device.device, "pci:0000:c4:00.0");
  const auto records = ledger.audit({}).value();
  EXPECT_EQ(records.at(records.size() - 2).event, "quarantine.cleared") << "a crash in between leaves the lease, which "
                                                                           "is settled again";
  EXPECT_EQ(records.back().event, "lease.ended");
}

TEST_F(BrokerSilenceTest, OnlyTheLeaseThatWroteWaitsForItsWriter) {
  host_.add_process(4711, std::string(vfio::kWriterName), {});
  const auto writer = vfio::find_process(host_.root(), 4711);
  ASSERT_TRUE(writer);
  auto ledger = this->ledger();
  const auto writing = test::begin_in(ledger, test::mdev_lease(), LeaseState::kPreparing);
  auto other = test::mdev_lease("web2");
  other.devices = {{"pci:0000:41:00.5", test::kGpu}};
  other.steps = {{vfio::AssignVgpuType{test::kVf1, 5, {}}, {{"type", "0"}}, false, StepState::kStarted}};
  other = test::begin(ledger, other);
  const auto unsettled = [&] {
    std::set<std::int64_t> generations;
    const auto findings = impatient().reconcile(DryRun::kYes).value();
    for (const auto& finding : findings) {
      if (finding.error) generations.insert(finding.generation);
    }
    return generations;
  };
  EXPECT_THAT(unsettled(), testing::ElementsAre(other.generation)) << "nobody knows whose write it is";
  ASSERT_TRUE(ok(ledger.add_late_write(writing.generation, {*writer, "write '1': /sys/x"})));
  EXPECT_THAT(unsettled(), testing::ElementsAre(writing.generation));
  EXPECT_EQ(leases().at(0).late_writes, (std::vector<LateWrite>{{*writer, "write '1': /sys/x"}}));
  host_.remove("proc/4711");
  EXPECT_THAT(unsettled(), IsEmpty());
}

// Undone before its write has happened, the device would be made after its lease.
TEST_F(BrokerSilenceTest, LeaseIsNotReleasedWhileItsWriteWaits) {
  host_.add_process(4711, std::string(vfio::kWriterName), {});
  auto ledger = this->ledger();
  auto lease = test::mdev_lease();
  lease.devices = {{"pci:0000:41:00.5", test::kGpu}};
  lease.steps = {{vfio::AssignVgpuType{test::kVf1, 5, {}}, {{"type", "0"}}, false, StepState::kStarted}};
  lease = test::begin(ledger, lease);
  hypervisors::libvirt::Domain domain;
  domain.name = "web1";
  domain.uuid = lease.vm_uuid;
  for (const bool recorded : {false, true}) {
    SCOPED_TRACE(recorded);
    if (recorded) {
      const auto writer = vfio::find_process(host_.root(), 4711).value();
      ASSERT_TRUE(ok(ledger.add_late_write(lease.generation, {writer, "write '5': /sys/x"})));
    }
    const auto detached = told(impatient().detach(leases()));
    ASSERT_TRUE(fails(detached, ErrorCode::kNoAnswer, "WEDGED"));
    EXPECT_EQ(detached.error().host, HostOutcome::kUntouched);
    EXPECT_TRUE(fails(impatient().hook_release(domain), ErrorCode::kNoAnswer, "WEDGED"));
    ASSERT_THAT(leases(), SizeIs(1));
    EXPECT_EQ(leases()[0].state, LeaseState::kPreparing);
  }
  host_.remove("proc/4711");
  EXPECT_TRUE(ok(impatient().detach(leases())));
  EXPECT_THAT(leases(), IsEmpty());
}

TEST_F(BrokerSilenceTest, DetachDoesNotEndALeaseWhoseRemoveStillWaits) {
  // The kernel unlinks a device before it asks its driver to let go of it, so this one looks as if it were gone.
  host_.add_process(4711, std::string(vfio::kWriterName), {});
  const auto writer = vfio::find_process(host_.root(), 4711);
  ASSERT_TRUE(writer);
  auto ledger = this->ledger();
  auto lease = test::mdev_lease();
  const auto uuid = Uuid::random();
  lease.attachment.mdev = uuid;
  lease.steps = {{vfio::CreateMdev{test::kVf0, "nvidia-700", uuid, {}}, {{"exists", "no"}}, false, StepState::kDone}};
  lease = test::begin_in(ledger, lease, LeaseState::kAttached);
  ASSERT_TRUE(ok(ledger.add_late_write(lease.generation, {*writer, "write '1': /sys/x/remove"})));
  const auto found = impatient().find_leases(vm("libvirt:web1"), "");
  ASSERT_TRUE(ok(found));
  const auto detached = impatient().detach(*found);
  ASSERT_TRUE(fails(detached, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_EQ(detached.error().host, HostOutcome::kUntouched);
  EXPECT_THAT(leases(), SizeIs(1));

  hypervisors::libvirt::Domain domain;
  domain.name = "web1";
  EXPECT_TRUE(fails(impatient().hook_release(domain), ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_THAT(leases(), SizeIs(1));

  host_.remove("proc/4711");
  EXPECT_TRUE(ok(impatient().detach(*found)));
  EXPECT_THAT(leases(), IsEmpty());
}

TEST_F(BrokerSilenceTest, SilentDeviceIsRefusedByName) {
  host_.make_fifo(device_path(kThird, "driver_override"));
  const auto resolution = explain("gpu=81:00.0");
  ASSERT_TRUE(ok(resolution));
  ASSERT_THAT(resolution->candidates, SizeIs(1));
  EXPECT_EQ(resolution->candidates[0].code, "DEVICE_SILENT");
  EXPECT_THAT(resolution->candidates[0].fact, HasSubstr("0000:81:00.0/driver_override"));
  EXPECT_EQ(refusal(*resolution).code, ErrorCode::kNoAnswer);
  const auto other = explain("gpu=c4:00.0");
  ASSERT_TRUE(ok(other));
  EXPECT_NE(other->granted(), nullptr);
}

TEST_F(BrokerSilenceTest, WhatSharesAGroupOrGpuWithASilentOneIsNotGiven) {
  const PciAddress companion{0, 0x81, 0, 1};
  host_.add_function(companion, {.class_code = "0x040300", .iommu_group = 30});
  host_.make_fifo(device_path(companion, "driver_override"));
  host_.make_fifo(device_path(test::kGpu, "sriov_numvfs"));
  for (const auto* selector : {"gpu=81:00.0", "vf=41:00.5"}) {
    const auto resolution = explain(selector);
    ASSERT_TRUE(ok(resolution)) << selector;
    EXPECT_EQ(resolution->candidates.at(0).code, "DEVICE_SILENT") << selector;
  }
}

TEST_F(BrokerSilenceTest, NameThatMayBeOnASilentDeviceIsNotSaidToBeUnknown) {
  host_.make_fifo("sys/bus/mdev/devices/" + std::string(test::kMdev) + "/nvidia/gpu_instance_id");
  EXPECT_TRUE(fails(explain("mdev=" + std::string(test::kMdev)), ErrorCode::kNoAnswer, "DEVICE_SILENT"));
}

}  // namespace
}  // namespace slicebroker::broker
