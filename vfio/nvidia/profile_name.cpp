// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/profile_name.h"

#include <algorithm>

namespace slicebroker::vfio::nvidia {

std::uint64_t profile_gigabytes(std::uint64_t gpu_mib, std::uint64_t profile_mib) {
  constexpr std::uint64_t kParts = 8;
  constexpr std::uint64_t kMibPerGib = 1024;
  if (gpu_mib == 0) return 0;
  const std::uint64_t parts = (profile_mib * kParts + gpu_mib - 1) / gpu_mib;
  const std::uint64_t gpu_gib = (gpu_mib + kMibPerGib - 1) / kMibPerGib;
  return (parts * gpu_gib + kParts / 2) / kParts;
}

std::string profile_name(const Gpu& gpu, const GpuInstanceProfile& profile) {
  if (!profile.name.empty()) return profile.name;
  if (gpu.memory_mib == 0) return "profile " + std::to_string(profile.id);
  const auto gigabytes = profile_gigabytes(gpu.memory_mib, profile.memory_mib);
  // Drivers without names know two profiles of one size only where one of them has the media engines, of which there is
  // one set: it fits less often (A100: 1g.5gb 7 times, 1g.5gb+me once).
  const bool rarer = std::any_of(gpu.profiles.begin(), gpu.profiles.end(), [&](const GpuInstanceProfile& other) {
    return other.slices == profile.slices && other.max_instances > profile.max_instances &&
           profile_gigabytes(gpu.memory_mib, other.memory_mib) == gigabytes;
  });
  return std::to_string(profile.slices) + "g." + std::to_string(gigabytes) + "gb" + (rarer ? "+me" : "");
}

std::string profile_name(const Gpu& gpu, std::uint32_t profile_id) {
  for (const auto& profile : gpu.profiles) {
    if (profile.id == profile_id) return profile_name(gpu, profile);
  }
  return "profile " + std::to_string(profile_id);
}

}  // namespace slicebroker::vfio::nvidia
