// SPDX-License-Identifier: Apache-2.0
// Who has a device open: /proc/*/fd against device nodes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/host/host_root.h"

namespace slicebroker::vfio {

// A process that has a device node open.
struct Holder {
  pid_t pid = 0;
  std::string command;    // /proc/<pid>/comm
  std::string node;       // "/dev/vfio/13"
  std::string unit = {};  // systemd's, from /proc/<pid>/cgroup: "nvidia-dcgm.service"; empty where it has none
  bool operator==(const Holder&) const = default;
};

// "pid 4711 (nv-hostengine, nvidia-dcgm.service) has /dev/nvidia0 open".
std::string describe(const Holder& holder);

// Every process with one of VFIO's or NVIDIA's per-device nodes open: /dev/vfio/<group>, /dev/vfio/devices/vfioN,
// /dev/nvidiaN, /dev/dri/cardN and renderDN. A process that ends meanwhile, or that we may not look into, is passed
// over. Reads only.
Result<std::vector<Holder>> list_holders(const HostRoot& host);

// Those that have one of the nodes open.
std::vector<Holder> holders_of(const std::vector<Holder>& holders, const std::vector<std::string>& nodes);

// A process as a fact that outlives it: pids are reused, (pid, start time) is not within one boot.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/<pid>/stat
  bool operator==(const ProcessIdentity&) const = default;
};

// nullopt where there is no such process (or only its zombie).
std::optional<ProcessIdentity> find_process(const HostRoot& host, pid_t pid);

// The children of run_in_child() that outlived the process which made them and have not ended. Reads only.
Result<std::vector<ProcessIdentity>> list_late_writers(const HostRoot& host);

// /proc/sys/kernel/random/boot_id: changes with every boot.
Result<std::string> read_boot_id(const HostRoot& host);

}  // namespace slicebroker::vfio
