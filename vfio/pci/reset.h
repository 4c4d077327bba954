// SPDX-License-Identifier: Apache-2.0
// Resets of PCI functions, so that nothing of one user is left in them for the next.
//
// What the kernel does (Documentation/ABI/testing/sysfs-bus-pci; Linux drivers/pci/pci.c, drivers/pci/pci-sysfs.c):
//   reset_method       the ways to reset the function, of device_specific acpi flr af_flr pm bus cxl_bus, in the
//                      order in which they are tried. Neither it nor `reset` is there where none was found with the
//                      function; empty where an administrator has disabled them. What is written there restricts
//                      them until something else is written or the function goes.
//   reset              "1" takes the device's lock, for which it may wait for ever, and tries them until one does not
//                      answer ENOTTY. It waits 60 s for a function that does not come back (PCIE_RESET_READY_POLL_MS).
//   "bus"              resets the bus behind the function's bridge, and only where the function is alone on it. It is
//                      probed before the other functions of a card are found: the first one may list it in vain.
//   reset_subordinate  of a bridge, since Linux 6.13: the same with everything behind the bridge; EAGAIN where a
//                      lock of one of them is taken.
// A driver of the function is told; which of them bear it is the driver's affair. So only what a VFIO driver has, or
// none, is reset here.
//
// NVIDIA has no call for it: NVML 13 (nvml.h) resets clocks and error counters and no GPU. nvidia-smi --gpu-reset needs
// the nvidia driver on the GPU, which a GPU that comes back from a guest is not on. Whether a reset of either kind
// clears a GPU's memory is not documented by NVIDIA: unconfirmed (nvidia.md 5.3).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/host/host.h"

namespace slicebroker::vfio {

// As reset_method has them: "flr bus". Empty: the function can't be reset. Reads only.
Result<std::string> read_reset_methods(const Host& host, const PciAddress& function);

// Why a function can't be reset in a way, as far as can be told beforehand, when nobody drives it; nullopt: it can.
struct ResetOutlook {
  std::optional<std::string> no_function_reset;
  std::optional<std::string> no_bus_reset;
};

// `own` as for reset_bus(); `gone` will not be there any more by then. Reads only.
Result<ResetOutlook> foresee_reset(const Host& host, const PciAddress& function, const std::vector<PciAddress>& own,
                                   const std::vector<PciAddress>& gone);

struct ResetDone {
  std::string how;                    // "function reset (flr)", "bus reset behind 0000:40:01.0"
  std::vector<PciAddress> functions;  // all that it reached
  bool operator==(const ResetDone&) const = default;
};

// Both block for up to four times the host's deadline. Errors: kRefused RESET_NOT_POSSIBLE, nothing was tried; kFailed
// RESET_FAILED, the kernel refused it, or the function does not answer since; kNoAnswer WEDGED or DEVICE_SILENT;
// kHostChanged where reset_method could not be put back; an errno where the host could not be looked at.

// By the first of its methods that works; the kernel does not tell which, so the first is named.
Result<ResetDone> reset_function(const Host& host, const PciAddress& function);

// The whole bus behind the function's bridge, where all that lies there is in `own`. `methods` is reset_method as it
// was before: where it has to be restricted to "bus" meanwhile, that is put back, also when an earlier call did not
// come to that.
Result<ResetDone> reset_bus(const Host& host, const PciAddress& function, const std::string& methods,
                            const std::vector<PciAddress>& own);

}  // namespace slicebroker::vfio
