// SPDX-License-Identifier: Apache-2.0
// Between a guest and whoever comes next: what it had is reset while it is still on the VFIO driver, before the driver
// of the host finds in it what a guest left. What can't be reset as the policy demands goes to quarantine; the lease
// ends all the same, for the host is restored and nobody else gets the device.
#include <algorithm>
#include <iterator>

#include "broker/service/broker.h"
#include "vfio/pci/reset.h"

namespace slicebroker::broker {
namespace {

constexpr std::string_view kFailedCode = "RESET_FAILED";
constexpr std::string_view kImpossibleCode = "RESET_NOT_POSSIBLE";

bool is_settled(const DeviceReset& reset) {
  return reset.state == ResetState::kDone || reset.state == ResetState::kFailed;
}

// Not the device's answer: the lease stays, and whoever settles it later begins the reset anew.
bool must_wait(const Error& error) {
  return error.code == ErrorCode::kNoAnswer || error.code == ErrorCode::kHostChanged;
}

std::string text_of(const Error& error) {
  std::string text = error.fact.empty() ? error.tried : error.fact;
  if (error.os_errno != 0) text += " (" + errno_name(error.os_errno) + ")";
  return text;
}

Error both(const PciAddress& function, const Error& bus, const Error& own) {
  Error error = own;
  const bool one_tried = bus.reason != kImpossibleCode || own.reason != kImpossibleCode;
  error.reason = one_tried ? kFailedCode : kImpossibleCode;
  error.subject = function.to_string();
  error.os_errno = 0;
  error.fact = "function: " + text_of(own) + "; bus: " + text_of(bus);
  return error;
}

// The strongest that the demand allows and that can be done.
Result<vfio::ResetDone> run_ladder(const vfio::Host& host, const DeviceReset& reset,
                                   const std::vector<PciAddress>& own) {
  const bool may_be_bus = reset.demand == ResetDemand::kBus || reset.demand == ResetDemand::kAny;
  if (!may_be_bus) return vfio::reset_function(host, reset.function);
  auto by_bus = vfio::reset_bus(host, reset.function, reset.methods, own);
  if (by_bus || reset.demand == ResetDemand::kBus || must_wait(by_bus.error())) return by_bus;
  auto alone = vfio::reset_function(host, reset.function);
  if (alone || must_wait(alone.error())) return alone;
  return fail(both(reset.function, by_bus.error(), alone.error()));
}

// Those that may be reset: another one on the same bus keeps the bus from it. Of a lease's resets, or demanded ones.
std::vector<PciAddress> own_functions(const auto& resets) {
  std::vector<PciAddress> own;
  for (const auto& reset : resets) {
    if (reset.demand != ResetDemand::kNone) own.push_back(reset.function);
  }
  return own;
}

// Why the demand can't be met; nullopt: it can, or nothing depends on it.
std::optional<std::string> unmet(ResetDemand demand, const vfio::ResetOutlook& outlook) {
  switch (demand) {
    case ResetDemand::kNone:
    case ResetDemand::kIfAble: return std::nullopt;
    case ResetDemand::kFunction: return outlook.no_function_reset;
    case ResetDemand::kBus: return outlook.no_bus_reset;
    case ResetDemand::kAny: break;
  }
  if (!outlook.no_function_reset || !outlook.no_bus_reset) return std::nullopt;
  return *outlook.no_function_reset + "; " + *outlook.no_bus_reset;
}

Result<void> settle_reset(Ledger& ledger, const Lease& lease, DeviceReset& reset, ResetState state,
                          std::string outcome) {
  reset.state = state;
  reset.outcome = std::move(outcome);
  return ledger.set_reset(lease.generation, reset);
}

// They go before their GPU is handed over.
std::vector<PciAddress> vfs_of(const vfio::Inventory& host, const std::vector<PciAddress>& functions) {
  std::vector<PciAddress> vfs;
  for (const auto& address : functions) {
    const auto* function = host.find_function(address);
    if (function != nullptr) std::ranges::copy(function->virtual_functions, std::back_inserter(vfs));
  }
  return vfs;
}

// What is to be said of a function beforehand; empty: nothing.
std::string quarantine_text(ResetDemand demand, const Result<vfio::ResetOutlook>& outlook) {
  if (!outlook)
    return " may be quarantined when it is given back: its resets can't be told: " + text_of(outlook.error());
  const auto why = unmet(demand, *outlook);
  if (!why) return {};
  return " will be quarantined when it is given back, since it can't be reset as [hygiene] demands: " + *why;
}

LeasedDevice device_of(const Lease& lease, const PciAddress& function) {
  const auto key = device_key(function);
  for (const auto& device : lease.devices) {
    if (device.device == key) return device;
  }
  return {key, lease.devices.empty() ? function : lease.devices.front().gpu};
}

// A quarantine for this lease's silence ends with the lease; this one does not.
Result<void> quarantine_for_good(Ledger& ledger, const Lease& lease, const DeviceReset& reset, const Error& error) {
  const auto device = device_of(lease, reset.function);
  SLICEBROKER_TRY(const auto view, ledger.read());
  for (const auto& quarantine : view.quarantines) {
    const bool passing = quarantine.device.device == device.device && quarantine.generation == lease.generation;
    if (passing) SLICEBROKER_CHECK(ledger.clear_quarantine(device.device));
  }
  const std::string detail = "lease " + std::to_string(lease.generation) + " of " + lease.owner() +
                             " has ended and the device was not reset: " + text_of(error);
  SLICEBROKER_CHECK(ledger.add_quarantine({device, reset.code, detail, "", "slicebroker"}));
  return {};
}

}  // namespace

void Broker::warn_of_quarantines(const vfio::Inventory& host, std::vector<Candidate>& candidates) const {
  for (auto& candidate : candidates) {
    if (!candidate.accepted()) continue;
    const auto demanded = demanded_resets(environment_.policy, host, candidate.plan.attachment);
    const auto own = own_functions(demanded);
    const auto gone = vfs_of(host, own);
    for (const auto& [function, demand] : demanded) {
      const auto text = quarantine_text(demand, vfio::foresee_reset(environment_.host, function, own, gone));
      if (!text.empty()) {
        candidate.note += std::string(candidate.note.empty() ? "" : "; ") + function.to_string() + text;
      }
    }
  }
}

Result<void> Broker::clean(Ledger& ledger, Lease& lease) const {
  const auto own = own_functions(lease.resets);
  for (auto& reset : lease.resets) {
    if (is_settled(reset)) continue;
    if (reset.demand == ResetDemand::kNone) {
      SLICEBROKER_CHECK(settle_reset(ledger, lease, reset, ResetState::kDone, "none: by policy"));
      continue;
    }
    SLICEBROKER_CHECK(begin_reset(ledger, lease, reset));
    auto done = run_ladder(environment_.host, reset, own);
    if (!done) {
      if (must_wait(done.error())) return fail(std::move(done).error());
      SLICEBROKER_CHECK(note_no_reset(ledger, lease, reset, done.error()));
      continue;
    }
    for (auto& reached : lease.resets) {
      const auto& all = done->functions;
      if (is_settled(reached) || std::find(all.begin(), all.end(), reached.function) == all.end()) continue;
      SLICEBROKER_CHECK(settle_reset(ledger, lease, reached, ResetState::kDone, done->how));
    }
  }
  return {};
}

// What its methods were is read once: an earlier attempt may have been cut off with others in their place.
Result<void> Broker::begin_reset(Ledger& ledger, const Lease& lease, DeviceReset& reset) const {
  if (reset.state == ResetState::kPlanned) {
    auto methods = vfio::read_reset_methods(environment_.host, reset.function);
    if (!methods) {
      // Without them nothing can be put back; its steps are still to be undone.
      if (!must_wait(methods.error())) methods.error().code = ErrorCode::kHostChanged;
      return fail(std::move(methods).error());
    }
    reset.methods = *std::move(methods);
  }
  if (environment_.listener) {
    environment_.listener({lease.generation, "reset " + reset.function.to_string(), StepState::kStarted});
  }
  reset.state = ResetState::kStarted;
  return ledger.set_reset(lease.generation, reset);
}

Result<void> Broker::note_no_reset(Ledger& ledger, const Lease& lease, DeviceReset& reset, const Error& error) const {
  const bool impossible = error.reason == kImpossibleCode;
  if (impossible && reset.demand == ResetDemand::kIfAble) {
    return settle_reset(ledger, lease, reset, ResetState::kDone, "none: " + text_of(error));
  }
  reset.code = impossible ? kImpossibleCode : kFailedCode;
  SLICEBROKER_CHECK(quarantine_for_good(ledger, lease, reset, error));
  return settle_reset(ledger, lease, reset, ResetState::kFailed, text_of(error));
}

Result<void> Broker::end_void(Ledger& ledger, Lease& lease, const std::string& note) const {
  for (auto& reset : lease.resets) {
    if (!is_settled(reset)) SLICEBROKER_CHECK(settle_reset(ledger, lease, reset, ResetState::kDone, "reboot"));
  }
  return end_lease(ledger, lease, note);
}

}  // namespace slicebroker::broker
