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

// Something of the host that did not answer in time and was passed over.
struct Silence {
  std::string what;                  // "/sys/bus/pci/devices/0000:41:00.0/driver_override", "NVML on GPU 0000:41:00.0"
  std::optional<PciAddress> device;  // the function that it belongs to, where that can be told
  std::optional<StuckProcess> process;  // ours, which still waits for the answer
};

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
  // Of a function that is named here only what could be read is set. It is in the list all the same, so that what
  // shares its group or its GPU is not taken for alone.
  std::vector<Silence> silences;

  const PciFunction* find_function(const PciAddress& address) const;
  const MdevDevice* find_mdev(const Uuid& uuid) const;
  const nvidia::VendorVf* find_vendor_vf(const PciAddress& address) const;
  const VfioVariant* find_vfio_variant(const PciAddress& address) const;
  const nvidia::Gpu* find_nvidia_gpu(const PciAddress& address) const;

  // What keeps the function from being judged: a silence of its own or of its physical function; with kWithParts also
  // of its virtual functions and mediated devices. nullptr: all of it has answered.
  enum class Extent { kAlone, kWithParts };
  const Silence* find_silence(const PciFunction& function, Extent extent) const;

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
};

// Reads the whole host. Changes nothing. NVML opens every GPU, which is why it is closed again before this returns.
// Reading is done in a child, which is left behind where the kernel or NVML does not let it go; another one then reads
// what is left: see silences. So this takes about the host's patience longer for each device that is silent, and its
// deadline longer where NVML is. Errors: only where nothing can be told at all (no /sys/bus/pci), and DEVICE_SILENT
// where so much is silent that the host's deadline passed.
Result<Inventory> read_inventory(const Host& host);

}  // namespace slicebroker::vfio
