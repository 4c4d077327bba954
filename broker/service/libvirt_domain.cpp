// SPDX-License-Identifier: Apache-2.0
// Domains that ask for devices in their metadata: planned when their XML is written, prepared and given back by
// libvirt's hook. A hook must never call libvirt (it would wait for itself), so nothing here connects.
#include <algorithm>

#include "broker/service/attached_nodes.h"
#include "broker/service/broker.h"

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;
using hypervisors::libvirt::Domain;
using hypervisors::libvirt::RequestedDevice;

// The device's name inside the domain, the same in its XML and in the lease.
std::string request_id(std::size_t index) {
  return "slicebroker-request-" + std::to_string(index);
}

Error bad_request(const Domain& domain, std::string fact, std::string hint) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.reason = "BAD_DOMAIN_REQUEST";
  error.tried = "read the domain's slicebroker request";
  error.subject = domain.name;
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Result<RequestOptions> options_of(const Domain& domain, const RequestedDevice& device) {
  RequestOptions options;
  if (!device.fallback.empty()) {
    const auto fallback = parse_fallback(device.fallback);
    if (!fallback) return fail(bad_request(domain, "fallback is '" + device.fallback + "'", "use none or gpu"));
    options.fallback = *fallback;
  }
  if (!device.isolation.empty()) {
    const auto isolation = parse_isolation(device.isolation);
    if (!isolation) {
      return fail(bad_request(domain, "isolation is '" + device.isolation + "'", "use any, time-sliced or hardware"));
    }
    options.isolation = *isolation;
  }
  for (const auto& text : device.group_members) {
    const auto address = PciAddress::parse(text);
    if (!address) return fail(bad_request(domain, "allow-group-member has '" + text + "'", "use PCI addresses"));
    options.allowed_group_members.insert(*address);
  }
  return options;
}

Result<Request> request_of(const Domain& domain, const RequestedDevice& device, const Target& target,
                           const Policy& policy) {
  SLICEBROKER_TRY(const auto selector, parse_selector(device.selector));
  SLICEBROKER_TRY(const auto options, options_of(domain, device));
  auto request = make_request(selector, target, options, policy);
  request.vm = hypervisors::VmReference{HypervisorKind::kLibvirt, domain.name}.to_string();
  return request;
}

// The request, held to the device that the domain's hostdev names.
Result<Request> agreed_request(const Domain& domain, const RequestedDevice& device, const Policy& policy) {
  const std::string remedy = "make its XML real: slicebroker xml --domain FILE";
  SLICEBROKER_TRY(auto request, request_of(domain, device, {HypervisorKind::kLibvirt, std::nullopt}, policy));
  const bool mdev_there = device.mdev && std::count(domain.mdevs.begin(), domain.mdevs.end(), *device.mdev) == 1;
  const bool function_there =
      device.function && std::count(domain.functions.begin(), domain.functions.end(), *device.function) == 1;
  if (!mdev_there && !function_there) {
    return fail(bad_request(domain, "no hostdev of it stands for " + device.selector, remedy));
  }
  request.only_mdev = mdev_there;
  if (mdev_there) request.mdev_uuid = *device.mdev;
  if (function_there) request.only_function = device.function;
  return request;
}

bool of_domain(const Lease& lease, const Domain& domain) {
  if (lease.vm.kind != HypervisorKind::kLibvirt) return false;
  return domain.uuid ? lease.vm_uuid == domain.uuid : lease.vm.target == domain.name;
}

}  // namespace

Result<std::vector<hypervisors::Attachment>> Broker::plan_domain(const Domain& domain, const Target& target) const {
  SLICEBROKER_TRY(const auto held, ledger_view());
  SLICEBROKER_TRY(const auto host, inventory());
  auto holds = holds_of(held);
  std::vector<hypervisors::Attachment> attachments;
  for (const auto& device : domain.requests) {
    const std::string id = request_id(attachments.size());
    SLICEBROKER_TRY(auto request, request_of(domain, device, target, environment_.policy));
    // A domain that runs keeps what it has.
    const auto own = std::find_if(held.leases.begin(), held.leases.end(), [&](const Lease& lease) {
      return of_domain(lease, domain) && lease.attachment.id == id && lease.selector == to_string(request.selector);
    });
    if (own != held.leases.end()) {
      attachments.push_back(own->attachment);
      continue;
    }
    if (device.mdev) request.mdev_uuid = *device.mdev;  // keep what was agreed before
    SLICEBROKER_TRY(const auto resolution, resolve(host, holds, request, environment_.policy));
    const auto* granted = resolution.granted();
    if (granted == nullptr)
      return fail(caused_by("plan " + device.selector + " for", domain.name, refusal(resolution)));
    for (const auto& leased : granted->plan.devices) holds.push_back({leased, kThisRequest, domain.name});
    attachments.push_back(granted->plan.attachment);
    attachments.back().id = id;
  }
  return attachments;
}

Result<void> Broker::hook_prepare(const Domain& domain) {
  if (domain.requests.empty()) return {};
  SLICEBROKER_TRY(auto ledger, open_ledger());
  // The domain is about to start, so what it held before (a release that never came) is free.
  SLICEBROKER_CHECK(release_domain(ledger, domain, "its domain starts anew"));
  for (std::size_t i = 0; i < domain.requests.size(); ++i) {
    const auto prepare = [&]() -> Result<void> {
      SLICEBROKER_TRY(const auto request, agreed_request(domain, domain.requests[i], environment_.policy));
      SLICEBROKER_TRY(auto draft, draft_lease({HypervisorKind::kLibvirt, domain.name}, request.selector));
      draft.vm_uuid = domain.uuid;
      draft.attachment.id = request_id(i);
      SLICEBROKER_TRY([[maybe_unused]] const auto lease, acquire(ledger, request, std::move(draft)));
      return {};
    };
    auto prepared = prepare();
    if (prepared) continue;
    Error error =
        caused_by("prepare " + domain.requests[i].selector + " for", domain.name, std::move(prepared).error());
    if (i == 0) {
      if (!error.host) error.host = HostOutcome::kUntouched;
      return fail(std::move(error));
    }
    auto released = release_domain(ledger, domain, "failed: " + error.tried);
    return fail(after_undo(std::move(error), std::move(released)));
  }
  return {};
}

Result<void> Broker::hook_started(const Domain& domain) {
  if (domain.requests.empty()) return {};
  SLICEBROKER_TRY(auto ledger, open_ledger());
  SLICEBROKER_TRY(const auto view, ledger.read());
  for (const auto& lease : view.leases) {
    if (!of_domain(lease, domain) || lease.state != LeaseState::kPrepared) continue;
    SLICEBROKER_CHECK(ledger.set_attached(lease.generation, "", find_vmm(environment_.host, lease.attachment)));
  }
  return {};
}

Result<void> Broker::hook_release(const Domain& domain) {
  // Also what was attached to a running domain without a request ends with it; without a ledger there is nothing.
  auto ledger = open_ledger_for_reading();
  // A ledger in trouble is no affair of a domain that never asked us for anything; reconcile will find what it held.
  if (!ledger && domain.requests.empty()) return {};
  if (!ledger) return fail(std::move(ledger).error());
  return release_domain(*ledger, domain, "its domain ended");
}

Result<void> Broker::release_domain(Ledger& ledger, const Domain& domain, const std::string& note) {
  SLICEBROKER_TRY(auto view, ledger.read());
  std::optional<Error> first;
  for (auto& lease : view.leases) {
    // An attach that is under way to a domain that just ended fails by itself and cleans up after itself.
    if (!of_domain(lease, domain) || in_live_hands(lease)) continue;
    auto released = release_now(ledger, lease, note, environment_.detach_deadline);
    if (!released && !first) first = std::move(released).error();
  }
  if (first) return fail(*std::move(first));
  return {};
}

}  // namespace slicebroker::broker
