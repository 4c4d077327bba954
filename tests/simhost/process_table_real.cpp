// SPDX-License-Identifier: Apache-2.0
// The real processes of the table.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/simhost/process_table.h"
#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

std::string directory_of(pid_t pid) {
  return "proc/" + std::to_string(pid);
}

}  // namespace

void ProcessTable::add_real(pid_t pid) {
  const auto directory = directory_of(pid) + "/";
  for (const auto* const file : {"comm", "cmdline", "stat", "status", "cgroup"}) {
    tree_.add_file(directory + file, File{.show = [pid, file]() -> Text { return read_real(pid, file); }});
  }
  tree_.add_directory(directory + "fd");
}

pid_t ProcessTable::seen(pid_t thread) {
  if (thread == 0) return 0;
  const auto known = real_.find(thread);
  if (known != real_.end() && known->second.exists()) return thread;
  const pid_t pid = process_of(thread);
  if (pid == 0 || simulated_.count(pid) != 0) return pid;
  drop_dead();
  if (real_.count(pid) != 0 || tree_.exists(directory_of(pid))) return pid;
  real_.emplace(pid, pid);
  add_real(pid);
  return pid;
}

void ProcessTable::drop_if_dead(pid_t pid) {
  const auto process = real_.find(pid);
  if (process == real_.end() || process->second.exists()) return;
  tree_.remove(directory_of(pid));
  real_.erase(process);
}

void ProcessTable::drop_dead() {
  std::vector<pid_t> pids;
  for (const auto& [pid, process] : real_) pids.push_back(pid);
  for (const pid_t pid : pids) drop_if_dead(pid);
}

bool ProcessTable::opener_is_gone(const Open& open) const {
  if (!open.real) return false;
  const auto opener = real_.find(open.pid);
  return opener == real_.end() || !opener->second.exists();
}

void ProcessTable::adopt_heirs() {
  std::vector<pid_t> heirs;
  for (const auto& [id, open] : opens_) {
    if (!opener_is_gone(open)) continue;
    for (const pid_t heir : real_holders(open.path, mount_point_)) heirs.push_back(heir);
  }
  for (const pid_t heir : heirs) seen(heir);
}

void ProcessTable::refresh_descriptors(pid_t pid) {
  const auto directory = directory_of(pid) + "/fd/";
  auto now = open_nodes(pid, mount_point_);
  for (const auto& descriptor : tree_.list(directory_of(pid) + "/fd")) {
    const auto still = now.find(descriptor);
    if (still != now.end() && tree_.find(directory + descriptor)->target == still->second) {
      now.erase(still);
    } else {
      tree_.remove(directory + descriptor);
    }
  }
  for (const auto& [descriptor, target] : now) tree_.add_link(directory + descriptor, target);
}

void ProcessTable::refresh(const std::string& path) {
  constexpr std::string_view kProc = "proc/";
  if (path == "proc") {
    drop_dead();
    adopt_heirs();
  }
  if (!path.starts_with(kProc)) return;
  const auto slash = path.find('/', kProc.size());
  const auto pid = number<pid_t>(path.substr(kProc.size(), slash - kProc.size()));
  if (!pid) return;
  drop_if_dead(*pid);
  if (is_real(*pid) && slash != std::string::npos && path.substr(slash).starts_with("/fd")) refresh_descriptors(*pid);
}

int ProcessTable::open_real(pid_t pid, const std::string& path, const std::shared_ptr<Tree::Node>& node,
                            std::uint64_t& id) {
  return open_node({node, "/" + path, pid, true}, id);
}

void ProcessTable::close_real_if_last(std::uint64_t id) {
  const auto found = opens_.find(id);
  if (found == opens_.end()) return;
  const auto& path = found->second.path;
  const auto opens = std::count_if(opens_.begin(), opens_.end(),
                                   [&](const auto& entry) { return entry.second.real && entry.second.path == path; });
  // The descriptor has left its process's table by now. With fewer descriptors than opens, one of them has none left,
  // and it is this one: the others were not closed.
  if (static_cast<std::ptrdiff_t>(real_holders(path, mount_point_).size()) < opens) close_id(id);
}

}  // namespace slicebroker::simhost
