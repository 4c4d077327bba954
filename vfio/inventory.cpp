// SPDX-License-Identifier: Apache-2.0
#include "vfio/inventory.h"

#include <algorithm>
#include <string_view>

#include "vfio/nvidia/nvml.h"

namespace slicebroker::vfio {
namespace {

// The element whose `key` member equals `value`, or nullptr.
template <class T, class Key, class Value>
const T* find_by(const std::vector<T>& values, Key key, const Value& value) {
  const auto at = std::find_if(values.begin(), values.end(), [&](const T& element) { return element.*key == value; });
  return at == values.end() ? nullptr : &*at;
}

void read_vendor_vfs(const HostRoot& host, Inventory& inventory) {
  for (const auto& function : inventory.functions) {
    if (!function.physical_function || function.vendor != kVendorNvidia) continue;
    auto state = nvidia::find_vendor_vf(host, function.address);
    if (!state) {
      inventory.problems.push_back(
          caused_by("read vGPU state of VF", function.address.to_string(), std::move(state).error()));
    } else if (*state) {
      inventory.vendor_vfs.push_back(**std::move(state));
    }
  }
}

void read_variants(const HostRoot& host, Inventory& inventory) {
  auto variants = list_vfio_variants(host, inventory.functions);
  if (variants) {
    inventory.vfio_variants = *std::move(variants);
  } else {
    inventory.problems.push_back(caused_by("look for VFIO drivers", "modules.alias", std::move(variants).error()));
  }
}

// Holders come before NVML: an open NVML would list this very process as a holder of every GPU.
void read_nvidia(const std::string& library, Inventory& inventory) {
  const auto nvml = nvidia::Nvml::open(library);
  if (!nvml) {
    inventory.nvml_error = nvml.error();
    return;
  }
  auto driver = nvml->read_driver();
  if (!driver) {
    inventory.nvml_error = std::move(driver).error();
    return;
  }
  inventory.nvidia = *std::move(driver);
  inventory.problems.insert(inventory.problems.end(), inventory.nvidia->problems.begin(),
                            inventory.nvidia->problems.end());
}

}  // namespace

const PciFunction* Inventory::find_function(const PciAddress& address) const {
  return find_by(functions, &PciFunction::address, address);
}

const MdevDevice* Inventory::find_mdev(const Uuid& uuid) const {
  return find_by(mdevs, &MdevDevice::uuid, uuid);
}

const nvidia::VendorVf* Inventory::find_vendor_vf(const PciAddress& address) const {
  return find_by(vendor_vfs, &nvidia::VendorVf::address, address);
}

const VfioVariant* Inventory::find_vfio_variant(const PciAddress& address) const {
  return find_by(vfio_variants, &VfioVariant::function, address);
}

const nvidia::Gpu* Inventory::find_nvidia_gpu(const PciAddress& address) const {
  return nvidia ? find_by(nvidia->gpus, &nvidia::Gpu::address, address) : nullptr;
}

PciAddress Inventory::gpu_of(const PciAddress& function) const {
  const auto* found = find_function(function);
  return found != nullptr ? vfio::gpu_of(*found) : function;
}

std::vector<const PciFunction*> Inventory::group_companions(const PciFunction& function) const {
  std::vector<const PciFunction*> companions;
  if (!function.iommu_group) return companions;
  for (const auto& other : functions) {
    if (other.iommu_group == function.iommu_group && other.address != function.address && !is_bridge(other)) {
      companions.push_back(&other);
    }
  }
  return companions;
}

std::vector<const Claim*> Inventory::claims_on(const std::variant<PciAddress, Uuid>& device) const {
  std::vector<const Claim*> found;
  for (const auto& claim : claims) {
    if (claim.device == device) found.push_back(&claim);
  }
  return found;
}

std::vector<const Claim*> Inventory::claims_on(const PciAddress& function) const {
  return claims_on(std::variant<PciAddress, Uuid>(function));
}

std::vector<const Claim*> Inventory::claims_on(const Uuid& mdev) const {
  return claims_on(std::variant<PciAddress, Uuid>(mdev));
}

std::vector<Holder> Inventory::holders_of(const std::vector<std::string>& nodes) const {
  std::vector<Holder> found;
  for (const auto& holder : holders) {
    if (std::find(nodes.begin(), nodes.end(), holder.node) != nodes.end()) found.push_back(holder);
  }
  return found;
}

std::vector<Holder> Inventory::holders_of(const PciFunction& function) const {
  return holders_of(device_nodes(function));
}

std::vector<Holder> Inventory::holders_of(const MdevDevice& device) const {
  return holders_of(device_nodes(device));
}

Result<Inventory> read_inventory(const Host& host) {
  const HostRoot& root = host.root;
  Inventory inventory;
  SLICEBROKER_TRY(inventory.functions, list_pci_functions(root, inventory.problems));
  SLICEBROKER_TRY(inventory.mdev_types, list_mdev_types(root, inventory.problems));
  SLICEBROKER_TRY(inventory.mdevs, list_mdev_devices(root, inventory.problems));
  read_vendor_vfs(root, inventory);
  read_variants(root, inventory);
  SLICEBROKER_TRY(inventory.holders, list_holders(root));
  inventory.claims = list_claims(root, inventory.claim_problems);
  SLICEBROKER_TRY(inventory.vfio_pci_loaded, root.is_there("sys/bus/pci/drivers/vfio-pci"));
  read_nvidia(host.nvml_library, inventory);
  return inventory;
}

}  // namespace slicebroker::vfio
