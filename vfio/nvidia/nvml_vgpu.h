// SPDX-License-Identifier: Apache-2.0
// Reading what one GPU's vGPU host driver offers and runs. Used by nvml.cpp only.
#pragma once

#include <optional>
#include <vector>

#include "vfio/nvidia/gpu.h"
#include "vfio/nvidia/nvml_library.h"

namespace slicebroker::vfio::nvidia::nvml {

// The vGPU types that the GPU supports; empty without a vGPU host driver.
Result<std::vector<VgpuType>> read_vgpu_types(const Target& gpu);

// The vGPUs that run now.
Result<std::vector<ActiveVgpu>> read_active_vgpus(const Target& gpu);

// Whether time-sliced vGPUs of several framebuffer sizes may share the GPU. nullopt where the driver does not say: it
// is older, MIG is on (nvidia.md 1.5), or it fails, for which no GPU is worth leaving out.
std::optional<bool> find_heterogeneous_mode(const Target& gpu);

}  // namespace slicebroker::vfio::nvidia::nvml
