// SPDX-License-Identifier: Apache-2.0
// fault_sweep [--jobs N] [--cuts N] [--only CUT] [--list] BINARIES HOSTS FILE: plays a transcript (see play.h) once to
// count what it does to the host, to hypervisors and to the ledger, and then once for each operation and each way to
// cut it: it fails with an errno that fits, hangs, or is the last before kill -9. README.md says more.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <random>

#include "tests/faults/play.h"

namespace {

namespace fs = std::filesystem;
using namespace slicebroker::faults;

struct Arguments {
  std::size_t jobs = 2;
  std::size_t cuts = static_cast<std::size_t>(-1);
  std::optional<Cut> only;
  bool list = false;
  fs::path binaries, hosts, file;
};

// Shared by the processes that play.
struct Tally {
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> held{0};
};

Tally& shared_tally() {
  void* const memory = ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return *new (memory) Tally;
}

// One write(2), so that the lines of several processes stay whole.
void say(const std::string& text) {
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
}

void play_cuts(const Play& play, const std::vector<Cut>& cuts, Tally& tally) {
  for (std::size_t at = 0; (at = tally.next++) < cuts.size();) {
    try {
      strike(play, cuts[at]);
      ++tally.held;
    } catch (const std::exception& broken) {
      say("BROKEN: --only '" + to_string(cuts[at]) + "': " + broken.what() + "\n");
    }
  }
}

// Each in a process of its own: a play sets environment variables and ends its children.
void play_in_processes(const Play& play, const std::vector<Cut>& cuts, std::size_t jobs, Tally& tally) {
  for (std::size_t job = 0; job < std::min(jobs, cuts.size()); ++job) {
    if (::fork() != 0) continue;
    play_cuts(play, cuts, tally);
    ::_exit(0);
  }
  while (::wait(nullptr) > 0) {
  }
}

// As many as wanted, the same ones every time, from all over the play.
std::vector<Cut> choose(const Arguments& arguments, const Counted& counted) {
  if (arguments.only) return {*arguments.only};
  auto cuts = list_cuts(Side::kHost, counted.host);
  std::ranges::copy(list_hangs(counted.of_broker), std::back_inserter(cuts));
  const auto ledger = list_cuts(Side::kLedger, counted.ledger);
  // A ledger has few operations, and each is worth as much as all that the host is asked: they have half of the sample.
  const std::size_t wanted = std::min(arguments.cuts, cuts.size() + ledger.size());
  std::mt19937 random(1);  // NOLINT: the same every time
  const auto sample = [&](std::vector<Cut> all, std::size_t size) {
    std::shuffle(all.begin(), all.end(), random);
    all.resize(std::min(size, all.size()));
    return all;
  };
  const auto of_ledger = std::min(ledger.size(), std::max(wanted / 2, wanted - std::min(wanted, cuts.size())));
  cuts = sample(std::move(cuts), wanted - of_ledger);
  for (const auto& cut : sample(ledger, of_ledger)) cuts.push_back(cut);
  return cuts;
}

void list_operations(const Play& play) {
  const auto counted = count(play);
  for (const auto& operation : counted.host) std::printf("host %s\n", operation.c_str());
  for (const auto& operation : counted.ledger) std::printf("ledger %s\n", operation.c_str());
}

// Whether all cuts held.
bool sweep(const Arguments& arguments) {
  const auto play = read_play(arguments.binaries, arguments.hosts, arguments.file);
  if (arguments.list) {
    list_operations(play);
    return true;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto counted = arguments.only ? Counted{} : count(play);
  const auto cuts = choose(arguments, counted);
  auto& tally = shared_tally();
  play_in_processes(play, cuts, arguments.jobs, tally);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%s: %zu operations (%zu of the ledger), %zu cuts tried, %zu held, %.0f s\n",
              arguments.file.stem().c_str(), counted.host.size() + counted.ledger.size(), counted.ledger.size(),
              cuts.size(), tally.held.load(), time.count());
  return tally.held == cuts.size();
}

bool parse(int argc, char** argv, Arguments& arguments) {
  std::vector<std::string> words(argv + 1, argv + argc);
  auto word = words.begin();
  for (; word != words.end() && word->starts_with("--"); ++word) {
    const auto option = *word;
    if (option == "--list") {
      arguments.list = true;
      continue;
    }
    if (++word == words.end()) return false;
    if (option == "--only") {
      arguments.only = parse_cut(*word);
      if (!arguments.only) return false;
      continue;
    }
    const auto value = std::strtoul(word->c_str(), nullptr, 10);
    if (value == 0 || (option != "--jobs" && option != "--cuts")) return false;
    (option == "--jobs" ? arguments.jobs : arguments.cuts) = value;
  }
  if (words.end() - word != 3) return false;
  arguments.binaries = word[0];
  arguments.hosts = word[1];
  arguments.file = word[2];
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::cerr << "usage: fault_sweep [--jobs N] [--cuts N] [--only 'host|ledger NUMBER WAY [ERRNO]'] [--list] "
                 "BINARIES HOSTS FILE\n";
    return 2;
  }
  try {
    return sweep(arguments) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "fault_sweep: " << error.what() << "\n";
    return 1;
  }
}
