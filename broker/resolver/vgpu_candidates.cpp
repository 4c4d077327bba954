// SPDX-License-Identifier: Apache-2.0
// Slices that reach a guest as a vGPU: MIG-backed or time-sliced, as a vendor VF or as a mediated device.
#include <algorithm>
#include <map>

#include "broker/resolver/context.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/vgpu_name.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using vfio::PciFunction;
using vfio::nvidia::Gpu;
using vfio::nvidia::GpuInstance;

// One vGPU type at one function that could carry it.
struct Offer {
  Surface surface = Surface::kMdev;
  const PciFunction* function = nullptr;
  std::string type_id;            // "nvidia-699"; "699" at a vendor VF
  std::uint32_t type_number = 0;  // 699; 0 for a type of another vendor
  std::string type_name;
  std::optional<std::uint32_t> gpu_instance_profile_id;  // set: MIG-backed
  std::uint64_t framebuffer_mib = 0;
  bool available = false;
  std::optional<std::string> profile_by_name = {};  // set: MIG-backed, as its name tells where NVML does not
};

const vfio::nvidia::VgpuType* find_type(const Gpu* gpu, std::uint32_t number) {
  if (gpu == nullptr) return nullptr;
  const auto at =
      std::find_if(gpu->vgpu_types.begin(), gpu->vgpu_types.end(), [&](const auto& type) { return type.id == number; });
  return at == gpu->vgpu_types.end() ? nullptr : &*at;
}

// Where NVML knows the GPU it decides, also against the name; a name that tells nothing leaves the type time-sliced.
void add_nvml_facts(const Gpu* gpu, Offer& offer) {
  if (gpu == nullptr) {
    const auto name = vfio::nvidia::parse_vgpu_name(offer.type_name);
    if (!name) return;
    offer.framebuffer_mib = name->framebuffer_mib();
    offer.profile_by_name = vfio::nvidia::mig_profile_of(*name);
    return;
  }
  const auto* type = find_type(gpu, offer.type_number);
  if (type == nullptr) return;
  offer.type_name = type->name.empty() ? offer.type_name : type->name;
  offer.gpu_instance_profile_id = type->gpu_instance_profile_id;
  offer.framebuffer_mib = type->framebuffer_mib;
}

void add_mdev_offers(const vfio::Inventory& inventory, std::vector<Offer>& offers) {
  constexpr std::string_view kNvidia = "nvidia-";
  for (const auto& type : inventory.mdev_types) {
    const auto* function = inventory.find_function(type.parent);
    if (function == nullptr || type.device_api != "vfio-pci") continue;
    Offer offer{Surface::kMdev,    function, type.id, 0, type.name, {}, type.framebuffer_mib.value_or(0),
                type.available > 0};
    if (type.id.starts_with(kNvidia)) {
      offer.type_number = parse_number<std::uint32_t>(std::string_view(type.id).substr(kNvidia.size())).value_or(0);
      add_nvml_facts(inventory.find_nvidia_gpu(gpu_of(*function)), offer);
    }
    offers.push_back(std::move(offer));
  }
}

// A VF lists only what it could still create, so the types that the GPU supports at all come from NVML.
void add_vendor_offers(const vfio::Inventory& inventory, std::vector<Offer>& offers) {
  for (const auto& vf : inventory.vendor_vfs) {
    const auto* function = inventory.find_function(vf.address);
    if (function == nullptr) continue;
    const auto* gpu = inventory.find_nvidia_gpu(gpu_of(*function));
    std::map<std::uint32_t, Offer> types;
    if (gpu != nullptr) {
      for (const auto& type : gpu->vgpu_types) {
        types[type.id] = {Surface::kVendorVf, function, std::to_string(type.id), type.id, type.name, {}, 0, false};
      }
    }
    for (const auto& type : vf.creatable) {
      types[type.id] = {Surface::kVendorVf, function, std::to_string(type.id), type.id, type.name, {}, 0, true};
    }
    for (auto& [number, offer] : types) {
      add_nvml_facts(gpu, offer);
      offers.push_back(std::move(offer));
    }
  }
}

std::vector<Offer> list_offers(const vfio::Inventory& inventory) {
  std::vector<Offer> offers;
  add_vendor_offers(inventory, offers);
  add_mdev_offers(inventory, offers);
  return offers;
}

// What runs on a GPU instance already.
struct Occupant {
  std::string device;  // lease key of the VF or mediated device; empty where only NVML knows of it
  std::string text;
};

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
  if (instance) plan.devices.push_back({gpu_instance_key(gpu, *instance), gpu});
  return plan;
}

bool has_instance_of(const Gpu& gpu, std::uint32_t profile_id) {
  return std::any_of(gpu.instances.begin(), gpu.instances.end(),
                     [&](const GpuInstance& instance) { return instance.profile_id == profile_id; });
}

std::string by_name_text(const Context& context, const Offer& offer) {
  if (!offer.profile_by_name) return "";
  return ", which is " + *offer.profile_by_name + " by its name; NVML " +
         (context.inventory.nvidia ? "does not tell of the GPU" : "is absent");
}

// Judges one offer. `instance` is set where exactly that GPU instance is wanted.
Candidate judge(const Context& context, const Offer& offer, std::optional<std::uint32_t> instance,
                const std::string& slice) {
  Candidate candidate;
  candidate.surface = offer.surface;
  candidate.device = offer.function->address.to_string();
  candidate.slice = slice + " as " + offer.type_name + by_name_text(context, offer);
  candidate.isolation =
      offer.gpu_instance_profile_id || offer.profile_by_name ? Isolation::kHardware : Isolation::kTimeSliced;
  if (!check_hypervisor(context, *offer.function, candidate)) return candidate;
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, offer.type_name + " is time-sliced");
  }
  if (!is_agreed_device(context.request, offer)) {
    return rejected(candidate, reasons::kNotTheAgreedDevice, "the XML does not name it");
  }
  if (instance && !check_instance(context, gpu_of(*offer.function), *instance, candidate)) return candidate;
  if (!check_function(context, offer, candidate) || !check_uuid(context, offer, candidate)) return candidate;
  const auto* gpu = context.inventory.find_nvidia_gpu(gpu_of(*offer.function));
  if (!offer.available && gpu != nullptr && offer.gpu_instance_profile_id &&
      !has_instance_of(*gpu, *offer.gpu_instance_profile_id)) {
    return rejected(candidate, reasons::kNoGpuInstance, "no GPU instance backs " + offer.type_name);
  }
  if (!offer.available) {
    return rejected(candidate, reasons::kNoCapacity, "the driver offers no " + offer.type_name + " here");
  }
  candidate.plan = plan_for(context, offer, instance);
  return candidate;
}

// At each function the type that takes the most of a GPU instance: a smaller one would leave a part of it idle.
std::vector<Offer> largest_per_function(const std::vector<Offer>& offers) {
  std::vector<Offer> largest;
  for (const auto& offer : offers) {
    const auto at = std::find_if(largest.begin(), largest.end(), [&](const Offer& other) {
      return other.function == offer.function && other.surface == offer.surface;
    });
    if (at == largest.end()) {
      largest.push_back(offer);
    } else if (offer.framebuffer_mib > at->framebuffer_mib) {
      *at = offer;
    }
  }
  return largest;
}

// The candidate that stands for a slice which no function can carry.
Candidate unsurfaced(const Context& context, const Gpu& gpu, const std::vector<Offer>& offers,
                     const std::string& slice) {
  Candidate candidate;
  candidate.device = gpu.address.to_string();
  candidate.slice = slice;
  const bool any_offer = std::any_of(offers.begin(), offers.end(),
                                     [&](const Offer& offer) { return gpu_of(*offer.function) == gpu.address; });
  if (any_offer) return rejected(candidate, reasons::kNoVgpuType, "the GPU's vGPU types are backed by other profiles");
  const auto* function = context.inventory.find_function(gpu.address);
  const bool vfs_off = function != nullptr && function->vf_total > 0 && function->vf_count == 0;
  return rejected(candidate, reasons::kMigNotSurfaced,
                  vfs_off ? "its " + std::to_string(function->vf_total) + " virtual functions are not enabled"
                          : "the GPU has no virtual function or mediated device type for vGPUs");
}

std::vector<Candidate> candidates_for_profile_on(const Context& context, const std::vector<Offer>& offers,
                                                 const Gpu& gpu, std::uint32_t profile_id,
                                                 std::optional<std::uint32_t> instance, const std::string& slice) {
  std::vector<Offer> fitting;
  std::copy_if(offers.begin(), offers.end(), std::back_inserter(fitting), [&](const Offer& offer) {
    return gpu_of(*offer.function) == gpu.address && offer.gpu_instance_profile_id == profile_id;
  });
  std::vector<Candidate> candidates;
  if (fitting.empty()) candidates.push_back(unsurfaced(context, gpu, offers, slice));
  for (const auto& offer : largest_per_function(fitting)) candidates.push_back(judge(context, offer, instance, slice));
  return candidates;
}

std::string known_names(const std::vector<std::string>& known) {
  return known.empty() ? "see: slicebroker list types" : "this host knows " + join(known, ", ");
}

void add_once(std::vector<std::string>& texts, const std::string& text) {
  constexpr std::size_t kMost = 12;
  if (texts.size() < kMost && std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
}

// "nvidia-699", "699", "GRID A100D-1-10C", "A100D-1-10C", in any case.
bool type_matches(const Offer& offer, std::string_view wanted) {
  const std::string text = lower(wanted);
  if (text == lower(offer.type_id) || text == lower(offer.type_name)) return true;
  if (offer.type_number != 0 &&
      (text == std::to_string(offer.type_number) || text == "nvidia-" + std::to_string(offer.type_number))) {
    return true;
  }
  for (const std::string_view prefix : {"nvidia ", "grid "}) {
    const std::string type_name = lower(offer.type_name);
    if (type_name.starts_with(prefix) && type_name.substr(prefix.size()) == text) return true;
  }
  return false;
}

}  // namespace

std::vector<Candidate> resolve_gpu_instance(const Context& context, const Gpu& gpu, const GpuInstance& instance,
                                            const std::string& slice) {
  return candidates_for_profile_on(context, list_offers(context.inventory), gpu, instance.profile_id, instance.id,
                                   slice);
}

Result<std::vector<Candidate>> resolve_profile(const Context& context, const ProfileSelector& selector) {
  std::vector<Candidate> candidates;
  const auto offers = list_offers(context.inventory);
  std::vector<std::string> known;
  for (const auto& gpu : context.inventory.nvidia->gpus) {
    for (const auto& profile : gpu.profiles) {
      if (!profile.name.empty()) add_once(known, profile.name);
      if (lower(profile.name) != selector.name) continue;
      const std::string slice = profile.name + " of " + gpu.address.to_string();
      if (has_instance_of(gpu, profile.id)) {
        auto found = candidates_for_profile_on(context, offers, gpu, profile.id, std::nullopt, slice);
        std::move(found.begin(), found.end(), std::back_inserter(candidates));
        continue;
      }
      Candidate candidate;
      candidate.device = gpu.address.to_string();
      candidate.slice = slice;
      candidates.push_back(rejected(candidate, reasons::kNoGpuInstance, "it has no GPU instance of " + profile.name));
    }
  }
  if (candidates.empty()) {
    return fail(
        names_nothing("profile=" + selector.name, "no GPU of this host has such a MIG profile", known_names(known)));
  }
  return candidates;
}

std::vector<Candidate> resolve_profile_by_name(const Context& context, const ProfileSelector& selector) {
  std::vector<Candidate> candidates;
  for (const auto& offer : list_offers(context.inventory)) {
    if (offer.profile_by_name != selector.name) continue;
    const std::string slice = selector.name + " of " + gpu_of(*offer.function).to_string();
    candidates.push_back(judge(context, offer, std::nullopt, slice));
  }
  return candidates;
}

Result<std::vector<Candidate>> resolve_type(const Context& context, const TypeSelector& selector) {
  std::vector<Candidate> candidates;
  std::vector<std::string> known;
  for (const auto& offer : list_offers(context.inventory)) {
    add_once(known, offer.type_name);
    if (type_matches(offer, selector.name)) candidates.push_back(judge(context, offer, std::nullopt, "a vGPU"));
  }
  if (candidates.empty()) {
    return fail(
        names_nothing("type=" + selector.name, "no device of this host offers such a vGPU type", known_names(known)));
  }
  return candidates;
}

}  // namespace slicebroker::broker
