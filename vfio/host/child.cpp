// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "vfio/base/unique_fd.h"

namespace slicebroker::vfio {
namespace {

using Clock = std::chrono::steady_clock;

// Whether the process ended before the deadline. Debian's 6.1 and later all have pidfds.
bool ended_within(pid_t pid, std::chrono::milliseconds deadline) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const auto end = Clock::now() + deadline;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd waiting{pidfd.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Ends the child at once. Not _exit(): ThreadSanitizer would put a verdict of its own on the threads that the fork left
// behind in place of the status.
[[noreturn]] void leave(int status) {
  while (true) syscall(SYS_exit_group, status);
}

}  // namespace

ChildOutcome run_in_child(const std::function<int()>& work, std::chrono::milliseconds deadline) {
  ChildOutcome outcome;
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    outcome.os_errno = errno;
    return outcome;
  }
  if (pid == 0) {
    // A child that outlived its broker would write after recovery has looked.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) leave(ECANCELED);
    ::prctl(PR_SET_NAME, kWriterName.data());
    leave(work());
  }

  if (!ended_within(pid, deadline)) {
    ::kill(pid, SIGKILL);
    outcome.state = ChildOutcome::State::kSilent;
    outcome.pid = pid;
    return outcome;
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  outcome.os_errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  return outcome;
}

}  // namespace slicebroker::vfio
