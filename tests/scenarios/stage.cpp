// SPDX-License-Identifier: Apache-2.0
#include "tests/scenarios/stage.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace slicebroker::scenarios {
namespace {

namespace fs = std::filesystem;

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

void prepend(const char* variable, const std::string& path) {
  const char* const value = std::getenv(variable);
  const std::string old = value == nullptr ? "" : value;
  if (!old.starts_with(path)) ::setenv(variable, (path + ":" + old).c_str(), 1);
}

void end_children() {
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
}

}  // namespace

void fail(const std::string& what) {
  throw std::runtime_error(what);
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  if (!file) fail("cannot read " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string difference(const std::string& wanted, const std::string& seen) {
  std::istringstream a(wanted), b(seen);
  std::string wanted_line, seen_line;
  for (int number = 1;; ++number) {
    const bool more_wanted = static_cast<bool>(std::getline(a, wanted_line));
    const bool more_seen = static_cast<bool>(std::getline(b, seen_line));
    if (!more_wanted) wanted_line = "(the end)";
    if (!more_seen) seen_line = "(the end)";
    if (wanted_line != seen_line) {
      return "line " + std::to_string(number) + "\n  first:  " + wanted_line + "\n  second: " + seen_line;
    }
    if (!more_wanted && !more_seen) return "nowhere";
  }
}

Stage::Stage(const fs::path& host_file, const fs::path& binaries, const std::string& text)
    : plain_(read_file(host_file) + text) {
  auto host = simhost::SimHost::start(read_file(host_file));
  if (!host) fail(host_file.string() + ": " + host.error());
  host_ = *std::move(host);
  std::string state = (fs::temp_directory_path() / "slicebroker-scenario.XXXXXX").string();
  if (::mkdtemp(state.data()) == nullptr) fail("no temporary directory");
  state_ = state;
  prepend("PATH", binaries.string() + ":" + VMM_DIR);
  prepend("LD_LIBRARY_PATH", VMM_LIBRARY_DIR);
  ::setenv("SIMHOST", host_->root().c_str(), 1);
  ::setenv("SLICEBROKER_ROOT", host_->root().c_str(), 1);
  ::setenv("SLICEBROKER_STATE", state_.c_str(), 1);
  ::setenv("SLICEBROKER_NVML", host_->nvml().empty() ? "no-libnvidia-ml.so.1" : host_->nvml().c_str(), 1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  remember();
}

Stage::~Stage() {
  end_children();
  fs::remove_all(state_);
}

Answer Stage::run(const std::string& command) {
  Answer answer;
  std::FILE* pipe = ::popen(("exec 2>&1; " + command).c_str(), "r");
  if (pipe == nullptr) fail("cannot run a shell");
  char buffer[4096];
  for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) answer.output.append(buffer, size);
  const int status = ::pclose(pipe);
  answer.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  auto plain = plain_.of(replaced(replaced(answer.output, host_->root(), "ROOT"), state_, "STATE"));
  // A table is as wide as what was replaced.
  answer.output = plain == answer.output ? std::move(plain) : with_narrow_columns(plain);
  if (!answer.output.empty() && answer.output.back() != '\n') answer.output += '\n';
  return answer;
}

Answer Stage::run_twice(const std::string& command) {
  const auto before = host_->snapshot();
  const auto names = plain_;  // what is drawn anew counts as the same
  auto first = run(command);
  const auto names_then = std::exchange(plain_, names);
  const auto second = run(command);
  plain_ = names_then;
  if (second != first) fail("two answers to: " + command + ", " + difference(first.output, second.output));
  if (const auto after = host_->snapshot(); after != before) {
    fail("the host changed by: " + command + ", " + difference(before, after));
  }
  return first;
}

void Stage::check_same() const {
  if (const auto now = host_->snapshot(); now != remembered_) {
    fail("the host is not the same: " + difference(remembered_, now));
  }
}

}  // namespace slicebroker::scenarios
