// SPDX-License-Identifier: Apache-2.0
// Why a driver offers none of a type: its own answer is only a 0, and the reason lies in the state of the GPU.
#include <algorithm>

#include "broker/resolver/offer.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/profile_name.h"

namespace slicebroker::broker {
namespace {

using vfio::nvidia::Gpu;
using vfio::nvidia::MigMode;
using vfio::nvidia::VgpuType;

const VgpuType* find_type(const Gpu& gpu, std::uint32_t number) {
  const auto at =
      std::find_if(gpu.vgpu_types.begin(), gpu.vgpu_types.end(), [&](const auto& type) { return type.id == number; });
  return at == gpu.vgpu_types.end() ? nullptr : &*at;
}

// The types of the vGPUs on a GPU, as sysfs and NVML tell.
std::vector<std::uint32_t> resident_types(const vfio::Inventory& inventory, const Gpu& gpu) {
  constexpr std::string_view kNvidia = "nvidia-";
  std::vector<std::uint32_t> types;
  for (const auto& vgpu : gpu.active_vgpus) types.push_back(vgpu.type_id);
  for (const auto& vf : inventory.vendor_vfs) {
    if (vf.current_type != 0 && inventory.gpu_of(vf.address) == gpu.address) types.push_back(vf.current_type);
  }
  for (const auto& mdev : inventory.mdevs) {
    if (!mdev.parent || inventory.gpu_of(*mdev.parent) != gpu.address || !mdev.type_id.starts_with(kNvidia)) continue;
    const auto number = parse_number<std::uint32_t>(std::string_view(mdev.type_id).substr(kNvidia.size()));
    if (number) types.push_back(*number);
  }
  return types;
}

// A time-sliced vGPU of another framebuffer size than the offer's, on a GPU that takes one size only.
const VgpuType* other_size_resident(const vfio::Inventory& inventory, const Gpu& gpu, const Offer& offer) {
  if (gpu.vgpu_heterogeneous.value_or(false) || offer.framebuffer_mib == 0) return nullptr;
  for (const auto number : resident_types(inventory, gpu)) {
    const auto* type = find_type(gpu, number);
    const bool time_sliced = type != nullptr && !type->gpu_instance_profile_id;
    if (time_sliced && type->framebuffer_mib != 0 && type->framebuffer_mib != offer.framebuffer_mib) return type;
  }
  return nullptr;
}

// What nvidia-smi takes for a profile: a name that the driver gave, else the id.
std::string profile_argument(const Gpu& gpu, std::uint32_t id) {
  for (const auto& profile : gpu.profiles) {
    if (profile.id == id && !profile.name.empty()) return profile.name;
  }
  return std::to_string(id);
}

}  // namespace

Candidate no_gpu_instance(const Gpu& gpu, std::uint32_t profile, Candidate candidate) {
  const std::string address = gpu.address.to_string();
  const std::string make = "nvidia-smi mig -i " + address + " -cgi " + profile_argument(gpu, profile) + " -C";
  if (gpu.mig_mode == MigMode::kOff) {
    return rejected(std::move(candidate), reasons::kMigModeOff, "MIG mode of " + address + " is off",
                    "switch it on and make an instance: nvidia-smi -i " + address + " -mig 1 && " + make);
  }
  return rejected(std::move(candidate), reasons::kNoGpuInstance,
                  address + " has no GPU instance of " + profile_name(gpu, profile), "make one: " + make);
}

Candidate no_capacity(const Context& context, const Offer& offer, Candidate candidate) {
  const auto* gpu = context.inventory.find_nvidia_gpu(gpu_of(*offer.function));
  const auto& profile = offer.gpu_instance_profile_id;
  if (gpu != nullptr && profile && !has_instance_of(*gpu, *profile)) {
    return no_gpu_instance(*gpu, *profile, std::move(candidate));
  }
  if (gpu != nullptr && !profile) {
    const std::string address = gpu->address.to_string();
    if (gpu->mig_mode == MigMode::kOn) {
      return rejected(std::move(candidate), reasons::kMigModeOn, "MIG mode of " + address + " is on",
                      "ask for a MIG-backed type, or switch MIG mode off: nvidia-smi -i " + address + " -mig 0");
    }
    if (const auto* resident = other_size_resident(context.inventory, *gpu, offer)) {
      return rejected(std::move(candidate), reasons::kOtherSizeResident,
                      resident->name + " (" + std::to_string(resident->framebuffer_mib) + " MiB) runs on " + address +
                          ", which is not in mixed-size mode",
                      "ask for a type of " + std::to_string(resident->framebuffer_mib) +
                          " MiB, or, when no vGPU runs: nvidia-smi vgpu -i " + address + " -shm 1");
    }
  }
  return rejected(std::move(candidate), reasons::kNoCapacity, "the driver offers no " + offer.type_name + " here");
}

Candidate unsurfaced(const Context& context, const Gpu& gpu, const std::vector<Offer>& offers,
                     const std::string& slice) {
  Candidate candidate;
  candidate.device = gpu.address.to_string();
  candidate.slice = slice;
  const bool any_offer = std::any_of(offers.begin(), offers.end(),
                                     [&](const Offer& offer) { return gpu_of(*offer.function) == gpu.address; });
  if (any_offer) return rejected(candidate, reasons::kNoVgpuType, "the GPU's vGPU types are backed by other profiles");
  if (gpu.vgpu_types.empty()) {
    return rejected(candidate, reasons::kVgpuDriverAbsent, "the driver of " + candidate.device + " lists no vGPU type");
  }
  const auto* function = context.inventory.find_function(gpu.address);
  if (function != nullptr && function->vf_total > 0 && function->vf_count == 0) {
    return rejected(
        candidate, reasons::kVfsNotEnabled,
        "its " + std::to_string(function->vf_total) + " virtual functions are not enabled",
        "enable them, and make the GPU instances again, which that wipes: /usr/lib/nvidia/sriov-manage -e " +
            candidate.device);
  }
  return rejected(candidate, reasons::kMigNotSurfaced,
                  "the GPU has no virtual function or mediated device type for vGPUs");
}

}  // namespace slicebroker::broker
