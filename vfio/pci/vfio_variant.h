// SPDX-License-Identifier: Apache-2.0
// VFIO drivers made for one device model (nvgrace-gpu, mlx5, xe ...), which vfio-pci can't stand in for: on GH200
// vfio-pci gives the guest no coherent memory (nvidia.md 5.4). Reads only.
//
// Source: Linux commit cc6711b0bf36 ("PCI / VFIO: Add 'override_only' support for VFIO PCI sub system"): such a driver
// has aliases "vfio_pci:..." in modules.alias, the one with the fewest wildcards is the best, and vfio_pci's own
// matches everything. Drivers built into the kernel are not listed there and not found.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/pci/pci_function.h"

namespace slicebroker::vfio {

struct VfioVariant {
  PciAddress function;
  std::string driver;   // as /sys/bus/pci/drivers calls it; not loaded: the module's name
  bool loaded = false;  // it is there to be bound
  bool operator==(const VfioVariant&) const = default;
};

// One "alias vfio_pci:PATTERN MODULE" of modules.alias.
struct VfioAlias {
  std::string pattern;  // "vfio_pci:v000010DEd00002342sv*sd*bc*sc*i*"
  std::string module;   // "nvgrace_gpu_vfio_pci"
};
std::vector<VfioAlias> parse_vfio_aliases(std::string_view modules_alias);

// The module of the most specific alias that matches a modalias "pci:v..."; of equals the first. nullopt where none
// does or the best is vfio_pci itself.
std::optional<std::string> best_vfio_module(const std::vector<VfioAlias>& aliases, std::string_view modalias);

// The variants of display controllers and accelerators, VFs included, by function. No other function is looked up, and
// the host's modules.alias is read only where there is such a function. Empty where the host has no modules.alias.
Result<std::vector<VfioVariant>> list_vfio_variants(const HostRoot& host, const std::vector<PciFunction>& functions);

}  // namespace slicebroker::vfio
