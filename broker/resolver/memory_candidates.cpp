// SPDX-License-Identifier: Apache-2.0
// memory=: the smallest slice that is large enough.
#include <algorithm>
#include <tuple>

#include "broker/resolver/offer.h"
#include "vfio/nvidia/profile_name.h"
#include "vfio/nvidia/vgpu_name.h"

namespace slicebroker::broker {
namespace {

using vfio::nvidia::Gpu;

constexpr std::uint64_t kMib = 1ULL << 20;

// Types of series C and Q run CUDA; A and B are for applications and desktops.
bool for_desktops(const std::string& type_name) {
  const auto name = vfio::nvidia::parse_vgpu_name(type_name);
  return name && (name->series == 'A' || name->series == 'B');
}

// MIG-backed before time-sliced, then the smallest, then what runs CUDA; the rest only makes the order one.
auto preference(const Offer& offer) {
  return std::tuple(!offer.mig_backed(), offer.framebuffer_mib, for_desktops(offer.type_name), offer.type_number,
                    offer.type_id, offer.function->address, offer.surface);
}

// Memory of a whole GPU; where NVML gave none, at least that of its largest part.
std::uint64_t memory_of(const Gpu& gpu) {
  std::uint64_t most = gpu.memory_mib;
  if (most != 0) return most;
  for (const auto& profile : gpu.profiles) most = std::max(most, profile.memory_mib);
  for (const auto& type : gpu.vgpu_types) most = std::max(most, type.framebuffer_mib);
  return most;
}

// GPU instances of a GPU that offers no vGPU at all, so that the reason is told.
void add_unsurfaced(const Context& context, const std::vector<Offer>& offers, std::uint64_t bytes,
                    std::vector<Candidate>& candidates) {
  if (!context.inventory.nvidia) return;
  for (const auto& gpu : context.inventory.nvidia->gpus) {
    const bool has_offers = std::any_of(offers.begin(), offers.end(),
                                        [&](const Offer& offer) { return gpu_of(*offer.function) == gpu.address; });
    if (has_offers) continue;
    auto profiles = gpu.profiles;
    std::sort(profiles.begin(), profiles.end(),
              [](const auto& a, const auto& b) { return std::tie(a.memory_mib, a.id) < std::tie(b.memory_mib, b.id); });
    for (const auto& profile : profiles) {
      if (profile.memory_mib * kMib < bytes || !has_instance_of(gpu, profile.id)) continue;
      candidates.push_back(
          unsurfaced(context, gpu, offers, profile_name(gpu, profile) + " of " + gpu.address.to_string()));
    }
  }
}

std::string largest_text(const Context& context, const std::vector<Offer>& offers) {
  const auto slice = std::max_element(offers.begin(), offers.end(), [](const Offer& a, const Offer& b) {
    return a.framebuffer_mib < b.framebuffer_mib;
  });
  std::string text;
  if (slice != offers.end() && slice->framebuffer_mib != 0) {
    text = "the largest slice is " + slice->type_name + " with " + memory_text(slice->framebuffer_mib * kMib);
  }
  if (!context.inventory.nvidia || context.inventory.nvidia->gpus.empty()) return text;
  const auto& gpus = context.inventory.nvidia->gpus;
  const auto gpu = std::max_element(gpus.begin(), gpus.end(),
                                    [](const Gpu& a, const Gpu& b) { return memory_of(a) < memory_of(b); });
  if (memory_of(*gpu) == 0) return text;
  return text + (text.empty() ? "" : ", ") + "the largest GPU is " + gpu->address.to_string() + " with " +
         memory_text(memory_of(*gpu) * kMib);
}

}  // namespace

Result<std::vector<Candidate>> resolve_memory(const Context& context, const MemorySelector& selector) {
  auto offers = list_offers(context.inventory);
  std::stable_sort(offers.begin(), offers.end(),
                   [](const Offer& a, const Offer& b) { return preference(a) < preference(b); });
  std::vector<Candidate> candidates;
  for (const auto& offer : offers) {
    if (offer.framebuffer_mib * kMib < selector.bytes) continue;
    candidates.push_back(judge(context, offer, std::nullopt, "a vGPU of " + memory_text(offer.framebuffer_mib * kMib)));
  }
  add_unsurfaced(context, offers, selector.bytes, candidates);
  const bool whole_would_do = !whole_gpus_of(context, selector).empty();
  if (!candidates.empty() || (whole_would_do && context.request.fallback == Fallback::kGpu)) return candidates;
  const std::string largest = largest_text(context, offers);
  return fail(names_nothing(
      "memory=" + memory_text(selector.bytes),
      whole_would_do ? "only a whole GPU has so much memory" : "nothing on this host has so much memory",
      (largest.empty() ? "no GPU tells how much memory it has; see: slicebroker list types" : largest) +
          (whole_would_do && context.policy.most_fallback == Fallback::kGpu ? "; to take it: --fallback gpu" : "")));
}

std::vector<Candidate> whole_gpus_of(const Context& context, const MemorySelector& selector) {
  std::vector<const Gpu*> fitting;
  if (context.inventory.nvidia) {
    for (const auto& gpu : context.inventory.nvidia->gpus) {
      if (memory_of(gpu) * kMib >= selector.bytes) fitting.push_back(&gpu);
    }
  }
  std::stable_sort(fitting.begin(), fitting.end(),
                   [](const Gpu* a, const Gpu* b) { return memory_of(*a) < memory_of(*b); });
  std::vector<Candidate> candidates;
  for (const auto* gpu : fitting) {
    const auto* function = context.inventory.find_function(gpu->address);
    if (function == nullptr) continue;
    candidates.push_back(resolve_group(context, *function, hypervisors::Surface::kGpu));
  }
  return candidates;
}

}  // namespace slicebroker::broker
