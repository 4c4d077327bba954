// SPDX-License-Identifier: Apache-2.0
// conformance ROOT [FILTER]: does what a program does to a GPU host, on the one below ROOT, and compares what comes of
// it with what a real kernel does. docs/conformance.md says more.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

std::vector<Case> all_cases(Framework framework) {
  std::vector<Case> all;
  for (const auto& part :
       {bind_cases(), reset_cases(), group_cases(), sriov_cases(),
        framework == Framework::kMdev ? mdev_cases() : vendor_cases(), mig_cases(), node_cases(), attribute_cases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

constexpr int kDeadlineMs = 120'000;

// The first line in which two states differ.
std::string difference(const std::string& before, const std::string& after) {
  std::size_t at = 0;
  while (at < before.size() && at < after.size() && before[at] == after[at]) ++at;
  const auto line = [&](const std::string& text) {
    const auto start = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
    return text.substr(start, text.find('\n', at) - start);
  };
  return "wanted the host as it was (" + line(before) + "), saw (" + line(after) + ")";
}

// What the case found; empty where it passes.
std::string perform(const Case& one, const Host& host, const Roles& roles) {
  std::string failure;
  const auto note = [&failure](const std::function<void()>& what) {
    try {
      what();
    } catch (const std::exception& error) {
      failure += (failure.empty() ? "" : "; afterwards ") + std::string(error.what());
    }
  };
  const std::string before = state_of(host);
  Run run(host, roles);
  note([&] { one.body(run); });
  note([&] { run.put_back(); });
  const std::string after = state_of(host);
  if (before != after) note([&] { throw Mismatch(difference(before, after)); });
  return failure;
}

// A case that waits for ever, where a kernel wouldn't, must not take the others' results with it: each has a process of
// its own. The host is then of no use any more.
std::string outcome(const Case& one, const Host& host, const Roles& roles, bool& stuck) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("cannot make a pipe: " + errno_name(errno));
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork: " + errno_name(errno));
  if (child == 0) {
    const std::string failure = perform(one, host, roles);
    const bool told = ::write(ends[1], failure.data(), failure.size()) == static_cast<ssize_t>(failure.size());
    ::_exit(told && failure.empty() ? 0 : 1);
  }
  ::close(ends[1]);
  pollfd end{ends[0], POLLIN, 0};
  stuck = ::poll(&end, 1, kDeadlineMs) == 0;
  std::string failure = stuck ? "wanted it to end, saw it wait for ever" : File(ends[0]).read().text;
  int status = 0;
  if (!stuck && ::waitpid(child, &status, 0) == child && status != 0 && failure.empty()) failure = "its process died";
  return failure;
}

int run_all(const std::string& root, const std::string& filter) {
  const Host host(root);
  const Roles roles = find_roles(host);
  int passed = 0, failed = 0, skipped = 0;
  for (const Case& one : all_cases(roles.framework)) {
    if (std::string(one.name).find(filter) == std::string::npos) continue;
    if (roles.simulated && *one.kernel_only != '\0') {
      std::printf("kernel only %s: %s\n", one.name, one.kernel_only);
      ++skipped;
      continue;
    }
    bool stuck = false;
    const std::string failure = outcome(one, host, roles, stuck);
    ++(failure.empty() ? passed : failed);
    if (failure.empty()) {
      std::printf("ok %s\n", one.name);
    } else {
      std::printf("FAIL %s: %s\n", one.name, failure.c_str());
    }
    std::fflush(stdout);
    if (stuck) return 1;
  }
  std::printf("conformance: %d ok, %d failed, %d kernel only\n", passed, failed, skipped);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace
}  // namespace slicebroker::conformance

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: conformance ROOT [PART-OF-A-CASE'S-NAME]\n");
    return 2;
  }
  try {
    return slicebroker::conformance::run_all(argv[1], argc == 3 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conformance: %s\n", error.what());
    return 1;
  }
}
