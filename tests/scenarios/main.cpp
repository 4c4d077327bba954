// SPDX-License-Identifier: Apache-2.0
// scenario [--update] BINARIES HOSTS FILE: runs a transcript (see transcript.h) on its simulated host and ends with 1
// where anything differs; --update writes what was seen into FILE. Every command that must change nothing ("explain",
// "list", "show", "xml", "args", --dry-run) is run twice: both answers and the host must be the same.
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/scenarios/transcript.h"
#include "tests/simhost/simhost.h"

namespace {

namespace fs = std::filesystem;
using slicebroker::scenarios::Entry;
using slicebroker::simhost::SimHost;

struct Answer {
  std::string output;
  int status = 0;
  bool operator==(const Answer&) const = default;
};

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "scenario: " << what << "\n";
  std::exit(1);
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  if (!file) fail("cannot read " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

bool changes_nothing(const std::string& command) {
  for (const auto* verb : {"slicebroker explain", "slicebroker list", "slicebroker show", "slicebroker xml",
                           "slicebroker args", "--dry-run"}) {
    if (command.find(verb) != std::string::npos) return true;
  }
  return false;
}

// Where two texts first differ, for people.
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

// A mounted host, and a ledger of its own.
class Stage {
 public:
  Stage(const fs::path& host_file, const fs::path& binaries) {
    auto host = SimHost::start(read_file(host_file));
    if (!host) fail(host_file.string() + ": " + host.error());
    host_ = *std::move(host);
    std::string state = (fs::temp_directory_path() / "slicebroker-scenario.XXXXXX").string();
    if (::mkdtemp(state.data()) == nullptr) fail("no temporary directory");
    state_ = state;
    const std::string path = binaries.string() + ":" + std::getenv("PATH");
    ::setenv("PATH", path.c_str(), 1);
    ::setenv("SLICEBROKER_ROOT", host_->root().c_str(), 1);
    ::setenv("SLICEBROKER_STATE", state_.c_str(), 1);
    ::setenv("SLICEBROKER_NVML", host_->nvml().empty() ? "no-libnvidia-ml.so.1" : host_->nvml().c_str(), 1);
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() { fs::remove_all(state_); }

  SimHost& host() { return *host_; }

  Answer run(const std::string& command) const {
    Answer answer;
    std::FILE* pipe = ::popen(("exec 2>&1; " + command).c_str(), "r");
    if (pipe == nullptr) fail("cannot run a shell");
    char buffer[4096];
    for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) answer.output.append(buffer, size);
    const int status = ::pclose(pipe);
    answer.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    answer.output = replaced(std::move(answer.output), host_->root(), "ROOT");
    answer.output = replaced(std::move(answer.output), state_, "STATE");
    if (!answer.output.empty() && answer.output.back() != '\n') answer.output += '\n';
    return answer;
  }

  // Runs a command that must change nothing twice.
  Answer run_twice(const std::string& command) {
    const auto before = host_->snapshot();
    auto first = run(command);
    const auto second = run(command);
    if (second != first) fail("two answers to: " + command + ", " + difference(first.output, second.output));
    if (const auto after = host_->snapshot(); after != before) {
      fail("the host changed by: " + command + ", " + difference(before, after));
    }
    return first;
  }

 private:
  std::unique_ptr<SimHost> host_;
  std::string state_;
};

void perform(Entry& entry, Stage& stage) {
  if (entry.kind == Entry::Kind::kControl) {
    if (const auto done = stage.host().command(entry.text); !done) fail(entry.text + ": " + done.error());
  } else if (entry.kind != Entry::Kind::kComment) {
    const bool twice = entry.kind == Entry::Kind::kCommand && changes_nothing(entry.text);
    auto answer = twice ? stage.run_twice(entry.text) : stage.run(entry.text);
    entry.output = std::move(answer.output);
    entry.status = answer.status;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool update = argc == 5 && std::string(argv[1]) == "--update";
  if (argc != 4 && !update) {
    std::cerr << "usage: scenario [--update] BINARIES HOSTS FILE\n";
    return 2;
  }
  const fs::path file = argv[argc - 1], hosts = argv[argc - 2], binaries = argv[argc - 3];
  const auto wanted = read_file(file);
  auto transcript = slicebroker::scenarios::parse_transcript(wanted);
  if (!transcript) fail(file.string() + ": " + transcript.error());
  std::vector<std::string> unmodelled;
  {
    const auto name = transcript->host + ".host";
    const auto beside = file.parent_path() / name;
    Stage stage(fs::exists(beside) ? beside : hosts / name, binaries);
    for (auto& entry : transcript->entries) perform(entry, stage);
    unmodelled = stage.host().unmodelled();
  }
  for (const auto& write : unmodelled) std::cerr << "not modelled: " << write << "\n";
  const auto seen = to_text(*transcript);
  if (update) {
    std::ofstream(file) << seen;
    return unmodelled.empty() ? 0 : 1;
  }
  if (seen != wanted) fail(file.string() + " (first) and what is seen differ at " + difference(wanted, seen));
  return unmodelled.empty() ? 0 : 1;
}
