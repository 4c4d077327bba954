// SPDX-License-Identifier: Apache-2.0
// The part of NVML's binary interface that slicebroker uses, declared anew under our own names so that neither
// NVIDIA's header nor its library is needed to build. Values, field order and sizes: NVIDIA/go-nvml
// gen/nvml/nvml.h (NVML 13.3), sizes and offsets measured by compiling that header on x86-64.
// Each declaration names its original; tests/unit/vfio/fake_nvml.c declares the same layouts independently.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slicebroker::vfio::nvidia::nvml {

static_assert(sizeof(void*) == 8, "the sizes below hold for 64-bit Linux only");

// nvmlReturn_t, an int. The driver may return values that are not listed here.
enum class Return : int {
  kSuccess = 0,
  kUninitialized = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNoPermission = 4,
  kNotFound = 6,
  kInsufficientSize = 7,
  kInsufficientPower = 8,
  kDriverNotLoaded = 9,
  kTimeout = 10,
  kIrqIssue = 11,
  kLibraryNotFound = 12,
  kFunctionNotFound = 13,
  kCorruptedInforom = 14,
  kGpuIsLost = 15,
  kResetRequired = 16,
  kOperatingSystem = 17,
  kLibRmVersionMismatch = 18,
  kInUse = 19,
  kMemory = 20,
  kNoData = 21,
  kVgpuEccNotSupported = 22,
  kInsufficientResources = 23,
  kArgumentVersionMismatch = 25,
  kNotReady = 27,
  kGpuNotFound = 28,
  kInvalidState = 29,
  kUnknown = 999,
};

// nvmlDevice_t (a GPU, or a MIG device), nvmlGpuInstance_t and nvmlComputeInstance_t: opaque pointers.
using DeviceHandle = struct DeviceObject*;
using GpuInstanceHandle = struct GpuInstanceObject*;
using ComputeInstanceHandle = struct ComputeInstanceObject*;

using VgpuTypeId = unsigned int;      // nvmlVgpuTypeId_t
using VgpuInstanceId = unsigned int;  // nvmlVgpuInstance_t

inline constexpr unsigned kInitNoGpus = 1;               // NVML_INIT_FLAG_NO_GPUS
inline constexpr unsigned kMigDisabled = 0;              // NVML_DEVICE_MIG_DISABLE
inline constexpr unsigned kMigEnabled = 1;               // NVML_DEVICE_MIG_ENABLE
inline constexpr unsigned kSharedEngines = 0;            // NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
inline constexpr unsigned kNoGpuInstance = 0xFFFFFFFF;   // INVALID_GPU_INSTANCE_ID and ..._PROFILE_ID
inline constexpr std::size_t kUuidBuffer = 96;           // NVML_DEVICE_UUID_V2_BUFFER_SIZE
inline constexpr std::size_t kNameBuffer = 96;           // NVML_DEVICE_NAME_V2_BUFFER_SIZE
inline constexpr std::size_t kDriverVersionBuffer = 80;  // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
inline constexpr std::size_t kVgpuNameBuffer = 64;       // NVML_VGPU_NAME_BUFFER_SIZE

// nvmlPciInfo_t
struct PciInfo {
  char legacy_bus_id[16];
  std::uint32_t domain;
  std::uint32_t bus;
  std::uint32_t device;
  std::uint32_t device_and_vendor;
  std::uint32_t subsystem;
  char bus_id[32];  // "00000000:41:00.0": eight digits of domain
};
static_assert(sizeof(PciInfo) == 68);
static_assert(offsetof(PciInfo, domain) == 16 && offsetof(PciInfo, bus) == 20 && offsetof(PciInfo, device) == 24);
static_assert(offsetof(PciInfo, device_and_vendor) == 28 && offsetof(PciInfo, subsystem) == 32);
static_assert(offsetof(PciInfo, bus_id) == 36);

// nvmlMemory_t, in bytes
struct Memory {
  std::uint64_t total;
  std::uint64_t free;
  std::uint64_t used;
};
static_assert(sizeof(Memory) == 24 && offsetof(Memory, total) == 0);

// nvmlGpuInstancePlacement_t (in memory slices) and nvmlComputeInstancePlacement_t (in compute slices)
struct InstancePlacement {
  std::uint32_t start;
  std::uint32_t size;
};
static_assert(sizeof(InstancePlacement) == 8 && offsetof(InstancePlacement, size) == 4);

// NVML_STRUCT_VERSION: what the first word of a versioned structure must hold.
template <class T>
constexpr std::uint32_t version_word(std::uint32_t version) {
  return static_cast<std::uint32_t>(sizeof(T)) | version << 24;
}

// nvmlVgpuHeterogeneousMode_v1_t
struct HeterogeneousMode {
  std::uint32_t version;
  std::uint32_t mode;
};
static_assert(sizeof(HeterogeneousMode) == 8 && version_word<HeterogeneousMode>(1) == 0x01000008);
static_assert(offsetof(HeterogeneousMode, mode) == 4);

// nvmlGpuInstanceProfileInfo_t
struct ProfileInfoV1 {
  std::uint32_t id;
  std::uint32_t p2p_supported;
  std::uint32_t slice_count;
  std::uint32_t instance_count;
  std::uint32_t engines[6];  // multiprocessor, copy, decoder, encoder, JPEG, OFA
  std::uint64_t memory_mib;
};
static_assert(sizeof(ProfileInfoV1) == 48);
static_assert(offsetof(ProfileInfoV1, slice_count) == 8 && offsetof(ProfileInfoV1, instance_count) == 12);
static_assert(offsetof(ProfileInfoV1, memory_mib) == 40);

// nvmlGpuInstanceProfileInfo_v2_t
struct ProfileInfoV2 {
  std::uint32_t version;
  std::uint32_t id;
  std::uint32_t p2p_supported;
  std::uint32_t slice_count;
  std::uint32_t instance_count;
  std::uint32_t engines[6];
  std::uint64_t memory_mib;
  char name[kNameBuffer];  // "1g.10gb", or "MIG 1g.10gb" as nvidia-smi prints it: not confirmed on hardware
};
static_assert(sizeof(ProfileInfoV2) == 152 && version_word<ProfileInfoV2>(2) == 0x02000098);
static_assert(offsetof(ProfileInfoV2, id) == 4 && offsetof(ProfileInfoV2, slice_count) == 12);
static_assert(offsetof(ProfileInfoV2, instance_count) == 16 && offsetof(ProfileInfoV2, engines) == 20);
static_assert(offsetof(ProfileInfoV2, memory_mib) == 48 && offsetof(ProfileInfoV2, name) == 56);

// nvmlGpuInstanceProfileInfo_v3_t: as large as v2 and laid out otherwise; only the version word tells them apart.
struct ProfileInfoV3 {
  std::uint32_t version;
  std::uint32_t id;
  std::uint32_t slice_count;
  std::uint32_t instance_count;
  std::uint32_t engines[6];
  std::uint64_t memory_mib;
  char name[kNameBuffer];
  std::uint32_t capabilities;
};
static_assert(sizeof(ProfileInfoV3) == 152 && version_word<ProfileInfoV3>(3) == 0x03000098);
static_assert(offsetof(ProfileInfoV3, id) == 4 && offsetof(ProfileInfoV3, slice_count) == 8);
static_assert(offsetof(ProfileInfoV3, instance_count) == 12 && offsetof(ProfileInfoV3, engines) == 16);
static_assert(offsetof(ProfileInfoV3, memory_mib) == 40 && offsetof(ProfileInfoV3, name) == 48);
static_assert(offsetof(ProfileInfoV3, capabilities) == 144);

// nvmlGpuInstanceInfo_t
struct GpuInstanceInfo {
  DeviceHandle device;
  std::uint32_t id;
  std::uint32_t profile_id;
  InstancePlacement placement;
};
static_assert(sizeof(GpuInstanceInfo) == 24);
static_assert(offsetof(GpuInstanceInfo, id) == 8 && offsetof(GpuInstanceInfo, profile_id) == 12);
static_assert(offsetof(GpuInstanceInfo, placement) == 16);

// nvmlComputeInstanceProfileInfo_t (v1)
struct ComputeProfileInfo {
  std::uint32_t id;
  std::uint32_t slice_count;
  std::uint32_t instance_count;
  std::uint32_t engines[6];
};
static_assert(sizeof(ComputeProfileInfo) == 36 && offsetof(ComputeProfileInfo, instance_count) == 8);

// nvmlComputeInstanceInfo_t, as nvmlComputeInstanceGetInfo_v2 fills it
struct ComputeInstanceInfo {
  DeviceHandle device;
  GpuInstanceHandle gpu_instance;
  std::uint32_t id;
  std::uint32_t profile_id;
  InstancePlacement placement;
};
static_assert(sizeof(ComputeInstanceInfo) == 32);
static_assert(offsetof(ComputeInstanceInfo, gpu_instance) == 8 && offsetof(ComputeInstanceInfo, id) == 16);
static_assert(offsetof(ComputeInstanceInfo, profile_id) == 20 && offsetof(ComputeInstanceInfo, placement) == 24);

}  // namespace slicebroker::vfio::nvidia::nvml
