// SPDX-License-Identifier: Apache-2.0
// The UUID by which a request names a MIG slice. It is a name for a place on a GPU, not for a lease: the driver derives
// it from the GPU and the place, so a slice destroyed and made again has the same one (open-gpu-kernel-modules
// src/nvidia/src/kernel/gpu/gpu_uuid.c).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "vfio/base/uuid.h"
#include "vfio/nvidia/gpu.h"

namespace slicebroker::vfio::nvidia {

struct MigUuid {
  // Drivers before R470 have no UUIDs for slices and count within the GPU instead.
  struct Legacy {
    Uuid gpu;
    std::uint32_t gpu_instance = 0;
    std::uint32_t compute_instance = 0;
    bool operator==(const Legacy&) const = default;
  };

  std::variant<Uuid, Legacy> form;

  // Reads `MIG-<uuid>` or `MIG-GPU-<uuid>/<gi>/<ci>`: prefixes in capitals, UUIDs with dashes and in either case, ids
  // in decimal. Anything else is nullopt.
  static std::optional<MigUuid> parse(std::string_view text);

  // The driver's own spelling, in lower case.
  std::string to_string() const;

  bool operator==(const MigUuid&) const = default;
};

// A slice within a Driver, valid as long as that is neither changed nor destroyed.
struct MigSlice {
  const Gpu* gpu = nullptr;
  const GpuInstance* gpu_instance = nullptr;
  const ComputeInstance* compute_instance = nullptr;
};

// The compute instance of that name; the legacy form is also found on newer drivers. Pure.
std::optional<MigSlice> find_instance(const Driver& driver, const MigUuid& uuid);

}  // namespace slicebroker::vfio::nvidia
