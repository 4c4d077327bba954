// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/service/announcement.h"
#include "broker/service/attached_nodes.h"
#include "broker/service/broker.h"
#include "vfio/base/text.h"
#include "vfio/host/ask_child.h"
#include "vfio/host/holders.h"
#include "vfio/host/wait.h"
#include "vfio/pci/bind_driver.h"

namespace slicebroker::broker {
namespace {

bool same_vm(const Lease& lease, const hypervisors::VmReference& vm) {
  if (lease.vm.kind != vm.kind) return false;
  const auto uuid = Uuid::parse(vm.target);
  return lease.vm.target == vm.target || (uuid && lease.vm_uuid == uuid);
}

bool names_device(const Lease& lease, const std::string& text) {
  if (text == std::to_string(lease.generation) || text == lease.selector) return true;
  const auto selector = parse_selector(text);
  if (selector && to_string(*selector) == lease.selector) return true;
  const auto address = PciAddress::parse(text);
  const auto uuid = Uuid::parse(text);
  return (address && lease.attachment.function == address) || (uuid && lease.attachment.mdev == uuid);
}

// kHeld, naming the holder, while a process has open what was attached.
Result<void> check_let_go(const vfio::Host& host, const Lease& lease) {
  return vfio::answer_of<void>(host, vfio::Purpose::kLook, [&](const vfio::Host& watched) -> Result<void> {
    SLICEBROKER_TRY(const auto nodes, attached_nodes(watched, lease.attachment));
    return vfio::check_no_holder(watched.root, nodes, lease.selector);
  });
}

// After a VMM has failed to give it back. One that can't be asked still holds what it holds; where nothing is open, it
// has let go. One that can be asked may also keep a companion, which nobody has open.
bool keeps(hypervisors::Hypervisor& hypervisor, const vfio::Host& host, const Lease& lease) {
  if (const auto has = hypervisor.has(lease.attachment)) return *has;
  return !check_let_go(host, lease);
}

// A failure before anything was touched.
template <class T>
Result<T> untouched(Result<T> result) {
  if (!result && !result.error().host) result.error().host = HostOutcome::kUntouched;
  return result;
}

// Of several leases: as of each, where they agree.
HostOutcome outcome_of(const std::vector<Release>& releases, const std::vector<Error>& failures) {
  const bool given_back = std::any_of(releases.begin(), releases.end(), [](const auto& r) { return !r.had_ended; });
  const auto first = given_back ? HostOutcome::kRestored : failures.front().host.value_or(HostOutcome::kUntouched);
  const bool agree = std::all_of(failures.begin(), failures.end(), [&](const auto& e) { return e.host == first; });
  return agree ? first : HostOutcome::kChanged;
}

Error under_way(const Lease& lease) {
  Error error;
  error.code = ErrorCode::kHeld;
  error.reason = "LEASE_UNDER_WAY";
  error.tried = "detach";
  error.subject = lease.selector + " from " + lease.owner();
  error.fact = "slicebroker process " + std::to_string(lease.broker.pid) + " is " + std::string(name(lease.state)) +
               " it right now";
  error.hint = "wait until it is done";
  error.host = HostOutcome::kUntouched;
  return error;
}

}  // namespace

Result<std::vector<Lease>> Broker::find_leases(const hypervisors::VmReference& vm, const std::string& device) const {
  SLICEBROKER_TRY(auto all, untouched(leases()));
  std::erase_if(all, [&](const Lease& lease) {
    return !same_vm(lease, vm) || (!device.empty() && !names_device(lease, device));
  });
  if (!all.empty()) return all;
  if (const auto number = parse_number<std::uint32_t>(device)) {
    SLICEBROKER_TRY(auto ended, untouched(find_lease(*number)));
    if (ended && ended->state == LeaseState::kReleased && same_vm(*ended, vm)) return std::vector{*std::move(ended)};
  }
  Error error;
  error.code = ErrorCode::kNotFound;
  error.reason = "NO_LEASE";
  error.tried = "find the lease";
  error.subject = vm.to_string() + (device.empty() ? "" : " " + device);
  error.fact = "the VM holds no such lease";
  error.hint = "see: slicebroker list leases";
  error.host = HostOutcome::kUntouched;
  return fail(std::move(error));
}

Result<void> Broker::give_back(Ledger& ledger, Lease& lease, const std::string& note,
                               std::chrono::milliseconds patience) {
  // The VMM's "gone" comes a moment before its last file descriptor closes.
  const auto let_go = [&] { return check_let_go(environment_.host, lease); };
  constexpr std::chrono::milliseconds kPause{50};  // each look goes through all of /proc
  Announcement announcement(environment_.waits);
  Result<void> held;
  const auto is_free = [&] {
    held = let_go();
    if (!held) announcement.still_held(held.error());
    return held.has_value() || held.error().code == ErrorCode::kNoAnswer;
  };
  vfio::wait_until(std::max(patience, environment_.wait), is_free, kPause);
  if (!held) {
    held.error().host = HostOutcome::kUntouched;
    return held;
  }
  // Once the steps are undone, drivers of the host have the functions.
  if (auto cleaned = changed_unless_told(clean(ledger, lease)); !cleaned) {
    return fail(after_silence(ledger, lease, std::move(cleaned).error()));
  }
  auto undone = undo_steps(lease, ledger, environment_.host, environment_.listener);
  if (!undone) return fail(after_silence(ledger, lease, std::move(undone).error()));
  if (auto ended = end_lease(ledger, lease, note); !ended) {
    ended.error().host = HostOutcome::kRestored;
    return ended;
  }
  lease.state = LeaseState::kReleased;
  return {};
}

Result<void> Broker::detach_one(Ledger& ledger, Lease& lease) {
  if (in_live_hands(lease)) return fail(under_way(lease));
  if (earlier_boot(lease)) return release_now(ledger, lease, "", {});
  SLICEBROKER_CHECK(check_not_written(ledger, lease));
  SLICEBROKER_TRY(const auto self, this_process());
  SLICEBROKER_CHECK(ledger.claim(lease, self, "detach"));
  const auto hypervisor = environment_.connect(lease.vm);
  auto gone = hypervisor->detach(lease.attachment, environment_.detach_deadline);
  if (!gone && (gone.error().code == ErrorCode::kNoAnswer || keeps(*hypervisor, environment_.host, lease))) {
    SLICEBROKER_CHECK(
        ledger.move(lease.generation, LeaseState::kReleasing, LeaseState::kAttached, gone.error().reason));
    Error error = caused_by("detach", lease.owner(), std::move(gone).error());
    error.host = HostOutcome::kUntouched;
    return fail(std::move(error));
  }
  return give_back(ledger, lease, "detached", environment_.detach_deadline);
}

// A release by a generation that has ended is nobody's: the device may be another's by now.
Result<Release> Broker::detach_or_note_end(Ledger& ledger, Lease& lease) {
  if (lease.state == LeaseState::kReleased) return Release{lease, true};
  auto done = detach_one(ledger, lease);
  if (done) return Release{lease, false};
  if (done.error().reason == "STALE_LEASE") {
    const auto now = ledger.find(lease.generation);
    if (now && *now && (*now)->state == LeaseState::kReleased) return Release{**now, true};
  }
  return fail(std::move(done).error());
}

Result<std::vector<Release>> Broker::detach(std::vector<Lease> leases) {
  SLICEBROKER_TRY(auto ledger, untouched(open_ledger()));
  std::vector<Release> releases;
  std::vector<Error> failures;
  for (auto& lease : leases) {
    auto done = detach_or_note_end(ledger, lease);
    if (done) {
      releases.push_back(*std::move(done));
      continue;
    }
    if (!done.error().host) done.error().host = HostOutcome::kUntouched;
    failures.push_back(std::move(done).error());
  }
  if (failures.empty()) return releases;
  if (leases.size() == 1) return fail(std::move(failures.front()));
  Error error;
  error.code = failures.front().code;
  if (failures.size() == 1) error.reason = failures.front().reason;
  error.tried = "detach";
  error.subject = leases.front().owner();
  error.fact = std::to_string(failures.size()) + " of " + std::to_string(leases.size()) + " devices stay";
  error.host = outcome_of(releases, failures);
  error.hint = failures.front().hint;
  if (error.hint.empty()) error.hint = "see: slicebroker list leases; then repeat";
  error.causes = std::move(failures);
  return fail(std::move(error));
}

}  // namespace slicebroker::broker
