// SPDX-License-Identifier: Apache-2.0
// /proc/<pid> of a simulated host: processes that exist only there, and the real ones that use the mount. A real
// process appears with its real stat, comm and cmdline; its fd/ holds what it has open of this host's /dev.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace slicebroker::simhost {

struct SimulatedProcess {
  pid_t pid = 0;
  std::string command;                 // comm: at most 15 characters
  std::string unit;                    // systemd unit for cgroup: "nvidia-dcgm.service"; empty: none
  std::vector<std::string> nodes;      // opened at the start: "/dev/nvidia0"
  std::vector<std::string> arguments;  // cmdline; empty: the command alone
};

// Implemented by the front; the model calls it for the processes of a description and of the control file.
class Processes {
 public:
  virtual ~Processes() = default;
  // 0 or an errno: EEXIST pid in use; what opening a node gave.
  virtual int start(const SimulatedProcess& process) = 0;
  virtual int open(pid_t pid, const std::string& node) = 0;
  virtual int close(pid_t pid, const std::string& node) = 0;
  // Closes everything that it has open.
  virtual int end(pid_t pid) = 0;
  // Who has the node open at present, simulated and real.
  virtual std::vector<pid_t> holders(const std::string& node) const = 0;
};

}  // namespace slicebroker::simhost
