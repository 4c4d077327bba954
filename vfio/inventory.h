// SPDX-License-Identifier: Apache-2.0
// One immutable snapshot of what the host has. Planning works on this value and never on the file system.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vfio/claims/claim.h"
#include "vfio/host/holders.h"
#include "vfio/host/host.h"
#include "vfio/mdev/mdev.h"
#include "vfio/nvidia/gpu.h"
#include "vfio/nvidia/vendor_vf.h"
#include "vfio/pci/pci_function.h"
#include "vfio/pci/vfio_variant.h"

namespace slicebroker::vfio {

struct Inventory {
  std::vector<PciFunction> functions;        // by address
  std::vector<MdevType> mdev_types;          // by parent and id
  std::vector<MdevDevice> mdevs;             // by UUID
  std::vector<nvidia::VendorVf> vendor_vfs;  // by address
  std::vector<VfioVariant> vfio_variants;    // by function: GPUs that a driver other than vfio-pci is made for
  std::vector<Holder> holders;
  std::vector<Claim> claims;             // what other tools say is theirs; libvirt's are added by hypervisors/libvirt
  std::vector<Error> claim_problems;     // files of theirs that could not be read; they hide no device
  std::optional<nvidia::Driver> nvidia;  // nullopt: NVML gave no answer
  std::optional<Error> nvml_error;       // why not
  bool vfio_pci_loaded = false;          // the vfio-pci driver is there to be bound
  std::vector<Error> problems;           // what could not be read; everything else is complete

  const PciFunction* find_function(const PciAddress& address) const;
  const MdevDevice* find_mdev(const Uuid& uuid) const;
  const nvidia::VendorVf* find_vendor_vf(const PciAddress& address) const;
  const VfioVariant* find_vfio_variant(const PciAddress& address) const;
  const nvidia::Gpu* find_nvidia_gpu(const PciAddress& address) const;

  // The physical function that a function belongs to; itself where the host has no such function.
  PciAddress gpu_of(const PciAddress& function) const;

  // The other functions of the same IOMMU group, bridges left out (they need no VFIO driver).
  std::vector<const PciFunction*> group_companions(const PciFunction& function) const;

  // Claims that name the very function or mediated device.
  std::vector<const Claim*> claims_on(const PciAddress& function) const;
  std::vector<const Claim*> claims_on(const Uuid& mdev) const;

  // Processes that have one of the device's nodes open (see device_nodes()).
  std::vector<Holder> holders_of(const PciFunction& function) const;
  std::vector<Holder> holders_of(const MdevDevice& device) const;

 private:
  std::vector<const Claim*> claims_on(const std::variant<PciAddress, Uuid>& device) const;
  std::vector<Holder> holders_of(const std::vector<std::string>& nodes) const;
};

// Reads the whole host. Changes nothing. NVML opens every GPU, which is why it is closed again before this returns.
// Errors: only where nothing can be told at all (no /sys/bus/pci).
Result<Inventory> read_inventory(const Host& host);

}  // namespace slicebroker::vfio
