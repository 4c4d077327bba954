// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/base/uuid.h"

namespace slicebroker::hypervisors {

// The form in which a slice or a GPU reaches a guest.
enum class Surface {
  kVendorVf,  // SR-IOV VF that stays on its vendor's driver, which implements VFIO itself
  kMdev,      // mediated device
  kVf,        // plain VF, its whole IOMMU group on vfio-pci
  kGpu,       // physical function, its whole IOMMU group on vfio-pci or a variant driver
};

// "vendor-vf", "mdev", "vf", "gpu": the words of the command line and of JSON.
std::string_view name(Surface surface);
std::optional<Surface> parse_surface(std::string_view text);

// What a hypervisor is told about one device.
struct Attachment {
  std::string id;  // the device's name inside the VMM: letters, digits and '-', unique per host
  Surface surface = Surface::kGpu;
  std::optional<Uuid> mdev;            // surface mdev only
  std::optional<PciAddress> function;  // every other surface: the host function that the guest gets
  std::vector<PciAddress> companions;  // rest of the IOMMU group: bound for VFIO, not given to the guest

  bool operator==(const Attachment&) const = default;
};

}  // namespace slicebroker::hypervisors
