// SPDX-License-Identifier: Apache-2.0
// Looking, and taking a lease: what attach and the hook share.
#include "broker/service/broker.h"

#include <unistd.h>

#include "broker/service/turn.h"
#include "hypervisors/libvirt/domain_claims.h"
#include "vfio/host/holders.h"

namespace slicebroker::broker {
namespace {

// Another broker's lease may begin or end between our look and our intent; then we look again.
constexpr int kMostLooks = 200;

// One look takes well below a second, also where devices are many.
constexpr std::chrono::milliseconds kTurnPatience{5'000};

bool look_again(const Error& error) {
  return error.reason == "LEDGER_MOVED_ON" || error.reason == "LEASED";
}

}  // namespace

Result<vfio::Inventory> Broker::inventory() const {
  SLICEBROKER_TRY(auto inventory, vfio::read_inventory(environment_.host));
  for (auto& claim : hypervisors::libvirt::list_domain_claims(environment_.host.root, inventory.claim_problems)) {
    inventory.claims.push_back(std::move(claim));
  }
  return inventory;
}

Result<Ledger> Broker::open_ledger() const {
  return Ledger::open(environment_.state_directory,
                      {.boot_id = vfio::read_boot_id(environment_.host.root).value_or("")});
}

Result<Ledger> Broker::open_ledger_for_reading() const {
  return Ledger::open_for_reading(environment_.state_directory,
                                  {.boot_id = vfio::read_boot_id(environment_.host.root).value_or("")});
}

Result<LedgerView> Broker::ledger_view() const {
  SLICEBROKER_TRY(const auto ledger, open_ledger_for_reading());
  return ledger.read();
}

Result<std::vector<Lease>> Broker::leases() const {
  SLICEBROKER_TRY(auto view, ledger_view());
  return std::move(view.leases);
}

Result<std::optional<Lease>> Broker::find_lease(std::int64_t generation) const {
  SLICEBROKER_TRY(const auto ledger, open_ledger_for_reading());
  return ledger.find(generation);
}

Request make_request(const Selector& selector, const Target& target, const RequestOptions& options,
                     const Policy& policy) {
  Request request;
  request.selector = selector;
  request.target = target;
  request.fallback = options.fallback.value_or(policy.default_fallback);
  request.isolation = options.isolation.value_or(policy.default_isolation);
  request.allowed_group_members = options.allowed_group_members;
  request.allow_nvswitch = options.allow_nvswitch;
  request.mdev_uuid = Uuid::random();
  return request;
}

Result<Resolution> Broker::explain(const Selector& selector, const Target& target,
                                   const RequestOptions& options) const {
  SLICEBROKER_TRY(const auto held, ledger_view());
  SLICEBROKER_TRY(const auto host, inventory());
  const auto& policy = environment_.policy;
  SLICEBROKER_TRY(auto resolution,
                  resolve(host, holds_of(held), make_request(selector, target, options, policy), policy));
  warn_of_quarantines(host, resolution.candidates);
  return resolution;
}

Result<Lease> Broker::draft_lease(const hypervisors::VmReference& vm, const Selector& selector) const {
  Lease draft;
  draft.vm = vm;
  draft.selector = to_string(selector);
  SLICEBROKER_TRY(draft.boot_id, vfio::read_boot_id(environment_.host.root));
  SLICEBROKER_TRY(draft.broker, this_process());
  return draft;
}

Result<vfio::ProcessIdentity> Broker::this_process() const {
  // Read below the given root, so that a fixture's /proc decides who is alive; a fixture without us is no host of ours.
  if (const auto self = vfio::find_process(environment_.host.root, ::getpid())) return *self;
  return vfio::ProcessIdentity{::getpid(), 0};
}

bool Broker::in_live_hands(const Lease& lease) const {
  if (lease.state == LeaseState::kAttached || lease.broker.pid == ::getpid()) return false;
  return vfio::find_process(environment_.host.root, lease.broker.pid) == lease.broker;
}

bool Broker::earlier_boot(const Lease& lease) const {
  const auto boot_id = vfio::read_boot_id(environment_.host.root);
  return boot_id && *boot_id != lease.boot_id;
}

Result<Lease> Broker::begin_lease(Ledger& ledger, const Request& request, const Lease& draft) {
  const auto turn = Turn::wait(environment_.state_directory, kTurnPatience);
  for (int look = 1;; ++look) {
    SLICEBROKER_TRY(const auto view, ledger.read());
    SLICEBROKER_TRY(const auto host, inventory());
    SLICEBROKER_TRY(const auto resolution, resolve(host, holds_of(view), request, environment_.policy));
    const auto* granted = resolution.granted();
    if (granted == nullptr) return fail(refusal(resolution));
    Lease lease = draft;
    lease.slice = granted->slice;
    lease.devices = granted->plan.devices;
    lease.attachment = granted->plan.attachment;
    lease.attachment.id = draft.attachment.id;
    for (const auto& [function, demand] : demanded_resets(environment_.policy, host, lease.attachment)) {
      lease.resets.push_back({function, demand});
    }
    SLICEBROKER_TRY(lease.steps, observe_steps(granted->plan.steps, environment_.host));
    auto begun = ledger.begin(std::move(lease), view.revision);
    if (begun || !look_again(begun.error()) || look == kMostLooks) return begun;
  }
}

Result<Lease> Broker::acquire(Ledger& ledger, const Request& request, const Lease& draft) {
  SLICEBROKER_TRY(auto lease, begin_lease(ledger, request, draft));
  SLICEBROKER_CHECK(prepare(ledger, lease));
  return lease;
}

Result<void> Broker::prepare(Ledger& ledger, Lease& lease) {
  auto ran = run_steps(lease, ledger, environment_.host, environment_.listener);
  if (ran) {
    SLICEBROKER_CHECK(changed_unless_told(ledger.set_prepared(lease)));
    lease.state = LeaseState::kPrepared;
    return {};
  }
  ran.error() = after_silence(ledger, lease, std::move(ran).error());
  // A host that could not be restored keeps its lease: nobody else gets the device until reconcile has settled it.
  if (ran.error().host == HostOutcome::kRestored) {
    if (auto ended = ledger.end(lease.generation, "failed: " + ran.error().tried); !ended) {
      ran.error().causes.push_back(std::move(ended).error());
    }
  }
  return ran;
}

Result<void> changed_unless_told(Result<void> result) {
  if (!result && !result.error().host) {
    result.error().host = HostOutcome::kChanged;
    if (result.error().hint.empty()) result.error().hint = "run: slicebroker reconcile";
  }
  return result;
}

}  // namespace slicebroker::broker
