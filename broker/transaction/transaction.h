// SPDX-License-Identifier: Apache-2.0
// The one loop that runs steps and undoes them. Recovery after a crash calls the same undo.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "vfio/host/host.h"

namespace slicebroker::broker {

// One transition, for logs and progress: "create mdev ... : started".
struct StepEvent {
  std::int64_t generation = 0;
  std::string step;
  StepState state = StepState::kPlanned;
};
using StepListener = std::function<void(const StepEvent&)>;

// The steps with what the host is like now. Reads only.
Result<std::vector<RecordedStep>> observe_steps(const std::vector<vfio::Step>& steps, const vfio::Host& host);

// Runs the steps of a lease that is in the ledger. Each is recorded as started before its first write and as done
// after it was verified. When one fails, those that were started are undone again. The error then says what became of
// the host: restored, or changed with every undo that failed as a cause.
Result<void> run_steps(Lease& lease, Ledger& ledger, const vfio::Host& host, const StepListener& listener);

// Undoes what was started, newest first, from the recorded values, and goes on past errors. Doing it twice is fine.
// Errors: kNoAnswer where the kernel was silent, else kHostChanged, with every failure as a cause.
Result<void> undo_steps(Lease& lease, Ledger& ledger, const vfio::Host& host, const StepListener& listener);

// What an operation that failed leaves behind, once its undo was tried: restored; or changed, which is then the error's
// code too. After a silent kernel it is always changed: the write may still happen.
Error after_undo(Error error, Result<void> undone);

}  // namespace slicebroker::broker
