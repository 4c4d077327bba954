// SPDX-License-Identifier: Apache-2.0
// A host of the model without a mount: its tree, read and written as a kernel would do it for one process, and a small
// language for what a table's cases do.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/simhost/kernel/kernel.h"

namespace slicebroker::simhost {

// Simulated processes that only open nodes.
class NodeOpeners : public Processes {
 public:
  explicit NodeOpeners(Tree& tree) : tree_(tree) {}
  int start(const SimulatedProcess& process) override;
  int open(pid_t pid, const std::string& node) override;
  int close(pid_t pid, const std::string& node) override;
  int end(pid_t pid) override;
  std::vector<pid_t> holders(const std::string& node) const override;

 private:
  Tree& tree_;
  std::vector<std::pair<std::string, std::shared_ptr<Tree::Node>>> open_;
};

class ModelHost {
 public:
  // Of the hosts folder. Throws what is wrong with the description.
  explicit ModelHost(const std::string& name);
  static tl::expected<std::unique_ptr<Kernel>, std::string> boot_text(const std::string& text, Tree& tree);

  Tree& tree() { return tree_; }
  Kernel& kernel() { return *kernel_; }

  // Runs lines of
  //   write PATH VALUE = ERRNO|0    VALUE may be "" and have \n in it
  //   wait PATH VALUE NODE          a write that waits until NODE is closed, which happens then
  //   read PATH = TEXT              without the newline at its end; "errno ENXIO"; TEXT may end with "..."
  //   link PATH = NAME              the last part of its target; "absent" where there is no such entry
  //   exists PATH, absent PATH
  //   open NODE = ERRNO|0, close NODE
  //   command LINE = ok|TEXT        TEXT is a part of what is wrong
  // Paths are below the root, links are followed, and "pci/" stands for sys/bus/pci/devices/. Returns what was not as
  // it should be.
  std::string run(const std::string& lines);

 private:
  class Waiter;
  std::shared_ptr<Tree::Node> resolve(const std::string& path, bool last) const;
  std::string run_line(const std::string& line);
  std::string run_open(bool open, const std::string& node, const std::string& wanted);
  std::string write(const std::string& path, const std::string& value, Caller& caller);
  std::string read(const std::string& path);
  std::string link(const std::string& path);

  Tree tree_;
  NodeOpeners openers_{tree_};
  std::unique_ptr<Kernel> kernel_;
};

std::string read_host_file(const std::string& name);
std::vector<std::string> host_names();

}  // namespace slicebroker::simhost
