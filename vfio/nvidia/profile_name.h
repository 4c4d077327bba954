// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "vfio/nvidia/gpu.h"

namespace slicebroker::vfio::nvidia {

// A GPU instance profile's name as NVIDIA writes it: the driver's own or, where that is too old to tell, the one that
// later drivers give it: "<slices>g.<GB>gb", and "+me" behind the rarer of two that are otherwise alike. "profile 19"
// where the GPU's memory is not known either. Pure.
std::string profile_name(const Gpu& gpu, const GpuInstanceProfile& profile);

// The same for the id that instances and vGPU types refer to.
std::string profile_name(const Gpu& gpu, std::uint32_t profile_id);

// The GB in the name: the profile's share of the GPU's memory in whole eighths, of the GPU's whole GiB, rounded. It is
// no size: 10.62 GiB of a 94 GB H100 are "12gb". Source: NVIDIA/go-nvlib pkg/nvlib/device/mig_profile.go.
std::uint64_t profile_gigabytes(std::uint64_t gpu_mib, std::uint64_t profile_mib);

}  // namespace slicebroker::vfio::nvidia
