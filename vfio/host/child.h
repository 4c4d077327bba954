// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <initializer_list>
#include <string_view>

namespace slicebroker::vfio {

// What a child is called in /proc/<pid>/comm, so that recovery finds one that is still waiting in the kernel after its
// broker died.
constexpr std::string_view kWriterName = "slicebroker-wr";
// The same of one that only reads: nothing has to wait for its end.
constexpr std::string_view kReaderName = "slicebroker-rd";

struct ChildOutcome {
  enum class State { kDone, kSilent };
  State state = State::kDone;
  int os_errno = 0;  // what the work returned; EIO where the child ended in another way
  pid_t pid = -1;    // kSilent: the child that was left behind
};

// Runs `work` in a forked child and waits for it until the deadline. The work returns 0 or an errno below 256 and
// makes only async-signal-safe calls, since other threads may hold locks at the fork. A silent child gets SIGKILL,
// which takes effect when the kernel lets go of it. The child ends with the thread that called, so that a caller that
// is killed leaves no late write behind: call from a thread that lives as long as its process. It keeps no file of its
// caller's open but `kept`: whoever waits for the end of our output, or for a lock that we inherited, need not wait for
// a silent child.
ChildOutcome run_in_child(const std::function<int()>& work, std::chrono::milliseconds deadline,
                          std::initializer_list<int> kept = {});

// The parts of it. In the child, just forked: ends with `parent`, is called `name`, keeps only these files.
void become_child(pid_t parent, std::string_view name, std::initializer_list<int> kept);
// Ends the child at once.
[[noreturn]] void end_child(int status);
// In the parent: whether the process ended before the deadline.
bool ended_within(pid_t pid, std::chrono::milliseconds deadline);

}  // namespace slicebroker::vfio
