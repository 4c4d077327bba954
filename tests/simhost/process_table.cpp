// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/process_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

std::string directory_of(pid_t pid) {
  return "proc/" + std::to_string(pid);
}

// The fields of /proc/<pid>/stat up to the start time (22nd), and as many zeros as a kernel has after it.
std::string stat_line(const SimulatedProcess& process, std::uint64_t start_time) {
  const auto pid = std::to_string(process.pid);
  auto line = pid + " (" + process.command.substr(0, 15) + ") S 1 " + pid + " " + pid +
              " 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(start_time);
  constexpr int kFieldsAfter = 30;
  for (int field = 0; field < kFieldsAfter; ++field) line += " 0";
  return line;
}

std::string status_text(const SimulatedProcess& process) {
  const auto pid = std::to_string(process.pid);
  return "Name:\t" + process.command.substr(0, 15) + "\nState:\tS (sleeping)\nTgid:\t" + pid + "\nPid:\t" + pid +
         "\nPPid:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nThreads:\t1";
}

}  // namespace

ProcessTable::ProcessTable(Tree& tree, MakeCaller make_caller) : tree_(tree), make_caller_(std::move(make_caller)) {}

void ProcessTable::add_simulated(const SimulatedProcess& process) {
  const auto directory = directory_of(process.pid) + "/";
  constexpr std::uint64_t kTicksBetween = 100;
  last_start_time_ += kTicksBetween;
  std::string command_line = process.command + '\0';
  if (!process.arguments.empty()) command_line.clear();
  for (const auto& argument : process.arguments) command_line += argument + '\0';

  tree_.add_text(directory + "comm", process.command.substr(0, 15));
  tree_.add_file(directory + "cmdline", File{.show = [command_line]() -> Text { return command_line; }});
  tree_.add_text(directory + "stat", stat_line(process, last_start_time_));
  tree_.add_text(directory + "status", status_text(process));
  tree_.add_text(directory + "cgroup", process.unit.empty() ? "0::/" : "0::/system.slice/" + process.unit);
  tree_.add_directory(directory + "fd");
}

int ProcessTable::start(const SimulatedProcess& process) {
  if (process.pid <= 0 || process.command.empty()) return EINVAL;
  if (simulated_.count(process.pid) != 0) return EEXIST;
  if (real_.erase(process.pid) != 0) tree_.remove(directory_of(process.pid));
  if (tree_.exists(directory_of(process.pid))) return EEXIST;
  simulated_[process.pid];
  add_simulated(process);
  for (const auto& node : process.nodes) {
    const int result = open(process.pid, node);
    if (result == 0) continue;
    end(process.pid);
    return result;
  }
  return 0;
}

int ProcessTable::open_node(Open open, std::uint64_t& id) {
  const auto& file = open.node->file;
  if (file.open) {
    const auto caller = make_caller_(open.pid);
    if (const int result = file.open(*caller); result != 0) return result;
  }
  id = ++last_open_;
  opens_.emplace(id, std::move(open));
  return 0;
}

void ProcessTable::close_id(std::uint64_t id) {
  const auto found = opens_.find(id);
  if (found == opens_.end()) return;
  const auto open = std::move(found->second);
  opens_.erase(found);
  if (open.node->file.release) open.node->file.release(open.pid);
}

int ProcessTable::open(pid_t pid, const std::string& node) {
  if (simulated_.count(pid) == 0) return ESRCH;
  const auto target = node.starts_with('/') ? tree_.find(node.substr(1)) : nullptr;
  if (!target || target->kind != Tree::Node::Kind::kFile) return ENOENT;
  std::uint64_t id = 0;
  if (const int result = open_node({target, node, pid, false}, id); result != 0) return result;
  const auto process = simulated_.find(pid);
  if (process == simulated_.end()) {  // ended while its open waited
    close_id(id);
    return ESRCH;
  }
  int descriptor = 3;
  while (process->second.count(descriptor) != 0) ++descriptor;
  process->second[descriptor] = id;
  tree_.add_link(directory_of(pid) + "/fd/" + std::to_string(descriptor), node);
  return 0;
}

int ProcessTable::close(pid_t pid, const std::string& node) {
  const auto process = simulated_.find(pid);
  if (process == simulated_.end()) return ESRCH;
  const auto held = std::find_if(process->second.begin(), process->second.end(),
                                 [&](const auto& entry) { return opens_.at(entry.second).path == node; });
  if (held == process->second.end()) return EBADF;
  const auto [descriptor, id] = *held;
  process->second.erase(held);
  tree_.remove(directory_of(pid) + "/fd/" + std::to_string(descriptor));
  close_id(id);
  return 0;
}

int ProcessTable::end(pid_t pid) {
  const auto process = simulated_.find(pid);
  if (process == simulated_.end()) return ESRCH;
  const auto held = std::move(process->second);
  simulated_.erase(process);
  tree_.remove(directory_of(pid));
  for (const auto& [descriptor, id] : held) close_id(id);
  return 0;
}

std::vector<pid_t> ProcessTable::holders(const std::string& node) const {
  std::vector<pid_t> holders;
  for (const auto& [id, open] : opens_) {
    if (open.path != node) continue;
    if (!opener_is_gone(open)) {
      holders.push_back(open.pid);
    } else {
      for (const pid_t heir : real_holders(node, mount_point_)) holders.push_back(heir);
    }
  }
  std::sort(holders.begin(), holders.end());
  holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
  return holders;
}

void ProcessTable::forget() {
  simulated_.clear();
  opens_.clear();
  last_start_time_ = 0;
}

}  // namespace slicebroker::simhost
