// SPDX-License-Identifier: Apache-2.0
// fault_sweep [--every N] [--from N] [--to N] BINARIES HOSTS FILE: plays a transcript once to count its operations, and
// then once for each of them (of each Nth) and for each way to cut it: the operation fails, its process is killed
// before it, its process is killed after it. Commands up to "= remember" prepare, those up to "= same" are cut, the
// rest gives back what is left. Outputs in the file mean nothing. After each cut:
//   - a command that says "host: untouched" or "host: restored" has left the host as it was before it
//   - `slicebroker reconcile` has nothing to do the second time, and changes nothing then
//   - without a lease the host is as it was; with one, giving it back makes it so
#include <chrono>
#include <cstdio>
#include <iostream>

#include "tests/scenarios/stage.h"
#include "tests/scenarios/transcript.h"

namespace {

namespace fs = std::filesystem;
using namespace slicebroker::scenarios;

struct Arguments {
  std::size_t every = 1;
  std::size_t from = 1;
  std::size_t to = static_cast<std::size_t>(-1);
  fs::path binaries, hosts, file;
};

struct Play {
  fs::path host_file;
  fs::path binaries;
  std::vector<Entry> prepare, cut, give_back;
};

struct Way {
  const char* name;
  const char* fault;  // what stands before "after=N"
  const char* options;
};

constexpr Way kWays[] = {{"fail", "fail any * EIO", "times=1"},
                         {"kill before", "kill any *", "when=before who=program"},
                         {"kill after", "kill any *", "when=after who=program"}};

Play read_play(const Arguments& arguments) {
  auto transcript = parse_transcript(read_file(arguments.file));
  if (!transcript) fail(arguments.file.string() + ": " + transcript.error());
  Play play{arguments.hosts / (transcript->host + ".host"), arguments.binaries, {}, {}, {}};
  auto* part = &play.prepare;
  for (auto& entry : transcript->entries) {
    if (entry.kind == Entry::Kind::kRemember) part = &play.cut;
    if (entry.kind == Entry::Kind::kSame) part = &play.give_back;
    const bool acts = entry.kind == Entry::Kind::kControl || entry.kind == Entry::Kind::kCommand ||
                      entry.kind == Entry::Kind::kCommandOnce;
    if (acts) part->push_back(std::move(entry));
  }
  return play;
}

bool says_unchanged(const Answer& answer) {
  return answer.output.find("host: untouched") != std::string::npos ||
         answer.output.find("host: restored") != std::string::npos;
}

// One play with one cut.
class Cut {
 public:
  explicit Cut(const Play& play) : play_(play), stage_(play.host_file, play.binaries, "") {
    perform(play.prepare, Words::kIgnored);
    stage_.remember();
  }

  std::vector<std::string> count() {
    control("count");
    perform(play_.cut, Words::kIgnored);
    stage_.check_same();
    return stage_.host().operations();
  }

  // Throws what is broken, with the log of the play.
  void strike(const Way& way, std::size_t number) {
    control("count");
    control(std::string(way.fault) + " after=" + std::to_string(number - 1) + " " + way.options);
    try {
      perform(play_.cut, Words::kHeldTo);
      control("clear");
      recover();
    } catch (const std::exception& broken) {
      throw std::runtime_error(broken.what() + std::string("\n") + log_);
    }
  }

 private:
  // Whether what a command says of the host has to be true.
  enum class Words { kIgnored, kHeldTo };

  void control(const std::string& line) {
    if (const auto done = stage_.host().command(line); !done) fail(line + ": " + done.error());
  }

  Answer run(const std::string& command) {
    auto answer = stage_.run(command);
    log_ += "$ " + command + "\n" + answer.output + "[" + std::to_string(answer.status) + "]\n";
    return answer;
  }

  void perform(const std::vector<Entry>& entries, Words words) {
    for (const auto& entry : entries) {
      if (entry.kind == Entry::Kind::kControl) {
        control(entry.text);
        continue;
      }
      const auto before = words == Words::kHeldTo ? stage_.host().snapshot() : "";
      const auto answer = run(entry.text);
      if (words == Words::kIgnored || answer.status == 0 || !says_unchanged(answer)) continue;
      if (const auto now = stage_.host().snapshot(); now != before) {
        fail("it says that the host is as before: " + difference(before, now));
      }
    }
  }

  void recover() {
    run("slicebroker reconcile");
    const auto settled = stage_.host().snapshot();
    if (const auto again = run("slicebroker reconcile"); again.status != 0) fail("reconcile does not settle it");
    if (const auto now = stage_.host().snapshot(); now != settled) {
      fail("the second reconcile changes the host: " + difference(settled, now));
    }
    const auto leases = run("slicebroker list leases");
    const bool none = leases.output.find('\n') == leases.output.size() - 1;
    if (none) stage_.check_same();
    perform(play_.give_back, Words::kIgnored);
    stage_.check_same();
  }

  const Play& play_;
  Stage stage_;
  std::string log_;
};

// Paths have drawn UUIDs and pids in them, so it is the number that counts. It is the same every time but where the
// machine mounts or renames something meanwhile: then openat2(2) is asked again.
std::vector<std::string> count_operations(const Play& play) {
  constexpr int kMostPlays = 10;
  auto last = Cut(play).count();
  for (int plays = 1; plays < kMostPlays; ++plays) {
    auto again = Cut(play).count();
    if (again.size() == last.size()) return again;
    last = std::move(again);
  }
  fail("no two plays have as many operations");
}

// The number of cuts after which something is broken.
std::size_t sweep(const Arguments& arguments) {
  const auto play = read_play(arguments);
  const auto operations = count_operations(play);
  std::size_t cuts = 0, broken = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t number = arguments.from; number <= std::min(arguments.to, operations.size());
       number += arguments.every) {
    for (const auto& way : kWays) {
      ++cuts;
      try {
        Cut(play).strike(way, number);
      } catch (const std::exception& error) {
        ++broken;
        std::cout << way.name << " " << operations[number - 1] << ": " << error.what() << std::endl;
      }
    }
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%zu operations, %zu cuts, %zu broken, %.0f ms each\n", operations.size(), cuts, broken,
              1000 * time.count() / static_cast<double>(std::max<std::size_t>(cuts, 1)));
  return broken;
}

bool parse(int argc, char** argv, Arguments& arguments) {
  int at = 1;
  for (; at + 1 < argc && std::string(argv[at]).starts_with("--"); at += 2) {
    const std::string option = argv[at];
    const auto value = std::strtoul(argv[at + 1], nullptr, 10);
    if (value == 0) return false;
    if (option == "--every") arguments.every = value;
    if (option == "--from") arguments.from = value;
    if (option == "--to") arguments.to = value;
  }
  if (argc - at != 3) return false;
  arguments.binaries = argv[at];
  arguments.hosts = argv[at + 1];
  arguments.file = argv[at + 2];
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::cerr << "usage: fault_sweep [--every N] [--from N] [--to N] BINARIES HOSTS FILE\n";
    return 2;
  }
  try {
    return sweep(arguments) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "fault_sweep: " << error.what() << "\n";
    return 1;
  }
}
