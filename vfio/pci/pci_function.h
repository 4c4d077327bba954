// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/host/host_root.h"

namespace slicebroker::vfio {

constexpr std::uint16_t kVendorNvidia = 0x10de;

// One PCI function as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci). Of it
// `driver_override` (on Linux 6.1) and `sriov_numvfs` wait for the device's lock, which an unbind may hold for
// ever: read_inventory() outlasts that. `uevent` is not read (see vfio/host/uevent.h).
struct PciFunction {
  PciAddress address;
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint32_t class_code = 0;                 // 24 bits: base class, subclass, programming interface
  std::string modalias;                         // "pci:v000010DEd..."; empty where sysfs has none
  std::optional<std::string> driver;            // nullopt: no driver bound
  std::string driver_override;                  // raw text; "(null)" where none is set
  std::optional<std::uint32_t> iommu_group;     // nullopt: no IOMMU translates for it
  std::vector<std::string> vfio_devices;        // names in vfio-dev/: "vfio0"; kernel 6.1+. None: no VFIO driver
  std::vector<std::string> drm_devices;         // names in drm/: "card0", "renderD128"
  std::optional<std::uint32_t> nvidia_minor;    // N of /dev/nvidiaN, while the nvidia driver holds it
  std::optional<PciAddress> physical_function;  // set on an SR-IOV VF
  std::uint16_t vf_total = 0;                   // sriov_totalvfs; 0: no SR-IOV
  std::uint16_t vf_count = 0;                   // sriov_numvfs
  std::vector<PciAddress> virtual_functions;    // virtfn0, virtfn1 ... in that order
};

// Display controllers (base class 03) and processing accelerators (1200), which are no VF.
bool is_gpu(const PciFunction& function);

// The physical function that a function belongs to: itself, or its PF.
PciAddress gpu_of(const PciFunction& function);

// PCI-to-PCI bridges, class 0604 exactly: the only members of an IOMMU group that need no VFIO driver. Wider would
// pass over NVSwitches (0680).
bool is_bridge(const PciFunction& function);

// Every PCI function, by address. A function that vanishes meanwhile is left out; one whose attributes can't be
// read or make no sense is left out and reported in `problems`. Of one that the root's watch avoids (it is silent),
// what can be read is there. Reads only.
Result<std::vector<PciFunction>> list_pci_functions(const HostRoot& host, std::vector<Error>& problems);

// One function. Errors: kNotFound no such function.
Result<PciFunction> read_pci_function(const HostRoot& host, const PciAddress& address);

// The device nodes by which a process can hold the function: its VFIO group and device, /dev/dri/ nodes
// and /dev/nvidiaN.
std::vector<std::string> device_nodes(const PciFunction& function);

// "sys/bus/pci/devices/0000:41:00.0", with "/leaf" behind it.
std::string pci_path(const PciAddress& address, std::string_view leaf = {});

}  // namespace slicebroker::vfio
