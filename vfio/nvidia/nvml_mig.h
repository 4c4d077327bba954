// SPDX-License-Identifier: Apache-2.0
// Reading the MIG layout of one GPU. Used by the nvml*.cpp files only.
#pragma once

#include <vector>

#include "vfio/nvidia/gpu.h"
#include "vfio/nvidia/nvml_library.h"

namespace slicebroker::vfio::nvidia::nvml {

struct OpenComputeInstance {
  ComputeInstanceHandle handle = nullptr;
  ComputeInstance value;  // without its MIG UUID
};

// The GPU instance profiles that the GPU offers, each id once; empty where the driver has none to tell.
Result<std::vector<GpuInstanceProfile>> read_profiles(const Target& gpu);

// The GPU instances of these profiles, by id, with their compute instances and MIG UUIDs.
Result<std::vector<GpuInstance>> read_instances(const Target& gpu, const std::vector<GpuInstanceProfile>& profiles);

// One GPU instance with its compute instances and MIG UUIDs.
Result<GpuInstance> read_instance(const Target& gpu, GpuInstanceHandle handle);

// The compute instances of a GPU instance, by id.
Result<std::vector<OpenComputeInstance>> list_compute_instances(const Target& gpu, GpuInstanceHandle handle);

}  // namespace slicebroker::vfio::nvidia::nvml
