// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/faults.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

using Parsed = tl::expected<Fault, std::string>;

constexpr std::array kKinds = {OperationKind::kRead, OperationKind::kWrite, OperationKind::kOpen, OperationKind::kList,
                               OperationKind::kLink};

tl::unexpected<std::string> wrong(const std::string& what) {
  return tl::unexpected(what);
}

// "EIO" -> EIO; 0 where there is none of that name.
int errno_of(const std::string& text) {
  constexpr int kMost = 256;
  for (int value = 1; value < kMost; ++value) {
    const char* const known = strerrorname_np(value);
    if (known != nullptr && text == known) return value;
  }
  return 0;
}

std::optional<Fault::Effect> effect_of(const std::string& word) {
  if (word == "fail") return Fault::Effect::kFail;
  if (word == "hang") return Fault::Effect::kHang;
  if (word == "slow") return Fault::Effect::kSlow;
  if (word == "kill") return Fault::Effect::kKill;
  if (word == "do") return Fault::Effect::kDo;
  return std::nullopt;
}

bool set_kind(Fault& fault, const std::string& word) {
  if (word == "any") return true;
  for (const auto kind : kKinds) {
    if (name(kind) == word) fault.kind = kind;
  }
  return fault.kind.has_value();
}

bool set_option(Fault& fault, const std::string& word) {
  const auto equals = word.find('=');
  if (equals == std::string::npos) return false;
  const auto key = word.substr(0, equals);
  const auto value = word.substr(equals + 1);
  const auto count = number<std::uint64_t>(value);
  if (key == "after" && count) {
    fault.after = *count;
  } else if (key == "times" && count && *count > 0) {
    fault.times = *count;
  } else if (key == "of" && !value.empty()) {
    fault.program = value;
  } else if ((fault.effect == Fault::Effect::kKill || fault.effect == Fault::Effect::kFail) && key == "when" &&
             (value == "before" || value == "after")) {
    fault.moment = value == "before" ? Fault::Moment::kBefore : Fault::Moment::kAfter;
  } else if (fault.effect == Fault::Effect::kKill && key == "who" && (value == "process" || value == "program")) {
    fault.victim = value == "process" ? Fault::Victim::kProcess : Fault::Victim::kProgram;
  } else {
    return false;
  }
  return true;
}

// The errno of `fail`, the milliseconds of `slow`: one word after the glob.
std::string set_argument(Fault& fault, std::vector<std::string>& rest) {
  if (fault.effect != Fault::Effect::kFail && fault.effect != Fault::Effect::kSlow) return {};
  const auto argument = rest.empty() ? std::string() : rest.front();
  if (!rest.empty()) rest.erase(rest.begin());
  if (fault.effect == Fault::Effect::kFail) {
    fault.os_errno = errno_of(argument);
    return fault.os_errno != 0 ? "" : "no such errno: '" + argument + "'";
  }
  const auto delay = number<std::int64_t>(argument);
  if (!delay || *delay < 0) return "not a number of milliseconds: '" + argument + "'";
  fault.delay = std::chrono::milliseconds(*delay);
  return {};
}

// Splits "do KIND GLOB [after=N] : COMMAND"; the command is what follows the colon.
std::string take_command(std::string_view& line) {
  constexpr std::string_view kColon = " : ";
  const auto colon = line.find(kColon);
  if (colon == std::string_view::npos) return {};
  std::string command(line.substr(colon + kColon.size()));
  line = line.substr(0, colon);
  return command;
}

}  // namespace

std::string_view name(OperationKind kind) {
  switch (kind) {
    case OperationKind::kRead: return "read";
    case OperationKind::kWrite: return "write";
    case OperationKind::kOpen: return "open";
    case OperationKind::kList: return "list";
    case OperationKind::kLink: return "link";
  }
  return "?";
}

Parsed parse_fault(std::string_view line) {
  Fault fault;
  const auto verb = words(line.substr(0, line.find(' ')));
  const auto effect = verb.empty() ? std::nullopt : effect_of(verb.front());
  if (!effect) return wrong("not a fault: '" + std::string(line) + "'");
  fault.effect = *effect;
  if (fault.effect == Fault::Effect::kDo) {
    fault.command = take_command(line);
    if (fault.command.empty()) return wrong("do KIND GLOB [after=N] : COMMAND; there is no ' : COMMAND'");
  }
  if (fault.effect == Fault::Effect::kKill || fault.effect == Fault::Effect::kDo) fault.times = 1;

  auto rest = words(line);
  if (rest.size() < 3) return wrong(rest.front() + " needs KIND and GLOB");
  if (!set_kind(fault, rest[1])) return wrong("not a kind of operation: '" + rest[1] + "'");
  fault.glob = rest[2];
  rest.erase(rest.begin(), std::next(rest.begin(), 3));
  if (auto error = set_argument(fault, rest); !error.empty()) return wrong(error);
  for (const auto& word : rest) {
    if (!set_option(fault, word)) return wrong("not an option of " + verb.front() + ": '" + word + "'");
  }
  return fault;
}

void Operations::clear_hangs() {
  std::erase_if(faults_, [](const Fault& fault) { return fault.effect == Fault::Effect::kHang; });
}

void Operations::restart_count() {
  log_.clear();
  for (auto& fault : faults_) fault.seen = 0;
}

std::vector<std::string> Operations::log(std::string_view program) const {
  std::vector<std::string> lines;
  for (const auto& entry : log_) {
    if (program.empty() || entry.program == program) lines.push_back(entry.text);
  }
  return lines;
}

std::vector<Fault> Operations::begin(OperationKind kind, const std::string& path, const std::string& program) {
  log_.push_back({std::to_string(log_.size() + 1) + " " + std::string(name(kind)) + " " + path, program});
  std::vector<Fault> hits;
  for (auto& fault : faults_) {
    if (fault.kind && *fault.kind != kind) continue;
    if (!fault.program.empty() && fault.program != program) continue;
    if (::fnmatch(fault.glob.c_str(), path.c_str(), 0) != 0) continue;
    const auto index = fault.seen++;
    if (index >= fault.after && index - fault.after < fault.times) hits.push_back(fault);
  }
  return hits;
}

}  // namespace slicebroker::simhost
