// SPDX-License-Identifier: Apache-2.0
#include "broker/transaction/transaction.h"

#include "vfio/host/ask_child.h"

namespace slicebroker::broker {
namespace {

Result<void> mark(Lease& lease, std::size_t position, StepState state, Ledger& ledger, const StepListener& listener) {
  SLICEBROKER_CHECK(ledger.set_step_state(lease.generation, position, state));
  lease.steps[position].state = state;
  if (listener) listener({lease.generation, describe(lease.steps[position].step), state});
  return {};
}

Result<void> run_step(Lease& lease, std::size_t position, Ledger& ledger, const vfio::Host& host,
                      const StepListener& listener) {
  SLICEBROKER_CHECK(mark(lease, position, StepState::kStarted, ledger, listener));
  SLICEBROKER_CHECK(vfio::apply(lease.steps[position].step, host));
  return mark(lease, position, StepState::kDone, ledger, listener);
}

bool to_be_undone(const RecordedStep& step) {
  return !step.already_so && (step.state == StepState::kStarted || step.state == StepState::kDone);
}

// Undoes the first `count` steps.
Result<void> undo_first(std::size_t count, Lease& lease, Ledger& ledger, const vfio::Host& host,
                        const StepListener& listener);

}  // namespace

Result<std::vector<RecordedStep>> observe_steps(const std::vector<vfio::Step>& steps, const vfio::Host& host) {
  std::vector<RecordedStep> recorded;
  for (const auto& step : steps) {
    auto seen = vfio::observe(step, host);
    if (!seen) return fail(caused_by("look before: " + describe(step), "", std::move(seen).error()));
    recorded.push_back({step, std::move(seen->before), seen->already_so, StepState::kPlanned});
  }
  return recorded;
}

Result<void> run_steps(Lease& lease, Ledger& ledger, const vfio::Host& host, const StepListener& listener) {
  for (std::size_t i = 0; i < lease.steps.size(); ++i) {
    if (lease.steps[i].already_so) continue;
    auto done = run_step(lease, i, ledger, host, listener);
    if (done) continue;
    Error error = caused_by(describe(lease.steps[i].step), "", std::move(done).error());
    // A step that is silent may still happen: nothing can be undone of it before that has ended.
    const std::size_t count = vfio::find_silence(error) != nullptr ? i : lease.steps.size();
    return fail(after_undo(std::move(error), undo_first(count, lease, ledger, host, listener)));
  }
  return {};
}

Result<void> undo_steps(Lease& lease, Ledger& ledger, const vfio::Host& host, const StepListener& listener) {
  return undo_first(lease.steps.size(), lease, ledger, host, listener);
}

namespace {

Result<void> undo_first(std::size_t count, Lease& lease, Ledger& ledger, const vfio::Host& host,
                        const StepListener& listener) {
  std::vector<Error> failures;
  for (std::size_t i = count; i-- > 0;) {
    if (!to_be_undone(lease.steps[i])) continue;
    auto undone = vfio::undo(lease.steps[i].step, host, lease.steps[i].before);
    if (undone) undone = mark(lease, i, StepState::kUndone, ledger, listener);
    if (!undone) failures.push_back(caused_by("undo: " + describe(lease.steps[i].step), "", std::move(undone).error()));
  }
  if (failures.empty()) return {};
  Error error;
  error.code = failures.front().code == ErrorCode::kNoAnswer ? ErrorCode::kNoAnswer : ErrorCode::kHostChanged;
  error.reason = failures.front().reason;
  error.tried = "restore the host";
  error.subject = "lease " + std::to_string(lease.generation);
  error.hint = "end what holds the device and run: slicebroker reconcile";
  error.host = HostOutcome::kChanged;
  error.causes = std::move(failures);
  return fail(std::move(error));
}

}  // namespace

Error after_undo(Error error, Result<void> undone) {
  // A write that the kernel has not answered may still happen, whatever was undone meanwhile.
  const bool restored = undone && vfio::find_silence(error) == nullptr && error.host != HostOutcome::kChanged;
  error.host = restored ? HostOutcome::kRestored : HostOutcome::kChanged;
  if (!restored && undone && error.hint.empty()) error.hint = "run: slicebroker reconcile";
  if (undone) return error;
  if (error.code != ErrorCode::kNoAnswer) error.code = ErrorCode::kHostChanged;
  if (error.hint.empty()) error.hint = undone.error().hint;
  error.causes.push_back(std::move(undone).error());
  return error;
}

}  // namespace slicebroker::broker
