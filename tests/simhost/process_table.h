// SPDX-License-Identifier: Apache-2.0
// proc/<pid> of the tree, and who has which device node open.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simhost/processes.h"
#include "tests/simhost/real_process.h"
#include "tests/simhost/tree.h"

namespace slicebroker::simhost {

// Not locked: callers hold the host's lock.
class ProcessTable final : public Processes {
 public:
  using MakeCaller = std::function<std::unique_ptr<Caller>(pid_t)>;
  ProcessTable(Tree& tree, MakeCaller make_caller);

  int start(const SimulatedProcess& process) override;
  int open(pid_t pid, const std::string& node) override;
  int close(pid_t pid, const std::string& node) override;
  int end(pid_t pid) override;
  std::vector<pid_t> holders(const std::string& node) const override;

  // Where real processes see the host.
  void set_mount_point(std::string path) { mount_point_ = std::move(path); }
  // A request came from this thread: its process, which appears in proc from now on. 0 where it can't be known.
  pid_t seen(pid_t thread);
  bool is_real(pid_t pid) const { return real_.count(pid) != 0; }
  // Brings proc up to date as far as somebody is about to look at `path`.
  void refresh(const std::string& path);

  // An open of a device node by a real process: 0 or an errno, and the number to close it by.
  int open_real(pid_t pid, const std::string& path, const std::shared_ptr<Tree::Node>& node, std::uint64_t& id);
  void close_real(std::uint64_t id) { close_id(id); }
  // One of its descriptors is being closed: the kernel waits for this, and not for its report of the last close. If it
  // must have been the last, the node is closed now.
  void close_real_if_last(std::uint64_t id);

  // A reboot: simulated processes and open nodes are gone, and nobody is told.
  void forget();

 private:
  struct Open {
    std::shared_ptr<Tree::Node> node;
    std::string path;  // "/dev/vfio/13"
    pid_t pid = 0;
    bool real = false;
  };

  int open_node(Open open, std::uint64_t& id);
  void close_id(std::uint64_t id);
  void add_simulated(const SimulatedProcess& process);
  void add_real(pid_t pid);
  void drop_if_dead(pid_t pid);
  void drop_dead();
  bool opener_is_gone(const Open& open) const;
  void adopt_heirs();  // children that inherited an open of a process that is gone
  void refresh_descriptors(pid_t pid);

  Tree& tree_;
  MakeCaller make_caller_;
  std::string mount_point_;
  std::map<pid_t, std::map<int, std::uint64_t>> simulated_;  // pid -> descriptor -> open
  std::map<pid_t, RealProcess> real_;
  std::map<std::uint64_t, Open> opens_;
  std::uint64_t last_open_ = 0;
  std::uint64_t last_start_time_ = 0;
};

}  // namespace slicebroker::simhost
