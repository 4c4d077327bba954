// SPDX-License-Identifier: Apache-2.0
// simhost MOUNTPOINT HOST [-- COMMAND...]: README.md says what it does.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "tests/simhost/simhost.h"
#include "vfio/base/unique_fd.h"

namespace {

using slicebroker::UniqueFd;
using slicebroker::simhost::SimHost;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int complain(const std::string& what, int status) {
  std::fprintf(stderr, "simhost: %s\n", what.c_str());
  return status;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A file, or the name of one of the hosts that come with simhost.
std::optional<std::string> read_host(const std::string& host) {
  auto description = read_file(host);
  return description ? description : read_file(std::string(SIMHOST_HOSTS) + "/" + host + ".host");
}

bool is_mounted(const std::string& root) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.starts_with("simhost " + root + " ")) return true;
  }
  return false;
}

// Until SIGTERM or SIGINT, or until somebody else unmounts it.
void wait_for_end(const SimHost& host, const sigset_t& signals) {
  const UniqueFd signal(::signalfd(-1, &signals, SFD_CLOEXEC));
  const UniqueFd mounts(::open("/proc/self/mounts", O_RDONLY | O_CLOEXEC));
  std::array<pollfd, 2> waiting{pollfd{signal.get(), POLLIN, 0}, pollfd{mounts.get(), POLLPRI, 0}};
  while (is_mounted(host.root())) {
    ::poll(waiting.data(), waiting.size(), -1);
    if ((waiting[0].revents & POLLIN) != 0) return;
  }
}

void set_environment(const SimHost& host) {
  ::setenv("SIMHOST", host.root().c_str(), 1);
  ::setenv("SLICEBROKER_ROOT", host.root().c_str(), 1);
  // A host without a library must not end up with this machine's.
  const auto nvml = host.nvml().empty() ? host.root() + "/none" : host.nvml();
  ::setenv("SLICEBROKER_NVML", nvml.c_str(), 1);
}

// In a fork, whose host may have been locked by a thread that is not here.
[[noreturn]] void become(char** command, const sigset_t& signals) {
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  ::execvp(command[0], command);
  std::perror(command[0]);
  constexpr int kNotFound = 127;
  ::_exit(kNotFound);
}

// The command's status, as a shell has it. A signal goes to the command too and is not waited for: what hangs in the
// host ends only with it.
int run_command(const SimHost& host, char** command, const sigset_t& signals) {
  constexpr int kSignalled = 128;
  const UniqueFd signal(::signalfd(-1, &signals, SFD_CLOEXEC));
  set_environment(host);
  const pid_t child = ::fork();
  if (child < 0) return complain("fork failed", kFailed);
  if (child == 0) become(command, signals);
  const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  std::array<pollfd, 2> waiting{pollfd{signal.get(), POLLIN, 0}, pollfd{ended.get(), POLLIN, 0}};
  ::poll(waiting.data(), waiting.size(), -1);
  signalfd_siginfo received{};
  if (waiting[1].revents == 0 && ::read(signal.get(), &received, sizeof received) == sizeof received) {
    const int number = static_cast<int>(received.ssi_signo);
    ::kill(child, number);
    return kSignalled + number;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalled + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
  const bool with_command = argc > 4 && std::string(argv[3]) == "--";
  if (argc != 3 && !with_command) return complain("usage: simhost MOUNTPOINT HOST [-- COMMAND...]", kUsage);
  const auto description = read_host(argv[2]);
  if (!description) return complain(std::string(argv[2]) + ": no such file, and no such host", kUsage);

  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const auto host = SimHost::start(*description, argv[1]);
  if (!host) return complain(host.error(), kFailed);

  int status = 0;
  if (with_command) {
    status = run_command(**host, argv + 4, signals);
  } else {
    std::puts("mounted");
    std::fflush(stdout);
    wait_for_end(**host, signals);
  }
  const auto unmodelled = (*host)->unmodelled();
  for (const auto& what : unmodelled) complain("not modelled: " + what, 0);
  return status == 0 && !unmodelled.empty() ? kFailed : status;
}
