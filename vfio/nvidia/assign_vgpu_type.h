// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "vfio/host/host.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// Step: makes a vGPU on a VF of NVIDIA's vendor VFIO framework by writing its type id to nvidia/current_vgpu_type
// (nvidia.md 3.2: 0 is free; reading back decides). The VF stays on its driver: an unbind makes it unusable until
// SR-IOV is cycled. Undo writes back what was read (0), and only
// while the type is the one that was written.
// Errors of apply: EINVAL no such type, ENOSPC no capacity; GPU_INSTANCE_MISMATCH as CreateMdev.
struct AssignVgpuType {
  static constexpr std::string_view kKind = "assign-vgpu-type";

  PciAddress vf;
  std::uint32_t type_id = 0;
  std::optional<std::uint32_t> gpu_instance_id;  // the one that was asked for; nullopt: any

  Fields fields() const;
  static Result<AssignVgpuType> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const AssignVgpuType&) const = default;
};

}  // namespace slicebroker::vfio
