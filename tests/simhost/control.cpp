// SPDX-License-Identifier: Apache-2.0
// The host's commands and the files of /.simhost. README.md has the list.
#include <cerrno>
#include <cstring>
#include <iterator>

#include "tests/simhost/host.h"
#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

using Done = tl::expected<void, std::string>;

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

bool is_fault(const std::string& verb) {
  return verb == "fail" || verb == "hang" || verb == "slow" || verb == "kill" || verb == "do";
}

bool is_process_command(const std::string& verb) {
  return verb == "process" || verb == "open" || verb == "close" || verb == "end";
}

// "process PID COMMAND [unit=U] [NODE...]"
SimulatedProcess parse_process(pid_t pid, const std::vector<std::string>& line) {
  constexpr std::string_view kUnit = "unit=";
  SimulatedProcess process;
  process.pid = pid;
  process.command = line[2];
  for (auto word = std::next(line.begin(), 3); word != line.end(); ++word) {
    if (word->starts_with(kUnit)) {
      process.unit = word->substr(kUnit.size());
    } else {
      process.nodes.push_back(*word);
    }
  }
  return process;
}

}  // namespace

Done Host::process_command(const std::vector<std::string>& line) {
  const auto& verb = line.front();
  const std::size_t least = verb == "end" ? 2 : 3;
  const std::size_t most = verb == "process" ? line.size() : least;
  if (line.size() < least || line.size() > most) return tl::unexpected(verb + ": wrong number of words");
  const auto pid = number<pid_t>(line[1]);
  if (!pid || *pid <= 0) return tl::unexpected(verb + ": not a pid: '" + line[1] + "'");
  int result = 0;
  if (verb == "process") result = processes_.start(parse_process(*pid, line));
  if (verb == "open") result = processes_.open(*pid, line[2]);
  if (verb == "close") result = processes_.close(*pid, line[2]);
  if (verb == "end") result = processes_.end(*pid);
  if (result != 0) return tl::unexpected(verb + " " + line[1] + ": " + std::strerror(result));
  return {};
}

Done Host::add_fault(std::string_view line) {
  auto fault = parse_fault(line);
  if (!fault) return tl::unexpected(fault.error());
  operations_.add(*std::move(fault));
  return {};
}

Done Host::command(std::string_view line) {
  const auto start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos || line[start] == '#') return {};
  line = line.substr(start);
  const auto parts = words(line);
  const auto& verb = parts.front();
  if (is_fault(verb)) return add_fault(line);
  if (is_process_command(verb)) return process_command(parts);
  if (Libvirtd::knows(verb)) return libvirtd_.command(parts);
  if (parts.size() > 1 || (verb != "clear" && verb != "count" && verb != "release" && verb != "reboot")) {
    return kernel_ ? kernel_->command(line) : Done(tl::unexpected(std::string("the host has not booted")));
  }
  if (verb == "reboot") return reboot();
  if (verb == "clear") operations_.clear_faults();
  if (verb == "clear" || verb == "count") operations_.restart_count();
  if (verb == "clear" || verb == "release") {
    operations_.clear_hangs();
    ++releases_;
  }
  return {};
}

int Host::write_control(std::string_view text) {
  error_.clear();
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (auto done = command(line); !done) {
      error_ = line + ": " + done.error();
      return EINVAL;
    }
  }
  return 0;
}

void Host::add_control_files() {
  File control;
  control.mode = 0200;
  control.store = [this](std::string_view text, Caller&) { return write_control(text); };
  tree_.add_file(".simhost/control", std::move(control));
  File define;
  define.mode = 0200;
  define.store = [this](std::string_view text, Caller&) {
    const auto defined = libvirtd_.define(std::string(text));
    error_ = defined ? "" : defined.error();
    return defined ? 0 : EINVAL;
  };
  tree_.add_file(".simhost/define", std::move(define));
  tree_.add_file(".simhost/error", File{.show = [this]() -> Text { return error_.empty() ? "" : error_ + "\n"; }});
  tree_.add_file(".simhost/operations", File{.show = [this]() -> Text { return lines_of(operations_.log({})); }});
  tree_.add_file(".simhost/unmodelled", File{.show = [this]() -> Text { return lines_of(unmodelled_); }});
}

}  // namespace slicebroker::simhost
