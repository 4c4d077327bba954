// SPDX-License-Identifier: Apache-2.0
// A broker on a fixture host with hypervisors that do as they are told.
//
//   0000:41:00.0  GPU on nvidia with two VFs; .4 carries the mediated device kMdev (group 77), .5 is a vendor VF (group
//                 41) that offers type 5, which a plain file takes
//   0000:c4:00.0  GPU that was on vfio-pci before us (group 20): nothing to prepare
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/service/broker.h"
#include "tests/unit/broker/inventories.h"
#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::test {

// One VM and the VMM that runs it.
struct FakeVm {
  hypervisors::VirtualMachine machine{"web1", Uuid::parse("99999999-0000-4000-8000-000000000001"), true, std::nullopt};
  std::vector<hypervisors::Attachment> devices;  // what the guest has
  int calls = 0;

  // What the next call answers in place of what is so.
  std::optional<Error> version_error, find_error, attach_error, detach_error, has_error;
  bool takes_it_anyway = false;  // attach reports its error and the guest has the device all the same
  std::function<void()> during_attach = [] {}, during_has = [] {};

  bool has(const hypervisors::Attachment& attachment) const {
    for (const auto& device : devices) {
      if (device == attachment) return true;
    }
    return false;
  }
};

class FakeHypervisor final : public hypervisors::Hypervisor {
 public:
  FakeHypervisor(hypervisors::HypervisorKind kind, FakeVm& vm) : kind_(kind), vm_(vm) {}

  hypervisors::HypervisorKind kind() const override { return kind_; }
  Result<hypervisors::Version> version() override {
    ++vm_.calls;
    if (vm_.version_error) return fail(*vm_.version_error);
    return hypervisors::Version{kind_ == hypervisors::HypervisorKind::kLibvirt ? 11U : 53U, 3, 0};
  }
  Result<hypervisors::VirtualMachine> find_vm() override {
    ++vm_.calls;
    if (vm_.find_error) return fail(*vm_.find_error);
    return vm_.machine;
  }
  Result<hypervisors::GuestDevice> attach(const hypervisors::Attachment& attachment) override {
    ++vm_.calls;
    vm_.during_attach();
    if (!vm_.attach_error || vm_.takes_it_anyway) vm_.devices.push_back(attachment);
    if (vm_.attach_error) return fail(*vm_.attach_error);
    return hypervisors::GuestDevice{"0000:05:00.0"};
  }
  Result<void> detach(const hypervisors::Attachment& attachment, std::chrono::milliseconds) override {
    ++vm_.calls;
    if (vm_.detach_error) return fail(*vm_.detach_error);
    std::erase(vm_.devices, attachment);
    return {};
  }
  Result<bool> has(const hypervisors::Attachment& attachment) override {
    ++vm_.calls;
    vm_.during_has();
    if (vm_.has_error) return fail(*vm_.has_error);
    return vm_.has(attachment);
  }

 private:
  hypervisors::HypervisorKind kind_;
  FakeVm& vm_;
};

inline Error failure(ErrorCode code, const std::string& reason) {
  Error error;
  error.code = code;
  error.reason = reason;
  error.tried = "ask the VMM";
  error.fact = "the VMM said no";
  return error;
}

class BrokerFixture : public testing::Test {
 protected:
  BrokerFixture() {
    host_.add_function(kGpu, {.driver = "nvidia", .iommu_group = 13});
    host_.add_function(kVf0, {.driver = "nvidia", .iommu_group = 40});
    host_.add_function(kVf1, {.driver = "nvidia", .iommu_group = 41, .vfio_device = "vfio1"});
    host_.set_vfs(kGpu, {kVf0, kVf1}, 16);
    host_.add_mdev_type(kVf0, "nvidia-699", "GRID A100D-1-10C", "0");
    host_.add_mdev(kMdev, kVf0, "nvidia-699", 77);
    host_.set_vendor_vf(kVf1, "0", "ID    : vGPU Name\n5     : NVIDIA L40S-8Q\n");
    host_.add_function(kOtherGpu, {.driver = "vfio-pci", .iommu_group = 20, .vfio_device = "vfio0"});
  }

  broker::Broker broker(std::chrono::milliseconds detach_deadline = std::chrono::milliseconds(100)) {
    broker::Environment environment{host_.host(), state_directory(), {}, {}, detach_deadline, policy_};
    environment.connect = [this](const hypervisors::VmReference& vm) {
      return std::make_unique<FakeHypervisor>(vm.kind, vm_at(vm.to_string()));
    };
    return broker::Broker(std::move(environment));
  }

  // The VM of that reference, made at its first mention: every one runs, and one that is named by UUID is web1.
  FakeVm& vm_at(const std::string& text) {
    const auto [at, made] = vms_.try_emplace(text);
    const auto reference = vm(text);
    if (made && !Uuid::parse(reference.target) && reference.target != "web1") {
      at->second.machine.name = reference.target;
      at->second.machine.uuid = Uuid::random();
    }
    return at->second;
  }

  std::string state_directory() const { return state_.directory() + "/state"; }
  broker::Ledger ledger() const { return broker::Ledger::open(state_directory()).value(); }
  std::vector<broker::Lease> leases() const {
    return broker::Ledger::open_for_reading(state_directory()).value().read().value().leases;
  }
  bool nothing_recorded() const { return !state_.exists("state/ledger.db") || leases().empty(); }

  static hypervisors::VmReference vm(const std::string& text) { return hypervisors::VmReference::parse(text).value(); }
  static std::vector<broker::Selector> selectors(const std::vector<std::string>& texts) {
    std::vector<broker::Selector> parsed;
    for (const auto& text : texts) parsed.push_back(broker::parse_selector(text).value());
    return parsed;
  }
  Result<std::vector<broker::Lease>> attach(const std::string& vm_text, const std::vector<std::string>& texts) {
    return told(broker().attach(vm(vm_text), selectors(texts), {}));
  }
  // A failure that says what became of the host, as every one must.
  template <class T>
  static Result<T> told(Result<T> result) {
    if (!result) {
      EXPECT_TRUE(result.error().host) << to_text(result.error());
    }
    return result;
  }
  std::string vgpu_type() const { return host_.read(device_path(kVf1, "nvidia/current_vgpu_type")); }

  static constexpr const char* kMade = "type=nvidia-5";  // a slice that a step makes on 0000:41:00.5

  FixtureHost host_;
  FixtureHost state_;
  std::map<std::string, FakeVm> vms_;
  broker::Policy policy_;
};

}  // namespace slicebroker::test
