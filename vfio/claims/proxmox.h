// SPDX-License-Identifier: Apache-2.0
// Proxmox VE's PCI devices: the reservations of VMs that run or start (/run/qemu-server/pci-id-reservations) and the
// hostpci lines of VMs (/etc/pve/qemu-server/<vmid>.conf). Source: qemu-server src/PVE/QemuServer/PCI.pm. Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/base/error.h"
#include "vfio/base/pci_address.h"

namespace slicebroker::vfio {

struct ProxmoxReservation {
  PciAddress function;
  std::uint32_t vm = 0;
  std::optional<std::uint32_t> pid = {};      // of a VM that runs: void when that process is gone
  std::optional<std::uint64_t> expires = {};  // of a VM that starts: seconds since 1970
  bool operator==(const ProxmoxReservation&) const = default;
};

// Lines "0000:41:00.0 101 pid:4711" and "0000:41:00.0 101 time:1763640000". A line that is none is a problem; one that
// begins with an address is a reservation all the same, without pid and end.
std::vector<ProxmoxReservation> parse_proxmox_reservations(std::string_view text, std::vector<Error>& problems);

struct ProxmoxHostpci {
  std::string key;  // "hostpci0"
  std::vector<PciAddress> functions;
  bool operator==(const ProxmoxHostpci&) const = default;
};

// The hostpci lines of a VM as it is configured now, not of its snapshots: "hostpci0: 0000:41:00.0;41:00.1,pcie=1". An
// address without a function means the whole slot. A device by mapping= is not told here: pci.cfg of the cluster has
// it.
std::vector<ProxmoxHostpci> parse_proxmox_config(std::string_view text, std::vector<Error>& problems);

}  // namespace slicebroker::vfio
