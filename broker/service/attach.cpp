// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/service/attached_nodes.h"
#include "broker/service/broker.h"

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;

// The VM as attach needs it: there, and able to take a device.
Result<hypervisors::VirtualMachine> find_ready_vm(hypervisors::Hypervisor& hypervisor,
                                                  const hypervisors::VmReference& vm) {
  SLICEBROKER_TRY(auto machine, hypervisor.find_vm());
  // A Cloud Hypervisor VM that was created and not booted takes devices too.
  if (machine.running || vm.kind == HypervisorKind::kCloudHypervisor) return machine;
  Error error;
  error.code = ErrorCode::kRefused;
  error.reason = "VM_NOT_RUNNING";
  error.tried = "attach";
  error.subject = vm.to_string();
  error.fact = "the domain is not running";
  error.hint = "start it first; or give it its device at every start: slicebroker xml --domain FILE, and the hook";
  return fail(std::move(error));
}

// The VM by the one name that leases and claims have for it.
hypervisors::VmReference named(hypervisors::VmReference vm, const hypervisors::VirtualMachine& machine) {
  if (vm.kind == HypervisorKind::kLibvirt) vm.target = machine.name;
  return vm;
}

std::vector<Request> make_requests(const std::vector<Selector>& selectors, const Target& target,
                                   const RequestOptions& options, const Policy& policy,
                                   const hypervisors::VmReference& vm) {
  std::vector<Request> requests;
  for (const auto& selector : selectors) {
    requests.push_back(make_request(selector, target, options, policy));
    requests.back().vm = vm.to_string();
  }
  return requests;
}

// What was given back and can't be had again for now.
Error with_quarantines(Error error, const Lease& lease) {
  for (const auto& reset : lease.resets) {
    if (reset.state != ResetState::kFailed) continue;
    error.hint += (error.hint.empty() ? "" : "; ") + reset.function.to_string() +
                  " was not reset and is quarantined: slicebroker quarantine list";
  }
  return error;
}

Error untouched(Error error) {
  if (!error.host) error.host = HostOutcome::kUntouched;
  return error;
}

}  // namespace

Result<Lease> Broker::attach_one(Ledger& ledger, hypervisors::Hypervisor& hypervisor, const Request& request,
                                 const Lease& draft) {
  SLICEBROKER_TRY(auto lease, acquire_patiently(ledger, request, draft));
  auto given = hypervisor.attach(lease.attachment);
  if (!given) {
    // A VMM that failed or was silent may have taken it all the same: it must say so before anything is undone.
    const auto has = hypervisor.has(lease.attachment);
    if (!has && given.error().code == ErrorCode::kNoAnswer) {
      Error error = caused_by("hand the device over", lease.owner(), std::move(given).error());
      error.hint = "when the hypervisor answers again: slicebroker reconcile";
      error.host = HostOutcome::kChanged;
      return fail(std::move(error));
    }
    if (has && *has) given = hypervisors::GuestDevice{};
  }
  if (!given) {
    Error error = caused_by("hand the device over", lease.owner(), std::move(given).error());
    auto released = release_now(ledger, lease, "failed: " + error.tried, environment_.detach_deadline);
    return fail(with_quarantines(after_undo(std::move(error), std::move(released)), lease));
  }
  if (!lease.vmm) lease.vmm = find_vmm(environment_.host, lease.attachment);
  SLICEBROKER_CHECK(changed_unless_told(ledger.set_attached(lease.generation, given->guest_address, lease.vmm)));
  lease.state = LeaseState::kAttached;
  lease.guest_address = given->guest_address;
  return lease;
}

Result<std::vector<Lease>> Broker::attach(const hypervisors::VmReference& vm, const std::vector<Selector>& selectors,
                                          const RequestOptions& options) {
  const auto hypervisor = environment_.connect(vm);
  auto attach_all = [&]() -> Result<std::vector<Lease>> {
    SLICEBROKER_TRY(const auto version, hypervisor->version());
    SLICEBROKER_TRY(const auto machine, find_ready_vm(*hypervisor, vm));
    SLICEBROKER_TRY(auto ledger, open_ledger());
    SLICEBROKER_CHECK(recover_abandoned(ledger));
    const auto owner = named(vm, machine);
    const auto requests = make_requests(selectors, {vm.kind, version}, options, environment_.policy, owner);
    if (requests.size() > 1) {
      SLICEBROKER_TRY(const auto held, ledger_view());
      SLICEBROKER_TRY(const auto host, inventory());
      SLICEBROKER_CHECK(plan_requests(vm, requests, held, host));
    }
    std::vector<Lease> attached;
    for (const auto& request : requests) {
      const auto attach_next = [&]() -> Result<Lease> {
        SLICEBROKER_TRY(auto draft, draft_lease(owner, request.selector));
        draft.vm_uuid = machine.uuid;
        draft.tenant = options.tenant;
        if (machine.vmm_pid) draft.vmm = vfio::find_process(environment_.host.root, *machine.vmm_pid);
        return attach_one(ledger, *hypervisor, request, draft);
      };
      auto lease = attach_next();
      if (!lease) {
        Error error =
            caused_by("attach " + to_string(request.selector) + " to", vm.to_string(), std::move(lease).error());
        for (auto& earlier : attached) error = after_undo(std::move(error), detach_one(ledger, earlier));
        return fail(std::move(error));
      }
      attached.push_back(*std::move(lease));
    }
    return attached;
  };
  auto result = attach_all();
  if (!result) return fail(untouched(std::move(result).error()));
  return result;
}

Result<std::vector<PlannedLease>> Broker::plan_requests(const hypervisors::VmReference& vm,
                                                        const std::vector<Request>& requests, const LedgerView& held,
                                                        const vfio::Inventory& host) const {
  auto holds = holds_of(held);
  std::vector<PlannedLease> planned;
  for (const auto& request : requests) {
    auto resolution = resolve(host, holds, request, environment_.policy);
    const auto* granted = resolution ? resolution->granted() : nullptr;
    if (granted == nullptr) {
      return fail(caused_by("attach " + to_string(request.selector) + " to", vm.to_string(),
                            resolution ? refusal(*resolution) : std::move(resolution).error()));
    }
    Plan plan = granted->plan;
    for (const auto& device : plan.devices) holds.push_back({device, kThisRequest, vm.to_string()});
    planned.push_back({*std::move(resolution), std::move(plan)});
  }
  return planned;
}

Result<std::vector<PlannedLease>> Broker::plan_attach(const hypervisors::VmReference& vm,
                                                      const std::vector<Selector>& selectors,
                                                      const RequestOptions& options) const {
  const auto hypervisor = environment_.connect(vm);
  auto plan_all = [&]() -> Result<std::vector<PlannedLease>> {
    SLICEBROKER_TRY(const auto version, hypervisor->version());
    SLICEBROKER_TRY(const auto machine, find_ready_vm(*hypervisor, vm));
    const auto requests =
        make_requests(selectors, {vm.kind, version}, options, environment_.policy, named(vm, machine));
    SLICEBROKER_TRY(const auto held, ledger_view());
    SLICEBROKER_TRY(const auto host, inventory());
    SLICEBROKER_TRY(auto planned, plan_requests(vm, requests, held, host));
    for (auto& lease : planned) warn_of_quarantines(host, lease.resolution.candidates);
    return planned;
  };
  auto result = plan_all();
  if (!result) return fail(untouched(std::move(result).error()));
  return result;
}

}  // namespace slicebroker::broker
