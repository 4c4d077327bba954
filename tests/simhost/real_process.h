// SPDX-License-Identifier: Apache-2.0
// What the machine's own /proc says of the processes that use a simulated host. Never follows a link that may lead into
// the mount: the file system must not wait for itself.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "vfio/base/unique_fd.h"

namespace slicebroker::simhost {

// The process that a thread belongs to; 0 where there is none any more.
pid_t process_of(pid_t thread);

// The name of its executable; empty where it has ended.
std::string program_of(pid_t pid);

// A file of its /proc directory, or an errno: ESRCH where the process is gone.
tl::expected<std::string, int> read_real(pid_t pid, const std::string& file);

// Descriptor -> path below the mount point ("/dev/vfio/13") of what it has open there, without what lies outside dev.
std::map<std::string, std::string> open_nodes(pid_t pid, const std::string& mount_point);

// Every process of the machine that has the node open, once for each descriptor.
std::vector<pid_t> real_holders(const std::string& node, const std::string& mount_point);

// The processes to end, outermost first: the process alone, or with those that it is a fork of. Never this one.
enum class Kin { kAlone, kWholeProgram };
void kill_real(pid_t pid, Kin kin);

// One process, told from a later one with its pid.
class RealProcess {
 public:
  explicit RealProcess(pid_t pid);
  bool exists() const;  // its zombie too, as in a real /proc

 private:
  UniqueFd pidfd_;
};

}  // namespace slicebroker::simhost
