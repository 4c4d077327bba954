// SPDX-License-Identifier: Apache-2.0
// What NVML tells about the GPUs that the nvidia driver holds: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vfio/base/error.h"
#include "vfio/base/pci_address.h"
#include "vfio/base/uuid.h"

namespace slicebroker::vfio::nvidia {

enum class MigMode { kUnsupported, kOff, kOn };

// Where a GPU instance lies on its GPU, in memory slices, or a compute instance in its GPU instance, in compute slices.
struct Placement {
  std::uint32_t start = 0;
  std::uint32_t size = 0;
  auto operator<=>(const Placement&) const = default;
};

struct ComputeInstance {
  std::uint32_t id = 0;
  std::uint32_t profile_id = 0;
  Placement placement;
  std::string mig_uuid;  // "MIG-<uuid>", before R470 "MIG-GPU-<uuid>/<gi>/<ci>"; empty where no MIG device was listed
  bool operator==(const ComputeInstance&) const = default;
};

struct GpuInstance {
  std::uint32_t id = 0;
  std::uint32_t profile_id = 0;
  Placement placement;
  std::vector<ComputeInstance> compute_instances;  // by id; none on one that a vGPU uses
  bool operator==(const GpuInstance&) const = default;
};

struct GpuInstanceProfile {
  std::uint32_t id = 0;  // the id that instances and vGPU types refer to (not the selector 0, 1, 2...)
  std::string name;      // "1g.10gb", "1g.10gb+me"; empty where the driver is too old to tell: profile_name()
  std::uint32_t slices = 0;
  std::uint32_t max_instances = 0;
  std::uint64_t memory_mib = 0;
  bool operator==(const GpuInstanceProfile&) const = default;
};

struct VgpuType {
  std::uint32_t id = 0;                                  // 699 of nvidia-699
  std::string name;                                      // "GRID A100D-1-10C"
  std::optional<std::uint32_t> gpu_instance_profile_id;  // nullopt: time-sliced
  std::uint64_t framebuffer_mib = 0;
  bool operator==(const VgpuType&) const = default;
};

// A vGPU that exists, as the host driver sees it.
struct ActiveVgpu {
  std::uint32_t type_id = 0;
  std::optional<std::uint32_t> gpu_instance_id;
  std::optional<Uuid> mdev;  // KVM with the mdev framework only
  bool operator==(const ActiveVgpu&) const = default;
};

struct Gpu {
  PciAddress address;
  std::string uuid;                    // "GPU-<uuid>"
  std::string name;                    // "NVIDIA A100 80GB PCIe"
  std::optional<std::uint32_t> minor;  // N of /dev/nvidiaN
  MigMode mig_mode = MigMode::kUnsupported;
  MigMode pending_mig_mode = MigMode::kUnsupported;  // what the next reset makes of mig_mode; mostly the same
  std::vector<GpuInstanceProfile> profiles;
  std::vector<GpuInstance> instances;  // by id
  std::vector<VgpuType> vgpu_types;    // supported ones; empty without a vGPU host driver
  std::vector<ActiveVgpu> active_vgpus;
  std::uint64_t memory_mib = 0;            // all of it, as NVML counts it; 0 where it does not tell
  std::optional<bool> vgpu_heterogeneous;  // time-sliced vGPUs of several sizes may share it; nullopt: not told
};

struct Driver {
  std::string version;          // "570.124.06"
  std::vector<Gpu> gpus;        // by address
  std::vector<Error> problems;  // one for each GPU left out because it could not be read in full
};

}  // namespace slicebroker::vfio::nvidia
