// SPDX-License-Identifier: Apache-2.0
// What boards of a family share, for boards.cpp.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "tests/simhost/kernel/boards.h"

namespace slicebroker::simhost::model {

template <class T>
void append(std::vector<T>& all, std::vector<T> more) {
  all.insert(all.end(), more.begin(), more.end());
}

// The seven profiles of boards with 7 compute and 8 memory slices: 1g and its +me form, 1g with double memory, 2g, 3g,
// 4g, 7g. Names, MB and SMs come without the +me form, which equals the first.
inline std::vector<GiProfile> seven_slices(const std::array<std::string, 6>& names,
                                           const std::array<unsigned, 6>& memory, const std::array<unsigned, 6>& sm) {
  return {
      {19, 0, 1, 1, 0x7f, 7, sm[0], memory[0], names[0]}, {20, 7, 1, 1, 0x7f, 1, sm[0], memory[0], names[0] + "+me"},
      {15, 9, 1, 2, 0x55, 4, sm[1], memory[1], names[1]}, {14, 1, 2, 2, 0x15, 3, sm[2], memory[2], names[2]},
      {9, 2, 3, 4, 0x11, 2, sm[3], memory[3], names[3]},  {5, 3, 4, 4, 0x01, 1, sm[4], memory[4], names[4]},
      {0, 4, 7, 8, 0x01, 1, sm[5], memory[5], names[5]}};
}

// One type for each size in GiB, numbered from `id` on.
inline std::vector<VgpuType> time_sliced(const std::string& prefix, const std::string& series, unsigned id,
                                         unsigned framebuffer_mb, const std::vector<unsigned>& sizes) {
  std::vector<VgpuType> types;
  for (const unsigned size : sizes) {
    types.push_back({id++, -1, size * 1024, framebuffer_mb / (size * 1024), prefix + std::to_string(size) + series});
  }
  return types;
}

// One C type for each profile of seven_slices(): "H100-1-10C", "H100-1-10CME", "H100-1-20C"...
inline std::vector<VgpuType> mig_backed(const std::string& prefix, unsigned id, const std::vector<GiProfile>& profiles,
                                        const std::array<unsigned, 6>& gigabytes) {
  std::vector<VgpuType> types;
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    const auto& profile = profiles[i];
    const bool media = profile.name.ends_with("+me");
    types.push_back({id++, static_cast<int>(profile.id), profile.memory_mb, profile.max,
                     prefix + "-" + std::to_string(profile.compute_slices) + "-" +
                         std::to_string(gigabytes[i == 0 ? 0 : i - 1]) + (media ? "CME" : "C")});
  }
  return types;
}

}  // namespace slicebroker::simhost::model
