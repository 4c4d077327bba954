// SPDX-License-Identifier: Apache-2.0
// Reading what one GPU's vGPU host driver offers and runs. Used by nvml.cpp only.
#pragma once

#include <vector>

#include "vfio/nvidia/gpu.h"
#include "vfio/nvidia/nvml_library.h"

namespace slicebroker::vfio::nvidia::nvml {

// The vGPU types that the GPU supports; empty without a vGPU host driver.
Result<std::vector<VgpuType>> read_vgpu_types(const Target& gpu);

// The vGPUs that run now.
Result<std::vector<ActiveVgpu>> read_active_vgpus(const Target& gpu);

}  // namespace slicebroker::vfio::nvidia::nvml
