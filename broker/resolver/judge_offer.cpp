// SPDX-License-Identifier: Apache-2.0
// One vGPU type at one function: may it be made there, and what is to be done for it.
#include <algorithm>

#include "broker/resolver/offer.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/profile_name.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;

// Rejects a candidate whose GPU instance is leased or in use; whether it is free.
bool check_instance(const Context& context, const PciAddress& gpu, std::uint32_t instance, Candidate& candidate) {
  const auto* hold = context.hold_on(gpu_instance_key(gpu, instance));
  const auto occupant = find_occupant(context, gpu, instance);
  if (hold == nullptr && occupant) hold = context.hold_on(occupant->device);
  if (hold != nullptr) {
    candidate = leased(candidate, *hold);
  } else if (occupant) {
    candidate = rejected(candidate, reasons::kSliceInUse, occupant->text);
  }
  return candidate.accepted();
}

// Rejects a candidate for which no GPU instance is left. A GPU instance is given to one lease only: on some GPUs
// several vGPUs may share one (nvidia.md 2.2), and then it isolates them no longer in hardware.
bool check_any_instance(const Context& context, const Offer& offer, Candidate& candidate) {
  const auto* gpu = context.inventory.find_nvidia_gpu(gpu_of(*offer.function));
  if (gpu == nullptr || !offer.gpu_instance_profile_id) return true;
  auto use = find_use(context, *gpu, *offer.gpu_instance_profile_id);
  if (use.free.size() > use.awaited.size() || (use.free.empty() && use.users.empty())) return true;
  for (const auto& lease : use.awaited) use.users.push_back("one for " + lease);
  candidate = rejected(candidate, reasons::kInstancesTaken, join(use.users, ", "));
  return false;
}

// Rejects a candidate for any instance of a profile while one of them is quarantined or another tool's: NVIDIA's driver
// picks the instance, and could pick that one.
bool check_profile(const Context& context, const Offer& offer, Candidate& candidate) {
  const auto* gpu = context.inventory.find_nvidia_gpu(gpu_of(*offer.function));
  if (gpu == nullptr || !offer.gpu_instance_profile_id) return true;
  for (const auto& instance : gpu->instances) {
    if (instance.profile_id != *offer.gpu_instance_profile_id) continue;
    const auto* hold = context.hold_on(gpu_instance_key(gpu->address, instance.id));
    if (hold == nullptr || hold->kind == HoldKind::kLease) continue;
    candidate = leased(candidate, *hold);
    return false;
  }
  return true;
}

// Rejects a candidate whose function is leased, busy or held; whether it is free.
bool check_function(const Context& context, const Offer& offer, Candidate& candidate) {
  const auto& function = *offer.function;
  if (const auto* hold = context.hold_on(device_key(gpu_of(function)))) {
    candidate = leased(candidate, *hold);
    return false;
  }
  if (const auto* hold = context.hold_on(device_key(function.address))) {
    candidate = leased(candidate, *hold);
    return false;
  }
  // A mediated device is in a group of its own; a VF is in one with its companions.
  const auto* fence =
      offer.surface == Surface::kVendorVf ? context.fence_on(context.inventory.group_companions(function)) : nullptr;
  if (fence != nullptr) {
    candidate = leased(candidate, *fence);
    return false;
  }
  const auto* vendor = context.inventory.find_vendor_vf(function.address);
  if (vendor != nullptr && vendor->current_type != 0) {
    candidate = rejected(candidate, reasons::kVfInUse, "its vGPU type is " + std::to_string(vendor->current_type));
    return false;
  }
  if (function.physical_function) {  // a VF carries one vGPU; a physical function of older cards carries several
    for (const auto& mdev : context.inventory.mdevs) {
      if (mdev.parent != function.address) continue;
      const auto* hold = context.hold_on(device_key(mdev.uuid));
      candidate = hold != nullptr ? leased(candidate, *hold)
                                  : rejected(candidate, reasons::kVfInUse,
                                             "it carries the mediated device " + mdev.uuid.to_string());
      return false;
    }
  }
  if (offer.surface == Surface::kVendorVf) {
    if (const auto holders = context.inventory.holders_of(function); !holders.empty()) {
      candidate = rejected(candidate, reasons::kHeldByProcess, holder_text(holders));
      return false;
    }
  }
  return true;
}

// Rejects a mediated device whose UUID, agreed before, is somebody's by now; whether it is free.
bool check_uuid(const Context& context, const Offer& offer, Candidate& candidate) {
  if (offer.surface != Surface::kMdev) return true;
  const Uuid& uuid = context.request.mdev_uuid;
  if (const auto* hold = context.hold_on(device_key(uuid))) {
    candidate = leased(candidate, *hold);
  } else if (context.inventory.find_mdev(uuid) != nullptr) {
    candidate = rejected(candidate, reasons::kMdevUuidTaken, uuid.to_string() + " exists");
  }
  return candidate.accepted();
}

bool is_agreed_device(const Request& request, const Offer& offer) {
  if (request.only_function) {
    return offer.surface == Surface::kVendorVf && request.only_function == offer.function->address;
  }
  return !request.only_mdev || offer.surface == Surface::kMdev;
}

// Mediated devices that leases are still to make at the offer's parent: each takes one of what is available. A VF needs
// no such count, since it carries one vGPU only.
std::size_t awaited_mdevs(const Context& context, const Offer& offer) {
  constexpr std::string_view kPrefix = "mdev:";
  if (offer.surface != Surface::kMdev || offer.function->physical_function) return 0;
  return static_cast<std::size_t>(std::count_if(context.holds.begin(), context.holds.end(), [&](const Hold& hold) {
    if (hold.kind != HoldKind::kLease) return false;
    if (hold.leased.gpu != offer.function->address || !hold.leased.device.starts_with(kPrefix)) return false;
    const auto uuid = Uuid::parse(std::string_view(hold.leased.device).substr(kPrefix.size()));
    return uuid && context.inventory.find_mdev(*uuid) == nullptr;
  }));
}

// The first that no lease has.
std::string free_key(const Context& context, const PciAddress& gpu, std::uint32_t profile) {
  for (std::size_t n = 0;; ++n) {
    const std::string key = any_instance_key(gpu, profile, n);
    if (context.hold_on(key) == nullptr) return key;
  }
}

Plan plan_for(const Context& context, const Offer& offer, std::optional<std::uint32_t> instance) {
  const PciAddress address = offer.function->address;
  const PciAddress gpu = gpu_of(*offer.function);
  Plan plan;
  plan.attachment.surface = offer.surface;
  if (offer.surface == Surface::kMdev) {
    const Uuid uuid = context.request.mdev_uuid;
    plan.steps.push_back(vfio::CreateMdev{address, offer.type_id, uuid, instance});
    plan.attachment.mdev = uuid;
    plan.devices.push_back({device_key(uuid), gpu});
  } else {
    plan.steps.push_back(vfio::AssignVgpuType{address, offer.type_number, instance});
    plan.attachment.function = address;
  }
  // A VF carries one vGPU only, whatever the framework.
  if (offer.function->physical_function) plan.devices.push_back({device_key(address), gpu});
  if (instance) {
    plan.devices.push_back({gpu_instance_key(gpu, *instance), gpu});
  } else if (offer.gpu_instance_profile_id) {
    plan.devices.push_back({free_key(context, gpu, *offer.gpu_instance_profile_id), gpu});
  }
  return plan;
}

std::string by_name_text(const Context& context, const Offer& offer) {
  if (!offer.profile_by_name) return "";
  return ", which is " + *offer.profile_by_name + " by its name; NVML " +
         (context.inventory.nvidia ? "does not tell of the GPU" : "is absent");
}

// The driver picks the GPU instance (nvidia.md 2.2), so an exact one is sure only where no other is free.
std::string note_for(const Context& context, const Offer& offer, std::optional<std::uint32_t> instance) {
  const auto* gpu = context.inventory.find_nvidia_gpu(gpu_of(*offer.function));
  if (!instance || gpu == nullptr || !offer.gpu_instance_profile_id) return "";
  const auto free = find_use(context, *gpu, *offer.gpu_instance_profile_id).free.size();
  if (free < 2) return "";
  return "the driver picks one of " + std::to_string(free) + " free GPU instances of " +
         profile_name(*gpu, *offer.gpu_instance_profile_id) + "; should it not be GI " + std::to_string(*instance) +
         ", that is undone and refused";
}

}  // namespace

Candidate judge(const Context& context, const Offer& offer, std::optional<std::uint32_t> instance,
                const std::string& slice) {
  Candidate candidate;
  candidate.surface = offer.surface;
  candidate.device = offer.function->address.to_string();
  candidate.slice = slice + " as " + offer.type_name + by_name_text(context, offer);
  candidate.isolation = offer.mig_backed() ? Isolation::kHardware : Isolation::kTimeSliced;
  if (!check_permitted(context, *offer.function, candidate)) return candidate;
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, offer.type_name + " is time-sliced");
  }
  if (!is_agreed_device(context.request, offer)) {
    return rejected(candidate, reasons::kNotTheAgreedDevice, "the XML does not name it");
  }
  if (instance && !check_instance(context, gpu_of(*offer.function), *instance, candidate)) return candidate;
  if (!instance && !check_profile(context, offer, candidate)) return candidate;
  if (!check_any_instance(context, offer, candidate)) return candidate;
  if (!check_function(context, offer, candidate) || !check_uuid(context, offer, candidate)) return candidate;
  if (offer.available <= awaited_mdevs(context, offer)) return no_capacity(context, offer, std::move(candidate));
  candidate.plan = plan_for(context, offer, instance);
  candidate.note = note_for(context, offer, instance);
  return candidate;
}

}  // namespace slicebroker::broker
