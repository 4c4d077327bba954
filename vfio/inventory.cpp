// SPDX-License-Identifier: Apache-2.0
#include "vfio/inventory.h"

#include <algorithm>
#include <string_view>

#include "vfio/base/text.h"
#include "vfio/host/ask_child.h"
#include "vfio/inventory_wire.h"
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
void read_nvidia(const Host& host, Inventory& inventory) {
  const auto nvml = nvidia::Nvml::open(host.nvml_library, host.watch);
  if (!nvml) {
    inventory.nvml_error = nvml.error();
    if (nvml.error().code == ErrorCode::kNoAnswer) inventory.problems.push_back(nvml.error());
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

std::vector<Holder> Inventory::holders_of(const PciFunction& function) const {
  return vfio::holders_of(holders, device_nodes(function));
}

std::vector<Holder> Inventory::holders_of(const MdevDevice& device) const {
  return vfio::holders_of(holders, device_nodes(device));
}

const Silence* Inventory::find_silence(const PciFunction& function, Extent extent) const {
  const auto concerns = [&](const Silence& silence) {
    if (!silence.device) return false;
    if (*silence.device == function.address || *silence.device == vfio::gpu_of(function)) return true;
    return extent == Extent::kWithParts && gpu_of(*silence.device) == function.address;
  };
  const auto at = std::find_if(silences.begin(), silences.end(), concerns);
  return at == silences.end() ? nullptr : &*at;
}

namespace {

Result<Inventory> read_all(const Host& host) {
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
  read_nvidia(host, inventory);
  return inventory;
}

// The function that something silent belongs to.
std::optional<PciAddress> function_of(const HostRoot& root, std::string_view what) {
  const auto device = device_in(what);
  if (const auto address = PciAddress::parse(device)) return address;
  const auto uuid = Uuid::parse(device);
  return uuid ? find_mdev_parent(root, *uuid).value_or(std::nullopt) : std::nullopt;
}

}  // namespace

Result<Inventory> read_inventory(const Host& host) {
  constexpr int kSilencesAtLeast = 8;
  const auto longest = std::max(host.deadline, kSilencesAtLeast * host.patience);
  const auto start = std::chrono::steady_clock::now();
  Watch watch;
  std::vector<Silence> silences;
  std::vector<Error> problems;
  while (true) {
    auto inventory = answer_of<Inventory>(host, watch, Purpose::kLook, read_all);
    if (inventory) {
      inventory->silences = std::move(silences);
      // Each is told once, with what is known of it here.
      std::erase_if(inventory->problems, [](const Error& problem) { return problem.reason == "DEVICE_SILENT"; });
      inventory->problems.insert(inventory->problems.begin(), problems.begin(), problems.end());
      return inventory;
    }
    const bool sysfs = inventory.error().reason == "DEVICE_SILENT";
    if (find_silence(inventory.error()) == nullptr) return inventory;
    if (sysfs && std::chrono::steady_clock::now() - start >= longest) return inventory;
    const auto what = watch.look().what;
    // NVML's silences are told by read_driver() itself, which knows the GPU.
    if (sysfs) problems.push_back(inventory.error());
    silences.push_back({inventory.error().subject, function_of(host.root, what), inventory.error().stuck});
    watch.avoid(what);
  }
}

}  // namespace slicebroker::vfio
