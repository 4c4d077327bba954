// SPDX-License-Identifier: Apache-2.0
// MIG: which GPU instances and compute instances fit, exist, are used. The same choices as tests/lab/module/mig.c: a
// GPU instance's id follows from its place (0 for the whole GPU, 1-2 for halves, 3-6 for quarters, 7-14 for eighths),
// and where no place is asked for the highest free one is taken.
#include <algorithm>
#include <cerrno>

#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

constexpr int kAnywhere = -1;
constexpr unsigned kMostComputeInstances = 7;

const GiProfile* find_profile(const Gpu& gpu, unsigned id) {
  const auto& profiles = gpu.board().profiles;
  const auto at = std::find_if(profiles.begin(), profiles.end(), [&](const GiProfile& p) { return p.id == id; });
  return at == profiles.end() ? nullptr : &*at;
}

unsigned bits(unsigned size, unsigned start) {
  return ((1U << size) - 1) << start;
}

unsigned used_slices(const Gpu& gpu) {
  unsigned used = 0;
  for (const auto& gi : gpu.instances) {
    if (gi) used |= bits(gi->profile->size, gi->start);
  }
  return used;
}

bool fits(const GiProfile& profile, unsigned used, unsigned start) {
  return (profile.starts >> start & 1U) != 0 && (used & bits(profile.size, start)) == 0;
}

unsigned gi_id(const Gpu& gpu, const GiProfile& profile, unsigned start) {
  const unsigned parts = gpu.board().memory_slices / profile.size;
  return parts - 1 + start / profile.size;
}

}  // namespace

// How many more of a profile could be made now.
unsigned remaining(const Gpu& gpu, const GiProfile& profile) {
  const auto have = std::count_if(gpu.instances.begin(), gpu.instances.end(),
                                  [&](const auto& gi) { return gi && gi->profile == &profile; });
  const unsigned left = profile.max - static_cast<unsigned>(have);
  unsigned used = used_slices(gpu);
  unsigned count = 0;
  for (unsigned start = 8; start-- > 0 && count < left;) {
    if (!fits(profile, used, start)) continue;
    used |= bits(profile.size, start);
    ++count;
  }
  return count;
}

int create_gi(Gpu& gpu, unsigned profile_id, int wanted) {
  const auto* profile = find_profile(gpu, profile_id);
  if (!gpu.mig_mode) return EOPNOTSUPP;
  if (profile == nullptr || wanted > 7 || (wanted >= 0 && (profile->starts >> wanted & 1) == 0)) return EINVAL;
  if (remaining(gpu, *profile) == 0) return ENOSPC;
  const unsigned used = used_slices(gpu);
  unsigned start = wanted > kAnywhere ? static_cast<unsigned>(wanted) : 7;
  if (wanted <= kAnywhere) {
    while (!fits(*profile, used, start)) --start;
  } else if (!fits(*profile, used, start)) {
    return ENOSPC;
  }
  auto gi = std::make_unique<GpuInstance>();
  gi->profile = profile;
  gi->start = start;
  gi->id = gi_id(gpu, *profile, start);
  const auto slot = std::find(gpu.instances.begin(), gpu.instances.end(), nullptr);
  if (slot != gpu.instances.end()) {
    *slot = std::move(gi);
  } else {
    gpu.instances.push_back(std::move(gi));
  }
  return 0;
}

GpuInstance* find_gi(const Gpu& gpu, unsigned id) {
  for (const auto& gi : gpu.instances) {
    if (gi && gi->id == id) return gi.get();
  }
  return nullptr;
}

int destroy_gi(Gpu& gpu, unsigned id) {
  const auto slot =
      std::find_if(gpu.instances.begin(), gpu.instances.end(), [&](const auto& gi) { return gi && gi->id == id; });
  if (slot == gpu.instances.end()) return ENOENT;
  if (!(*slot)->users.empty() || !(*slot)->compute.empty()) return EBUSY;
  slot->reset();
  return 0;
}

int create_ci(Gpu& gpu, unsigned gi_id, unsigned slices, int wanted) {
  auto* gi = find_gi(gpu, gi_id);
  if (gi == nullptr) return ENOENT;
  if (slices == 0 || slices > gi->profile->compute_slices) return EINVAL;
  unsigned used = 0;
  unsigned id = 0;
  for (const auto& ci : gi->compute) {
    used |= bits(ci.slices, ci.start);
    if (ci.id == id) ++id;
  }
  for (unsigned start = 0; start + slices <= gi->profile->compute_slices && id < kMostComputeInstances; ++start) {
    if ((used & bits(slices, start)) != 0 || (wanted >= 0 && start != static_cast<unsigned>(wanted))) continue;
    // The real one hashes the GPU instance's id and the first engine, so it survives re-creation.
    const auto seed = gpu.uuid + "/" + std::to_string(gi_id) + "/" + std::to_string(start);
    gi->compute.push_back({id, slices, start, "MIG-" + derived_uuid(seed)});
    std::sort(gi->compute.begin(), gi->compute.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return 0;
  }
  return ENOSPC;
}

int destroy_ci(Gpu& gpu, unsigned gi_id, unsigned id) {
  auto* gi = find_gi(gpu, gi_id);
  if (gi == nullptr) return ENOENT;
  const auto at =
      std::find_if(gi->compute.begin(), gi->compute.end(), [&](const ComputeInstance& ci) { return ci.id == id; });
  if (at == gi->compute.end()) return ENOENT;
  if (!gi->users.empty()) return EBUSY;
  gi->compute.erase(at);
  return 0;
}

// Off only where nothing depends on it: "In use by another client", says the real one.
int set_mig_mode(Gpu& gpu, bool on) {
  if (gpu.board().profiles.empty()) return EOPNOTSUPP;
  if (gpu.mig_mode == on) return 0;
  const bool instances =
      std::any_of(gpu.instances.begin(), gpu.instances.end(), [](const auto& gi) { return gi != nullptr; });
  if (!on && (instances || gpu.function->vf_count > 0)) return EBUSY;
  if (!gpu.vgpus.empty()) return EBUSY;
  gpu.mig_mode = on;
  return 0;
}

// The GPU instance that a vGPU of this type would get: the lowest id with room for it. One that holds several keeps to
// one size of framebuffer.
GpuInstance* pick_gi(const Machine& machine, const Gpu& gpu, const VgpuType& type) {
  GpuInstance* best = nullptr;
  for (const auto& gi : gpu.instances) {
    if (!gi || static_cast<int>(gi->profile->id) != type.gi_profile || gi->users.size() >= type.per_instance) continue;
    if (!gi->users.empty() && gi->users.front()->type->framebuffer_mb != type.framebuffer_mb) continue;
    if (best == nullptr || (gi->id < best->id) != machine.nvidia.highest_gi_first) best = gi.get();
  }
  return best;
}

}  // namespace slicebroker::simhost::model
