// SPDX-License-Identifier: Apache-2.0
// Slices that reach a guest as a vGPU: MIG-backed or time-sliced, as a vendor VF or as a mediated device.
#include <algorithm>
#include <map>

#include "broker/request/nearest.h"
#include "broker/resolver/offer.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/profile_name.h"
#include "vfio/nvidia/vgpu_name.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using vfio::PciFunction;
using vfio::nvidia::Gpu;
using vfio::nvidia::GpuInstance;

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
    Offer offer{Surface::kMdev, function, type.id, 0, type.name, {}, type.framebuffer_mib.value_or(0), type.available};
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
        types[type.id] = {Surface::kVendorVf, function, std::to_string(type.id), type.id, type.name, {}, 0, 0};
      }
    }
    for (const auto& type : vf.creatable) {
      types[type.id] = {Surface::kVendorVf, function, std::to_string(type.id), type.id, type.name, {}, 0, 1};
    }
    for (auto& [number, offer] : types) {
      add_nvml_facts(gpu, offer);
      offers.push_back(std::move(offer));
    }
  }
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
  if (known.empty()) return "see: slicebroker list types";
  constexpr std::size_t kMost = 12;
  const std::vector<std::string> first(known.begin(),
                                       known.begin() + static_cast<std::ptrdiff_t>(std::min(known.size(), kMost)));
  return "this host knows " + join(first, ", ");
}

void add_once(std::vector<std::string>& texts, const std::string& text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
}

// "nvidia-699", "699", "GRID A100D-1-10C", "A100D-1-10C", in any case.
bool type_matches(const std::string& type_id, std::uint32_t number, const std::string& type_name,
                  std::string_view wanted) {
  const std::string text = lower(wanted);
  if (text == lower(type_id) || text == lower(type_name)) return true;
  if (number != 0 && (text == std::to_string(number) || text == "nvidia-" + std::to_string(number))) return true;
  for (const std::string_view prefix : {"nvidia ", "grid "}) {
    const std::string folded = lower(type_name);
    if (folded.starts_with(prefix) && folded.substr(prefix.size()) == text) return true;
  }
  return false;
}

// Types that the driver knows of GPUs on which nothing could carry one yet.
std::vector<Candidate> types_without_function(const Context& context, const TypeSelector& selector,
                                              const std::vector<Offer>& offers, std::vector<std::string>& known) {
  std::vector<Candidate> candidates;
  if (!context.inventory.nvidia) return candidates;
  for (const auto& gpu : context.inventory.nvidia->gpus) {
    const bool has_offers = std::any_of(offers.begin(), offers.end(),
                                        [&](const Offer& offer) { return gpu_of(*offer.function) == gpu.address; });
    for (const auto& type : gpu.vgpu_types) {
      add_once(known, type.name);
      if (has_offers || !type_matches("", type.id, type.name, selector.name)) continue;
      auto candidate = unsurfaced(context, gpu, offers, "a vGPU as " + type.name);
      candidate.isolation = type.gpu_instance_profile_id ? Isolation::kHardware : Isolation::kTimeSliced;
      candidates.push_back(std::move(candidate));
    }
  }
  return candidates;
}

std::vector<Candidate> candidates_for_name_on(const Context& context, const ProfileSelector& selector, const Gpu& gpu,
                                              const vfio::nvidia::GpuInstanceProfile& profile,
                                              const std::vector<Offer>& offers) {
  Candidate candidate;
  candidate.device = gpu.address.to_string();
  candidate.slice = selector.name + " of " + candidate.device;
  if (const auto whole = gpu_instance_profile_of(selector); !whole.empty()) {
    return {rejected(candidate, reasons::kComputeInstance, selector.name + " is a compute instance in a " + whole,
                     "ask for the whole GPU instance: profile=" + whole)};
  }
  if (!has_instance_of(gpu, profile.id)) return {no_gpu_instance(gpu, profile.id, candidate)};
  return candidates_for_profile_on(context, offers, gpu, profile.id, std::nullopt, candidate.slice);
}

}  // namespace

std::vector<Offer> list_offers(const vfio::Inventory& inventory) {
  std::vector<Offer> offers;
  add_vendor_offers(inventory, offers);
  add_mdev_offers(inventory, offers);
  return offers;
}

std::vector<Candidate> resolve_gpu_instance(const Context& context, const Gpu& gpu, const GpuInstance& instance,
                                            const std::string& slice) {
  if (const auto count = instance.compute_instances.size(); count > 1) {
    Candidate candidate;
    candidate.device = gpu.address.to_string();
    candidate.slice = slice;
    return {
        rejected(candidate, reasons::kComputeInstance,
                 "it is one of " + std::to_string(count) + " compute instances of GI " + std::to_string(instance.id),
                 "ask for the whole GPU instance: profile=" + profile_name(gpu, instance.profile_id))};
  }
  return candidates_for_profile_on(context, list_offers(context.inventory), gpu, instance.profile_id, instance.id,
                                   slice);
}

Result<std::vector<Candidate>> resolve_profile(const Context& context, const ProfileSelector& selector) {
  std::vector<Candidate> candidates;
  const auto offers = list_offers(context.inventory);
  const std::string whole = gpu_instance_profile_of(selector);
  const std::string& wanted = whole.empty() ? selector.name : whole;
  std::vector<std::string> known;
  for (const auto& gpu : context.inventory.nvidia->gpus) {
    for (const auto& profile : gpu.profiles) {
      const std::string name = profile_name(gpu, profile);
      add_once(known, name);
      if (lower(name) != wanted) continue;
      auto found = candidates_for_name_on(context, selector, gpu, profile, offers);
      std::move(found.begin(), found.end(), std::back_inserter(candidates));
    }
  }
  if (candidates.empty()) {
    return fail(names_nothing("profile=" + selector.name, "no GPU of this host has such a MIG profile",
                              hint_for(selector.name, known, known_names(known))));
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
  const auto offers = list_offers(context.inventory);
  std::vector<Candidate> candidates;
  std::vector<std::string> known;
  for (const auto& offer : offers) {
    add_once(known, offer.type_name);
    if (type_matches(offer.type_id, offer.type_number, offer.type_name, selector.name)) {
      candidates.push_back(judge(context, offer, std::nullopt, "a vGPU"));
    }
  }
  auto others = types_without_function(context, selector, offers, known);
  std::move(others.begin(), others.end(), std::back_inserter(candidates));
  if (!candidates.empty()) return candidates;
  auto names = known;
  for (const auto& offer : offers) {
    add_once(names, offer.type_number != 0 ? "nvidia-" + std::to_string(offer.type_number) : offer.type_id);
  }
  return fail(names_nothing("type=" + selector.name, "no device of this host offers such a vGPU type",
                            hint_for(selector.name, names, known_names(known))));
}

}  // namespace slicebroker::broker
