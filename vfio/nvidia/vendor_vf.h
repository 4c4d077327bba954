// SPDX-License-Identifier: Apache-2.0
// NVIDIA's vendor-specific VFIO framework (vGPU 17+ on kernels of the 6.8 class): the files of a VF below nvidia/.
// Source of the files and their texts: nvidia.md 3.2 (recorded on an L40S host). Reads only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/host/host_root.h"

namespace slicebroker::vfio::nvidia {

struct CreatableVgpuType {
  std::uint32_t id = 0;
  std::string name;  // "NVIDIA L40S-1B"
  bool operator==(const CreatableVgpuType&) const = default;
};

struct VendorVf {
  PciAddress address;
  std::uint32_t current_type = 0;  // 0: free
  std::vector<CreatableVgpuType> creatable;
  std::optional<std::uint32_t> gpu_instance_id;
};

// Reads the table of creatable_vgpu_types. Two spellings are in the field: "1145  : NVIDIA L40S-1B" and
// "NVIDIA A40-2Q         558"; the header and anything else is passed over.
std::vector<CreatableVgpuType> parse_creatable_types(std::string_view text);

// nullopt where the VF has no nvidia/current_vgpu_type: no vendor VFIO framework there.
Result<std::optional<VendorVf>> find_vendor_vf(const HostRoot& host, const PciAddress& vf);

// current_vgpu_type alone.
Result<std::uint32_t> read_vgpu_type(const HostRoot& host, const PciAddress& vf);

}  // namespace slicebroker::vfio::nvidia
