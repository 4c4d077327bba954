// SPDX-License-Identifier: Apache-2.0
#include "broker/service/drift.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "broker/service/attached_nodes.h"
#include "hypervisors/libvirt/domain_claims.h"
#include "vfio/host/ask_child.h"

namespace slicebroker::broker {

const Drift drifts::kRebooted{"HOST_REBOOTED", "the host was booted since, which undid it", Remedy::kEnd,
                              "end the lease"};

namespace {

constexpr std::string_view kGivesBack = "restore the host and end the lease";
constexpr std::string_view kRecords = "record it as attached";
constexpr std::string_view kLook = "look, then detach it";

const Drift kDiedPreparing{"DIED_PREPARING", "its broker died while preparing it", Remedy::kGiveBack, kGivesBack};
const Drift kDiedReleasing{"DIED_RELEASING", "its broker died while releasing it", Remedy::kGiveBack, kGivesBack};
const Drift kGuestHas{"GUEST_HAS_IT", "its guest has the device, and the ledger did not know", Remedy::kAttached,
                      kRecords};
const Drift kGuestKept{"GUEST_KEPT_IT", "its release was begun and its guest still has the device", Remedy::kAttached,
                       kRecords};
const Drift kGuestNeverCame{"GUEST_NEVER_CAME", "it was prepared and its guest never got the device", Remedy::kGiveBack,
                            kGivesBack};
const Drift kGuestGone{"GUEST_GONE", "its guest no longer has the device", Remedy::kGiveBack, kGivesBack};
const Drift kHostChanged{"HOST_IS_OTHERWISE", "the host is no longer as it was made", Remedy::kReport, kLook};
const Drift kVmReplaced{"VM_REPLACED", "a VM of the same name and another UUID has the device", Remedy::kReport,
                        "see whose it is; end one of them, or define its domain with the UUID of before"};
const Drift kOtherDomain{"OTHER_VM_HAS_IT", "another VM runs with the device", Remedy::kReport,
                         "at once take it from the VM that has no lease"};
const Drift kOtherHolder{"OTHER_PROCESS_HAS_IT", "a process that is not its VM's has the device open", Remedy::kReport,
                         "end the process, or find out which VM it is"};

// How long a prepared lease may wait for its guest: libvirt's hook runs before QEMU does.
constexpr std::chrono::seconds kStartGrace{120};

std::chrono::seconds age_of(const Lease& lease) {
  std::tm created{};
  if (::strptime(lease.created_at.c_str(), "%Y-%m-%dT%H:%M:%SZ", &created) == nullptr) return kStartGrace;
  return std::chrono::seconds(::time(nullptr) - ::timegm(&created));
}

// The first step whose effect is no longer there.
Result<std::optional<std::string>> lost_step(const Lease& lease, const vfio::Host& host) {
  for (const auto& step : lease.steps) {
    if (step.already_so) continue;
    const auto now = observe(step.step, host);
    if (!now && vfio::find_silence(now.error()) != nullptr) return fail(now.error());
    // NVML does not list a GPU that a guest has, so its MIG layout can't be looked at.
    const bool by_nvml = std::holds_alternative<vfio::DestroyGpuInstances>(step.step) ||
                         std::holds_alternative<vfio::DisableMig>(step.step);
    if (!now && by_nvml) continue;
    if (!now || !now->already_so) return describe(step.step);
  }
  return std::nullopt;
}

Judgement judge_prepared(const Lease& lease, hypervisors::Hypervisor& hypervisor) {
  const auto machine = hypervisor.find_vm();
  const bool runs = machine && machine->running;
  if (!runs && age_of(lease) < kStartGrace) return {};  // its guest may be about to start
  return {&kGuestNeverCame, ""};
}

// A domain that is not the lease's and runs with one of its devices.
const vfio::Claim* find_other_domain(const Lease& lease, const Surroundings& surroundings) {
  for (const auto& claim : surroundings.domains) {
    if (!claim.in_use || claim.owner == lease.owner()) continue;
    const auto key = std::visit([](const auto& device) { return device_key(device); }, claim.device);
    const auto is_it = [&](const LeasedDevice& leased) { return leased.device == key; };
    if (std::any_of(lease.devices.begin(), lease.devices.end(), is_it)) return &claim;
  }
  return nullptr;
}

// The VM's process as its hypervisor tells, or as it was when it took the device.
std::optional<pid_t> vmm_of(const Lease& lease, const hypervisors::VirtualMachine& machine,
                            const vfio::HostRoot& root) {
  if (machine.vmm_pid) return machine.vmm_pid;
  if (!lease.vmm || vfio::find_process(root, lease.vmm->pid) != lease.vmm) return std::nullopt;
  return lease.vmm->pid;
}

Result<std::optional<vfio::Holder>> find_other_holder(const Lease& lease, const Environment& environment,
                                                      const Surroundings& surroundings, pid_t vmm) {
  SLICEBROKER_TRY(const auto nodes, attached_nodes(environment.host, lease.attachment));
  for (const auto& holder : vfio::holders_of(surroundings.holders, nodes)) {
    if (holder.pid != vmm) return holder;
  }
  return std::nullopt;
}

Result<Judgement> judge_attached(const Lease& lease, const Environment& environment, const Surroundings& surroundings,
                                 hypervisors::Hypervisor& hypervisor, bool guest_has) {
  if (const auto* claim = find_other_domain(lease, surroundings)) {
    return Judgement{&kOtherDomain, claim->owner + ", as " + claim->source + " says"};
  }
  if (!guest_has) return Judgement{&kGuestGone, ""};
  SLICEBROKER_TRY(const auto machine, hypervisor.find_vm());
  if (lease.vm_uuid && machine.uuid && lease.vm_uuid != machine.uuid) {
    return Judgement{&kVmReplaced,
                     machine.uuid->to_string() + ", and the lease is " + lease.vm_uuid->to_string() + "'s"};
  }
  if (const auto vmm = vmm_of(lease, machine, environment.host.root)) {
    SLICEBROKER_TRY(const auto holder, find_other_holder(lease, environment, surroundings, *vmm));
    if (holder) return Judgement{&kOtherHolder, describe(*holder)};
  }
  SLICEBROKER_TRY(auto step, lost_step(lease, environment.host));
  if (step) return Judgement{&kHostChanged, *std::move(step)};
  return Judgement{};
}

}  // namespace

std::span<const Drift* const> all_drifts() {
  static constexpr std::array kAll{&drifts::kRebooted, &kDiedPreparing,  &kDiedReleasing, &kGuestHas,
                                   &kGuestKept,        &kGuestNeverCame, &kGuestGone,     &kHostChanged,
                                   &kVmReplaced,       &kOtherDomain,    &kOtherHolder};
  return kAll;
}

Result<Judgement> judge(const Lease& lease, const Environment& environment, const Surroundings& surroundings) {
  if (lease.state == LeaseState::kPreparing) return Judgement{&kDiedPreparing, ""};
  const auto hypervisor = environment.connect(lease.vm);
  SLICEBROKER_TRY(const bool guest_has, hypervisor->has(lease.attachment));
  switch (lease.state) {
    case LeaseState::kPrepared: return guest_has ? Judgement{&kGuestHas, ""} : judge_prepared(lease, *hypervisor);
    case LeaseState::kAttached: return judge_attached(lease, environment, surroundings, *hypervisor, guest_has);
    default: return Judgement{guest_has ? &kGuestKept : &kDiedReleasing, ""};
  }
}

Result<Surroundings> look_around(const Environment& environment) {
  Surroundings surroundings;
  std::vector<Error> unread;  // a domain's file in disorder claims nothing that can be held against a lease
  surroundings.domains = hypervisors::libvirt::list_domain_claims(environment.host.root, unread);
  SLICEBROKER_TRY(surroundings.holders, vfio::list_holders(environment.host.root));
  return surroundings;
}

}  // namespace slicebroker::broker
