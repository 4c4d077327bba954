// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string_view>

namespace slicebroker::vfio {

// What a child is called in /proc/<pid>/comm, so that recovery finds one that is still waiting in the kernel after its
// broker died.
constexpr std::string_view kWriterName = "slicebroker-wr";

struct ChildOutcome {
  enum class State { kDone, kSilent };
  State state = State::kDone;
  int os_errno = 0;  // what the work returned; EIO where the child ended in another way
  pid_t pid = -1;    // kSilent: the child that was left behind
};

// Runs `work` in a forked child and waits for it until the deadline. The work returns 0 or an errno below 256 and
// makes only async-signal-safe calls, since other threads may hold locks at the fork. A silent child gets SIGKILL,
// which takes effect when the kernel lets go of it. The child ends with
// the thread that called, so that a caller that is killed leaves no late write behind: call from a thread that lives as
// long as its process.
ChildOutcome run_in_child(const std::function<int()>& work, std::chrono::milliseconds deadline);

}  // namespace slicebroker::vfio
