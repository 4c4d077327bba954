// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/child.h"

#include <fcntl.h>
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

// Async-signal-safe.
void close_all_but(std::initializer_list<int> kept) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; ++fd) ::dup2(null, fd);
  unsigned first = STDERR_FILENO + 1;
  while (true) {
    unsigned next = ~0U;  // the lowest kept one from `first` on
    for (const int fd : kept) {
      const auto number = static_cast<unsigned>(fd);
      if (fd >= 0 && number >= first) next = std::min(next, number);
    }
    if (next == ~0U) break;
    if (next > first) syscall(SYS_close_range, first, next - 1, 0U);
    first = next + 1;
  }
  syscall(SYS_close_range, first, ~0U, 0U);
}

}  // namespace

// Debian's 6.1 and later all have pidfds.
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

// Not _exit(): ThreadSanitizer would put a verdict of its own on the threads that the fork left behind in place of the
// status.
void end_child(int status) {
  while (true) syscall(SYS_exit_group, status);
}

void become_child(pid_t parent, std::string_view name, std::initializer_list<int> kept) {
  // A child that outlived its broker would write after recovery has looked.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) end_child(ECANCELED);
  ::prctl(PR_SET_NAME, name.data());
  close_all_but(kept);
}

ChildOutcome run_in_child(const std::function<int()>& work, std::chrono::milliseconds deadline,
                          std::initializer_list<int> kept) {
  ChildOutcome outcome;
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    outcome.os_errno = errno;
    return outcome;
  }
  if (pid == 0) {
    become_child(parent, kWriterName, kept);
    end_child(work());
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
