// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/play.h"

#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "tests/scenarios/stage.h"

namespace slicebroker::faults {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using scenarios::Answer;
using scenarios::Entry;
using scenarios::fail;

constexpr std::chrono::seconds kLongest{20};    // for one command, on a busy machine
constexpr std::chrono::seconds kInSilence{90};  // the same where a hypervisor is silent: libvirt has 40 s to attach
constexpr std::chrono::seconds kToSettle{10};   // for a write that was left behind to end after it was let go
constexpr const char* kShortDeadline = "0.3";   // seconds that the kernel is given where it hangs
constexpr const char* kShortHypervisorDeadline = "1";
constexpr int kKilled = 128 + 9;

bool has(const Answer& answer, std::string_view text) {
  return answer.output.find(text) != std::string::npos;
}

// Lets go of everything that hangs where a command does not end.
class Bound {
 public:
  Bound(simhost::SimHost& host, std::chrono::seconds longest)
      : thread_([this, &host, longest](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          changed_.wait_for(lock, stop, longest, [] { return false; });
          if (stop.stop_requested()) return;
          passed_ = true;
          [[maybe_unused]] const auto done = host.command("clear");
        }) {}
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;

  bool passed() {
    const std::lock_guard lock(mutex_);
    return passed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool passed_ = false;
  std::jthread thread_;  // last: it uses the others
};

// What ledger_fault.c is told, and its count. It is for commands that begin while this lives.
class LedgerFault {
 public:
  explicit LedgerFault(const std::string& fault) {
    std::string path = (fs::temp_directory_path() / "slicebroker-count.XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) fail("no temporary directory");
    directory_ = path;
    std::ofstream(directory_ / "count") << std::string(sizeof(std::uint64_t), '\0');
    ::setenv("LD_PRELOAD", LEDGER_FAULT_LIBRARY, 1);
    ::setenv("LEDGER_FAULT_COUNT", (directory_ / "count").c_str(), 1);
    if (!fault.empty()) {
      ::setenv("LEDGER_FAULT", fault.c_str(), 1);
      return;
    }
    std::ofstream(directory_ / "log").flush();
    ::setenv("LEDGER_FAULT_LOG", (directory_ / "log").c_str(), 1);
  }
  LedgerFault(const LedgerFault&) = delete;
  LedgerFault& operator=(const LedgerFault&) = delete;
  ~LedgerFault() {
    for (const auto* name : {"LD_PRELOAD", "LEDGER_FAULT", "LEDGER_FAULT_COUNT", "LEDGER_FAULT_LOG"}) ::unsetenv(name);
    fs::remove_all(directory_);
  }

  std::vector<std::string> operations() const {
    std::ifstream log(directory_ / "log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(log, line);) lines.push_back(line);
    return lines;
  }

 private:
  fs::path directory_;
};

// Without what hypervisors have: a device that its guest gave up may be prepared as before.
std::string without_hypervisors(const std::string& snapshot) {
  std::istringstream lines(snapshot);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("proc/") && !line.starts_with("vmm/")) kept += line + "\n";
  }
  return kept;
}

std::string ledger_fault_of(const Cut& cut) {
  const auto number = std::to_string(cut.number);
  switch (cut.way) {
    case Way::kFail: return "fail:" + std::to_string(cut.os_errno) + ":" + number;
    case Way::kFailOn: return "fail-on:" + std::to_string(cut.os_errno) + ":" + number;
    case Way::kKillBefore: return "kill-before:" + number;
    case Way::kKillAfter: return "kill-after:" + number;
    case Way::kTear: return "tear:" + number;
    case Way::kFailAfter:
    case Way::kHang:
    case Way::kSilent:
    case Way::kSilentAfter:
    case Way::kLate: break;
  }
  fail("the ledger knows no such cut: " + to_string(cut));
}

std::string host_fault_of(const Cut& cut) {
  const auto after = " after=" + std::to_string(cut.number - 1);
  const auto failure = [&](int os_errno) {
    return std::string("fail any * ") + strerrorname_np(os_errno) + after + " times=1";
  };
  switch (cut.way) {
    case Way::kFail: return failure(cut.os_errno);
    case Way::kFailAfter: return failure(cut.os_errno) + " when=after";
    case Way::kHang: return "hang any " + std::string(kHanging) + "*" + after + " times=1 of=" + std::string(kBroker);
    // tests/vmm/README.md has what these two are to hypervisors.
    case Way::kSilent: return failure(ETIME);
    case Way::kSilentAfter: return failure(ETIME) + " when=after";
    case Way::kLate: return failure(EINPROGRESS);
    case Way::kKillBefore: return "kill any *" + after + " when=before who=program";
    case Way::kKillAfter: return "kill any *" + after + " when=after who=program";
    case Way::kFailOn:
    case Way::kTear: break;
  }
  fail("the host knows no such cut: " + to_string(cut));
}

class Performance {
 public:
  explicit Performance(const Play& play) : play_(play), stage_(play.host_file, play.binaries, "") {
    perform(play.prepare, Words::kIgnored);
  }

  Counted count() {
    const LedgerFault counting("");
    control("count");
    perform(play_.cut, Words::kIgnored);
    stage_.check_same();
    return {stage_.host().operations(), stage_.host().operations(kBroker), counting.operations()};
  }

  void strike(const Cut& cut) {
    control("count");
    try {
      perform_cut(cut);
      control("clear");
      recover(cut);
    } catch (const std::exception& broken) {
      control("clear");  // so that everybody can end
      throw std::runtime_error(broken.what() + std::string("\n") + log_);
    }
  }

 private:
  // Whether what a command says has to be true.
  enum class Words { kIgnored, kHeldTo };

  void control(const std::string& line) {
    if (const auto done = stage_.host().command(line); !done) fail(line + ": " + done.error());
  }

  Answer run(const std::string& command) {
    Bound bound(stage_.host(), longest_);
    auto answer = stage_.run(command);
    log_ += "$ " + command + "\n" + answer.output + "[" + std::to_string(answer.status) + "]\n";
    if (bound.passed()) fail("it did not end within " + std::to_string(longest_.count()) + " s");
    return answer;
  }

  void perform_cut(const Cut& cut) {
    std::optional<LedgerFault> ledger;
    if (cut.side == Side::kLedger) {
      ledger.emplace(ledger_fault_of(cut));
    } else {
      control(host_fault_of(cut));
    }
    may_be_killed_ = cut.kills();
    if (cut.way == Way::kHang) ::setenv("SLICEBROKER_DEADLINE", kShortDeadline, 1);
    if (cut.hypervisor_is_silent()) {
      ::setenv("SLICEBROKER_HYPERVISOR_DEADLINE", kShortHypervisorDeadline, 1);
      longest_ = kInSilence;
    }
    perform(play_.cut, Words::kHeldTo);
    ::unsetenv("SLICEBROKER_DEADLINE");
    ::unsetenv("SLICEBROKER_HYPERVISOR_DEADLINE");
    longest_ = kLongest;
    may_be_killed_ = false;
  }

  void perform(const std::vector<Entry>& entries, Words words) {
    for (const auto& entry : entries) {
      if (entry.kind == Entry::Kind::kRemember) {
        stage_.remember();
      } else if (entry.kind == Entry::Kind::kControl) {
        control(entry.text);
      } else if (words == Words::kIgnored) {
        run(entry.text);
      } else {
        run_held_to_its_words(entry.text);
      }
    }
  }

  void run_held_to_its_words(const std::string& command) {
    const auto before = without_hypervisors(stage_.host().snapshot());
    const auto answer = run(command);
    check_answer(command, answer);
    // A script may run more than one, and each speaks for itself.
    if (answer.status == 0 || !command.starts_with("slicebroker ")) return;
    if (has(answer, "host: untouched")) {
      if (const auto now = without_hypervisors(stage_.host().snapshot()); now != before) {
        fail("it says that the host is untouched: " + scenarios::difference(before, now));
      }
    } else if (has(answer, "host: restored")) {
      stage_.check_same();  // as before the lease, not as before the command
    }
  }

  void check_answer(const std::string& command, const Answer& answer) const {
    constexpr int kGreatest = 8;
    if (answer.status == 0) return;
    if (answer.status == kKilled || has(answer, "Killed")) {
      if (!may_be_killed_) fail("it was killed");
      return;
    }
    if (answer.status > kGreatest) fail("no such status is documented: " + std::to_string(answer.status));
    const bool drift = command.find("slicebroker reconcile") != std::string::npos && answer.status == kGreatest;
    if (drift) return;
    if (!has(answer, "error: ")) fail("it failed without an error");
    const bool changes = command.starts_with("slicebroker attach") || command.starts_with("slicebroker detach");
    if (changes && !has(answer, "host: ")) fail("it does not say what became of the host");
    if (has(answer, "host: changed") && !has(answer, "hint: "))
      fail("the host is changed, and no hint says what to do");
  }

  void recover(const Cut& cut) {
    const auto end = std::chrono::steady_clock::now() + kToSettle;
    auto first = run("slicebroker reconcile");
    // A process that was left behind ends a moment after it was let go, or killed.
    while ((cut.way == Way::kHang || cut.kills()) && first.status != 0 && std::chrono::steady_clock::now() < end) {
      first = run("slicebroker reconcile");
    }
    const auto settled = stage_.host().snapshot();
    if (const auto again = run("slicebroker reconcile"); again.status != 0) fail("reconcile does not settle it");
    if (const auto now = stage_.host().snapshot(); now != settled) {
      fail("the second reconcile changes the host: " + scenarios::difference(settled, now));
    }
    if (leases() > 0) {
      perform(play_.give_back, Words::kIgnored);
      if (leases() > 0) fail("a lease can't be given back");
    }
    stage_.check_same();
    check_quarantines(cut);
    if (run("slicebroker ledger check").status != 0) fail("the ledger is damaged");
  }

  // A host that is as before has none; a device whose reset the cut has failed stays in quarantine.
  void check_quarantines(const Cut& cut) {
    const auto document = json::parse(run("slicebroker -o json quarantine list").output, nullptr, false);
    if (!document.is_object() || !document.contains("quarantines")) fail("the quarantines can't be listed");
    for (const auto& quarantine : document["quarantines"]) {
      const bool by_reset = quarantine["code"] == "RESET_FAILED" || quarantine["code"] == "RESET_NOT_POSSIBLE";
      if (!by_reset || cut.kills() || cut.way == Way::kHang) {
        fail("a device stays quarantined on a host that is as before");
      }
    }
  }

  // How many there are; no two of the same device.
  std::size_t leases() {
    const auto answer = run("slicebroker -o json list leases");
    const auto document = json::parse(answer.output, nullptr, false);
    if (!document.is_object() || !document.contains("leases")) fail("the leases can't be listed");
    std::set<std::string> devices;
    for (const auto& lease : document["leases"]) {
      for (const auto& device : lease["leases"]) {
        if (!devices.insert(device.get<std::string>()).second) fail("leased twice: " + device.get<std::string>());
      }
    }
    return document["leases"].size();
  }

  const Play& play_;
  scenarios::Stage stage_;
  std::string log_;
  bool may_be_killed_ = false;
  std::chrono::seconds longest_ = kLongest;
};

}  // namespace

Play read_play(const fs::path& binaries, const fs::path& hosts, const fs::path& file) {
  auto transcript = scenarios::parse_transcript(scenarios::read_file(file));
  if (!transcript) fail(file.string() + ": " + transcript.error());
  const auto host = transcript->host + ".host";
  const auto beside = file.parent_path() / host;
  Play play{fs::exists(beside) ? beside : hosts / host, binaries, {}, {}, {}};
  auto* part = &play.prepare;
  for (auto& entry : transcript->entries) {
    if (entry.kind == Entry::Kind::kComment) continue;
    if (entry.kind == Entry::Kind::kControl && entry.text == "count") {
      part = &play.cut;
    } else if (entry.kind == Entry::Kind::kSame) {
      part = &play.give_back;
    } else {
      part->push_back(std::move(entry));
    }
  }
  if (part != &play.give_back || play.cut.empty()) fail(file.string() + ": it has no \"! count\" ... \"= same\"");
  return play;
}

// Paths have drawn UUIDs and pids in them, so it is the number that counts. It is the same every time but where the
// machine mounts or renames something meanwhile: then openat2(2) is asked again.
Counted count(const Play& play) {
  constexpr int kMostPlays = 10;
  auto last = Performance(play).count();
  for (int plays = 1; plays < kMostPlays; ++plays) {
    auto again = Performance(play).count();
    if (again.host.size() == last.host.size() && again.ledger.size() == last.ledger.size()) return again;
    last = std::move(again);
  }
  return last;
}

void strike(const Play& play, const Cut& cut) {
  Performance(play).strike(cut);
}

}  // namespace slicebroker::faults
