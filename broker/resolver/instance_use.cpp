// SPDX-License-Identifier: Apache-2.0
// Who is on which GPU instance.
#include <algorithm>
#include <set>

#include "broker/resolver/offer.h"

namespace slicebroker::broker {
namespace {

using vfio::nvidia::Gpu;

using LeaseId = std::pair<std::string, std::int64_t>;

LeaseId id_of(const Hold& hold) {
  return {hold.owner, hold.generation};
}

std::string who(const Hold& hold) {
  if (hold.kind == HoldKind::kQuarantine) return "quarantined";
  if (hold.kind == HoldKind::kForeign) return hold.owner;
  return hold.generation == kThisRequest ? "an earlier selector of this request"
                                         : hold.owner + " by lease " + std::to_string(hold.generation);
}

// Leases of any instance of the profile that are not on one of `settled`: their vGPU is still to be made.
std::vector<std::string> awaited_by(const Context& context, const PciAddress& gpu, std::uint32_t profile,
                                    const std::set<LeaseId>& settled) {
  std::string prefix = any_instance_key(gpu, profile, 0);
  prefix.pop_back();
  std::vector<std::string> texts;
  for (const auto& hold : context.holds) {
    if (hold.leased.device.starts_with(prefix) && !settled.contains(id_of(hold))) texts.push_back(who(hold));
  }
  return texts;
}

}  // namespace

std::optional<Occupant> find_occupant(const Context& context, const PciAddress& gpu, std::uint32_t instance) {
  const auto on_gpu = [&](const std::optional<PciAddress>& function) {
    return function && context.inventory.gpu_of(*function) == gpu;
  };
  for (const auto& mdev : context.inventory.mdevs) {
    if (mdev.gpu_instance_id == instance && on_gpu(mdev.parent)) {
      return Occupant{device_key(mdev.uuid), "mediated device " + mdev.uuid.to_string() + " runs on it"};
    }
  }
  for (const auto& vf : context.inventory.vendor_vfs) {
    if (vf.current_type != 0 && vf.gpu_instance_id == instance && on_gpu(vf.address)) {
      return Occupant{device_key(vf.address), "the vGPU of VF " + vf.address.to_string() + " runs on it"};
    }
  }
  if (const auto* nvidia = context.inventory.find_nvidia_gpu(gpu)) {
    for (const auto& vgpu : nvidia->active_vgpus) {
      if (vgpu.gpu_instance_id == instance) return Occupant{"", "NVML lists a vGPU on it"};
    }
  }
  return std::nullopt;
}

bool has_instance_of(const Gpu& gpu, std::uint32_t profile) {
  return std::any_of(gpu.instances.begin(), gpu.instances.end(),
                     [&](const auto& instance) { return instance.profile_id == profile; });
}

ProfileUse find_use(const Context& context, const Gpu& gpu, std::uint32_t profile) {
  ProfileUse use;
  std::set<LeaseId> settled;
  for (const auto& instance : gpu.instances) {
    if (instance.profile_id != profile) continue;
    const auto* hold = context.hold_on(gpu_instance_key(gpu.address, instance.id));
    const auto occupant = find_occupant(context, gpu.address, instance.id);
    if (hold == nullptr && occupant) hold = context.hold_on(occupant->device);
    if (hold != nullptr) settled.insert(id_of(*hold));
    if (hold == nullptr && !occupant) {
      use.free.push_back(instance.id);
    } else {
      use.users.push_back("GI " + std::to_string(instance.id) + ": " + (hold != nullptr ? who(*hold) : occupant->text));
    }
  }
  use.awaited = awaited_by(context, gpu.address, profile, settled);
  return use;
}

}  // namespace slicebroker::broker
