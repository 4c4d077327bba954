// SPDX-License-Identifier: Apache-2.0
// What a vendor's driver writes into mdev_supported_types/<id>/description. Free text by the kernel's rules; two
// vendors write something that can be read. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace slicebroker::vfio {

struct MdevDescription {
  std::optional<std::uint64_t> framebuffer_mib = {};  // graphics memory of one device
  std::optional<std::uint32_t> max_instances = {};    // devices of the type on one GPU
  bool operator==(const MdevDescription&) const = default;
};

// NVIDIA: "num_heads=4, frl_config=45, framebuffer=1024M, max_resolution=5120x2880, max_instance=16" (recorded:
// nvidia.md 2.1). Intel GVT-g: lines "low_gm_size: 128MB", "high_gm_size: 512MB", "fence: 4", "resolution: 1920x1200",
// "weight: 4" (Linux drivers/gpu/drm/i915/gvt/kvmgt.c, description_show); the device has both memories. What is absent,
// malformed or another vendor's stays empty.
MdevDescription parse_mdev_description(std::string_view text);

}  // namespace slicebroker::vfio
