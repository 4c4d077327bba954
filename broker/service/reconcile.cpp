// SPDX-License-Identifier: Apache-2.0
// Ledger, host and hypervisors side by side. The same code settles what a crash left behind, at the start of attach
// and in the verb reconcile.
#include <algorithm>
#include <chrono>

#include "broker/service/attached_nodes.h"
#include "broker/service/broker.h"
#include "broker/service/drift.h"

namespace slicebroker::broker {
namespace {

// For the last handle of a device that nobody works on any more.
constexpr std::chrono::milliseconds kSettlePatience{1'000};

// A step or reset was begun and its end was not recorded, or its undo may have been.
bool may_be_written(const Lease& lease) {
  const auto is_started = [](const DeviceReset& reset) { return reset.state == ResetState::kStarted; };
  if (std::any_of(lease.resets.begin(), lease.resets.end(), is_started)) return true;
  return std::any_of(lease.steps.begin(), lease.steps.end(), [&](const RecordedStep& step) {
    return step.state == StepState::kStarted ||
           (step.state == StepState::kDone && lease.state == LeaseState::kReleasing);
  });
}

bool waits(const vfio::HostRoot& root, const LateWrite& write) {
  const auto now = vfio::find_process(root, write.process.pid);
  return now && (write.process.start_time == 0 || now->start_time == write.process.start_time);
}

// The write that has to end before the lease can be settled: one of its own, or one of nobody knows whose, which a
// broker left behind that was killed.
std::optional<LateWrite> find_late_write(const vfio::HostRoot& root, const Lease& lease,
                                         const std::vector<vfio::ProcessIdentity>& nobodys) {
  for (const auto& write : lease.late_writes) {
    if (waits(root, write)) return write;
  }
  if (nobodys.empty() || !may_be_written(lease)) return std::nullopt;
  return LateWrite{nobodys.front(), "a write that may be this lease's"};
}

// Late writers that no lease has recorded.
Result<std::vector<vfio::ProcessIdentity>> list_nobodys_writers(const vfio::HostRoot& root,
                                                                const std::vector<Lease>& leases) {
  SLICEBROKER_TRY(auto writers, vfio::list_late_writers(root));
  std::erase_if(writers, [&](const vfio::ProcessIdentity& writer) {
    return std::any_of(leases.begin(), leases.end(), [&](const Lease& lease) {
      return std::any_of(lease.late_writes.begin(), lease.late_writes.end(),
                         [&](const LateWrite& write) { return write.process == writer; });
    });
  });
  return writers;
}

Error still_written(const LateWrite& write) {
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "WEDGED";
  error.tried = "settle";
  error.fact = "process " + std::to_string(write.process.pid) + " is still waiting in the kernel: " + write.what;
  error.hint = "end what holds the device; the write ends with it";
  return error;
}

// What is still quarantined because of a lease that is settled.
Result<void> say_quarantines(const Ledger& ledger, const Lease& lease, Finding& finding) {
  for (const auto& reset : lease.resets) {
    if (reset.state != ResetState::kFailed) continue;
    finding.action += "; " + reset.function.to_string() + " was not reset and is quarantined: " + reset.code;
  }
  SLICEBROKER_TRY(const auto view, ledger.read());
  for (const auto& quarantine : view.quarantines) {
    if (quarantine.generation != finding.generation) continue;
    finding.action += "; " + quarantine.device.device + " stays quarantined: it is not as before the lease";
  }
  return {};
}

Finding finding_of(const Lease& lease, const Result<Judgement>& judgement) {
  Finding finding;
  finding.generation = lease.generation;
  finding.owner = lease.owner();
  finding.device = lease.selector;
  if (judgement) {
    finding.code = judgement->drift->code;
    finding.drift =
        std::string(judgement->drift->meaning) + (judgement->detail.empty() ? "" : ": " + judgement->detail);
    finding.action = judgement->drift->action;
    return finding;
  }
  finding.code = "NOT_JUDGED";
  finding.drift = "it can't be judged now";
  finding.action = "look again when the cause is gone";
  finding.error = judgement.error();
  return finding;
}

}  // namespace

Result<void> Broker::check_not_written(const Ledger& ledger, const Lease& lease) const {
  const auto& root = environment_.host.root;
  if (lease.late_writes.empty() && !may_be_written(lease)) return {};
  SLICEBROKER_TRY(const auto view, ledger.read());
  SLICEBROKER_TRY(const auto nobodys, list_nobodys_writers(root, view.leases));
  const auto late = find_late_write(root, lease, nobodys);
  if (!late) return {};
  Error error = still_written(*late);
  error.host = HostOutcome::kUntouched;
  return fail(std::move(error));
}

Result<void> Broker::end_lease(Ledger& ledger, const Lease& lease, const std::string& note) const {
  SLICEBROKER_CHECK(lift_quarantines(ledger, lease));
  return ledger.end(lease.generation, note);
}

Result<void> Broker::record_attached(Ledger& ledger, Lease& lease, const std::string& note) const {
  if (lease.state == LeaseState::kPrepared) {
    return ledger.set_attached(lease.generation, "", find_vmm(environment_.host, lease.attachment), note);
  }
  // Another broker may have gone on with the release since we looked; then it is that one's.
  SLICEBROKER_TRY(const auto self, this_process());
  SLICEBROKER_CHECK(ledger.claim(lease, self, note));
  return ledger.move(lease.generation, lease.state, LeaseState::kAttached, note);
}

Result<void> Broker::remedy(Ledger& ledger, Lease& lease, Remedy remedy, const std::string& note) {
  switch (remedy) {
    case Remedy::kEnd: return end_void(ledger, lease, note);
    case Remedy::kGiveBack: return release_now(ledger, lease, note, kSettlePatience);
    case Remedy::kAttached: return record_attached(ledger, lease, note);
    case Remedy::kReport: break;
  }
  return {};
}

Result<void> Broker::release_now(Ledger& ledger, Lease& lease, const std::string& note,
                                 std::chrono::milliseconds patience) {
  if (earlier_boot(lease)) return end_void(ledger, lease, std::string(drifts::kRebooted.meaning));
  SLICEBROKER_CHECK(check_not_written(ledger, lease));
  SLICEBROKER_TRY(const auto self, this_process());
  SLICEBROKER_CHECK(ledger.claim(lease, self, note));
  return give_back(ledger, lease, note, patience);
}

Result<std::vector<Finding>> Broker::settle(Ledger& ledger, DryRun dry_run, const LeaseFilter& wanted) {
  const auto& root = environment_.host.root;
  SLICEBROKER_TRY(auto view, ledger.read());
  SLICEBROKER_TRY(const auto nobodys, list_nobodys_writers(root, view.leases));
  const bool any_attached = std::any_of(view.leases.begin(), view.leases.end(), [&](const Lease& lease) {
    return lease.state == LeaseState::kAttached && wanted(lease);
  });
  Surroundings surroundings;
  if (any_attached) {
    SLICEBROKER_TRY(surroundings, look_around(environment_));
  }
  std::vector<Finding> findings;
  for (auto& lease : view.leases) {
    // A lease in the hands of a live broker is none of our business.
    if (!wanted(lease) || in_live_hands(lease)) continue;
    const auto late = find_late_write(root, lease, nobodys);
    const auto judgement = earlier_boot(lease) ? Result<Judgement>(Judgement{&drifts::kRebooted, ""})
                           : late              ? Result<Judgement>(fail(still_written(*late)))
                                               : judge(lease, environment_, surroundings);
    if (judgement && judgement->drift == nullptr) continue;
    Finding finding = finding_of(lease, judgement);
    if (judgement && judgement->drift->remedy != Remedy::kReport && dry_run == DryRun::kNo) {
      auto done = remedy(ledger, lease, judgement->drift->remedy, "reconciled: " + finding.drift);
      finding.resolved = done.has_value();
      if (!done) finding.error = std::move(done).error();
      if (finding.resolved) SLICEBROKER_CHECK(say_quarantines(ledger, lease, finding));
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

Result<std::vector<Finding>> Broker::reconcile(DryRun dry_run) {
  const auto everything = [](const Lease&) { return true; };
  SLICEBROKER_TRY(auto ledger, dry_run == DryRun::kYes ? open_ledger_for_reading() : open_ledger());
  return settle(ledger, dry_run, everything);
}

Result<void> Broker::recover_abandoned(Ledger& ledger) {
  const auto open_intent = [this](const Lease& lease) {
    return lease.state != LeaseState::kAttached || earlier_boot(lease);
  };
  // What can't be settled stays leased and so out of reach; it need not keep others from other devices.
  SLICEBROKER_TRY([[maybe_unused]] const auto findings, settle(ledger, DryRun::kNo, open_intent));
  return {};
}

}  // namespace slicebroker::broker
