// SPDX-License-Identifier: Apache-2.0
// What the name of a vGPU type tells by itself, for hosts where NVML can't be asked. Pure.
// Source of the grammar: nvidia.md 2.2 (NVIDIA/vgpu-device-manager pkg/types, vGPU user guide).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slicebroker::vfio::nvidia {

// [NVIDIA |GRID ]<board>-[<slices>-]<GB><series>[attribute]: "GRID A100D-1-10CME", "NVIDIA L40S-8Q".
struct VgpuName {
  std::string board;                    // "A100D", "RTX Pro 6000 Blackwell DC"
  std::optional<std::uint32_t> slices;  // of a MIG-backed type; nullopt: time-sliced
  std::uint32_t framebuffer_gb = 0;     // 0: half a gigabyte, "M10-0Q"
  char series = 'C';                    // Q, A, B or C
  std::string attribute;  // MIG-backed: ME, NOME, MEALL, GFX or empty; time-sliced: "4" of "P4-1B4" or empty

  std::uint64_t framebuffer_mib() const;
  bool operator==(const VgpuName&) const = default;
};

// nullopt for a name of another form.
std::optional<VgpuName> parse_vgpu_name(std::string_view text);

// Without the prefix; parsing it gives the same name.
std::string to_string(const VgpuName& name);

// The GPU instance profile that a MIG-backed type asks for, "1g.10gb+me"; nullopt for a time-sliced one. Types for
// graphics (Q, A, B) want an instance with graphics: "+gfx". The name alone can't tell of a type that takes a part of
// its instance's memory: "A100D-1-5C" runs in 1g.10gb, and becomes 1g.5gb here, which its board does not have.
std::optional<std::string> mig_profile_of(const VgpuName& name);

}  // namespace slicebroker::vfio::nvidia
