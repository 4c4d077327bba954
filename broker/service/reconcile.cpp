// SPDX-License-Identifier: Apache-2.0
// Ledger, host and hypervisors side by side. The same code settles what a crash left behind, at the start of attach
// and in the verb reconcile.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "broker/service/broker.h"

namespace slicebroker::broker {
namespace {

constexpr std::string_view kRebooted = "the host was booted since, which undid it";

// For the last handle of a device that nobody works on any more.
constexpr std::chrono::milliseconds kSettlePatience{1'000};

// How long a prepared lease may wait for its guest: libvirt's hook runs before QEMU does.
constexpr std::chrono::seconds kStartGrace{120};

// What is to be done about a lease.
enum class Verdict {
  kFine,
  kEnd,       // nothing of it is left on the host
  kGiveBack,  // undo its steps and end it
  kAttached,  // the guest has the device: record that
  kReport,    // only a person can tell
};

struct Judgement {
  Verdict verdict = Verdict::kFine;
  std::string drift;
};

std::chrono::seconds age_of(const Lease& lease) {
  std::tm created{};
  if (::strptime(lease.created_at.c_str(), "%Y-%m-%dT%H:%M:%SZ", &created) == nullptr) return kStartGrace;
  return std::chrono::seconds(::time(nullptr) - ::timegm(&created));
}

// The first step whose effect is no longer there.
std::optional<std::string> lost_step(const Lease& lease, const vfio::Host& host) {
  for (const auto& step : lease.steps) {
    if (step.already_so) continue;
    const auto now = observe(step.step, host);
    // NVML does not list a GPU that a guest has, so its MIG layout can't be looked at.
    const bool by_nvml = std::holds_alternative<vfio::DestroyGpuInstances>(step.step) ||
                         std::holds_alternative<vfio::DisableMig>(step.step);
    if (!now && by_nvml) continue;
    if (!now || !now->already_so) return describe(step.step);
  }
  return std::nullopt;
}

Judgement judge_prepared(const Lease& lease, hypervisors::Hypervisor& hypervisor, bool guest_has) {
  if (guest_has) return {Verdict::kAttached, "its guest has the device, and the ledger did not know"};
  const auto machine = hypervisor.find_vm();
  const bool runs = machine && machine->running;
  if (!runs && age_of(lease) < kStartGrace) return {};  // its guest may be about to start
  return {Verdict::kGiveBack, "it was prepared and its guest never got the device"};
}

Judgement judge_attached(const Lease& lease, const vfio::Host& host, bool guest_has) {
  if (!guest_has) return {Verdict::kGiveBack, "its guest no longer has the device"};
  if (const auto step = lost_step(lease, host)) return {Verdict::kReport, "the host is no longer so: " + *step};
  return {};
}

Result<Judgement> judge(const Lease& lease, const Environment& environment) {
  if (lease.state == LeaseState::kPreparing) return Judgement{Verdict::kGiveBack, "its broker died while preparing it"};
  const auto hypervisor = environment.connect(lease.vm);
  SLICEBROKER_TRY(const bool guest_has, hypervisor->has(lease.attachment));
  if (lease.state == LeaseState::kPrepared) return judge_prepared(lease, *hypervisor, guest_has);
  if (lease.state == LeaseState::kAttached) return judge_attached(lease, environment.host, guest_has);
  return guest_has ? Judgement{Verdict::kAttached, "its release was begun and its guest still has the device"}
                   : Judgement{Verdict::kGiveBack, "its broker died while releasing it"};
}

// A step was begun and its end was not recorded, or its undo may have been.
bool may_be_written(const Lease& lease) {
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

std::string action_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine: return "";
    case Verdict::kEnd: return "end the lease";
    case Verdict::kGiveBack: return "restore the host and end the lease";
    case Verdict::kAttached: return "record it as attached";
    case Verdict::kReport: return "look, then detach it";
  }
  return "";
}

// What is still quarantined because of a lease that is settled.
Result<void> say_quarantines(const Ledger& ledger, Finding& finding) {
  SLICEBROKER_TRY(const auto view, ledger.read());
  for (const auto& quarantine : view.quarantines) {
    if (quarantine.generation != finding.generation) continue;
    finding.action += "; " + quarantine.device.device + " stays quarantined: it is not as before the lease";
  }
  return {};
}

}  // namespace

Result<void> Broker::release_now(Ledger& ledger, Lease& lease, const std::string& note,
                                 std::chrono::milliseconds patience) {
  if (earlier_boot(lease)) {
    SLICEBROKER_CHECK(ledger.end(lease.generation, std::string(kRebooted)));
    return lift_quarantines(ledger, lease);
  }
  SLICEBROKER_TRY(const auto self, this_process());
  SLICEBROKER_CHECK(ledger.claim(lease, self, note));
  return give_back(ledger, lease, note, patience);
}

Result<std::vector<Finding>> Broker::settle(Ledger& ledger, DryRun dry_run, const LeaseFilter& wanted) {
  const auto& root = environment_.host.root;
  SLICEBROKER_TRY(auto view, ledger.read());
  SLICEBROKER_TRY(const auto nobodys, list_nobodys_writers(root, view.leases));
  const auto act = [&](Lease& lease, const Judgement& judgement) -> Result<void> {
    const std::string note = "reconciled: " + judgement.drift;
    switch (judgement.verdict) {
      case Verdict::kEnd: SLICEBROKER_CHECK(ledger.end(lease.generation, note)); return lift_quarantines(ledger, lease);
      case Verdict::kGiveBack: return release_now(ledger, lease, note, kSettlePatience);
      case Verdict::kAttached:
        if (lease.state == LeaseState::kPrepared) return ledger.set_attached(lease.generation, "", lease.vmm, note);
        return ledger.move(lease.generation, lease.state, LeaseState::kAttached, note);
      default: return {};
    }
  };
  std::vector<Finding> findings;
  for (auto& lease : view.leases) {
    // A lease in the hands of a live broker is none of our business.
    if (!wanted(lease) || in_live_hands(lease)) continue;
    Finding finding{lease.generation, lease.owner(), lease.selector, "", "", false, std::nullopt};
    const auto late = find_late_write(root, lease, nobodys);
    const auto judgement = earlier_boot(lease) ? Result<Judgement>(Judgement{Verdict::kEnd, std::string(kRebooted)})
                           : late              ? Result<Judgement>(fail(still_written(*late)))
                                               : judge(lease, environment_);
    if (!judgement) {
      finding.drift = "it can't be judged now";
      finding.action = "look again when the cause is gone";
      finding.error = judgement.error();
    } else if (judgement->verdict == Verdict::kFine) {
      continue;
    } else {
      finding.drift = judgement->drift;
      finding.action = action_of(judgement->verdict);
      if (dry_run == DryRun::kNo && judgement->verdict != Verdict::kReport) {
        auto done = act(lease, *judgement);
        finding.resolved = done.has_value();
        if (!done) finding.error = std::move(done).error();
        if (done) SLICEBROKER_CHECK(say_quarantines(ledger, finding));
      }
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
