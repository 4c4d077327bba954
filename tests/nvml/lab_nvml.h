// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 over the lab's kernel module: every answer is read from <GPU>/lab/ in sysfs at the moment it is
// asked for, every change is a write there, so that it can't disagree with the driver.
//
// Names, layouts and return values: NVIDIA/go-nvml gen/nvml/nvml.h (NVML 13.3), declared here from its published sizes
// and offsets. Files: device.c (library, GPUs), gpu_instance.c, compute_instance.c (and the MIG devices that callers see
// for them), vgpu.c; state.c reads what these share.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

typedef enum {
  NVML_SUCCESS = 0,
  NVML_ERROR_UNINITIALIZED = 1,
  NVML_ERROR_INVALID_ARGUMENT = 2,
  NVML_ERROR_NOT_SUPPORTED = 3,
  NVML_ERROR_NO_PERMISSION = 4,
  NVML_ERROR_NOT_FOUND = 6,
  NVML_ERROR_INSUFFICIENT_SIZE = 7,
  NVML_ERROR_DRIVER_NOT_LOADED = 9,
  NVML_ERROR_GPU_IS_LOST = 15,
  NVML_ERROR_IN_USE = 19,
  NVML_ERROR_INSUFFICIENT_RESOURCES = 23,
  NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
  NVML_ERROR_GPU_NOT_FOUND = 28,
  NVML_ERROR_UNKNOWN = 999
} nvmlReturn_t;

// Opaque to callers. Here not pointers at all but packed numbers, so that none can dangle: see struct handle.
typedef void* nvmlDevice_t;
typedef void* nvmlGpuInstance_t;
typedef void* nvmlComputeInstance_t;
typedef unsigned int nvmlVgpuTypeId_t;
typedef unsigned int nvmlVgpuInstance_t;

typedef struct {
  char busIdLegacy[16];
  unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
  char busId[32];
} nvmlPciInfo_t;
_Static_assert(sizeof(nvmlPciInfo_t) == 68 && offsetof(nvmlPciInfo_t, pciDeviceId) == 28, "nvmlPciInfo_t");
_Static_assert(offsetof(nvmlPciInfo_t, domain) == 16 && offsetof(nvmlPciInfo_t, busId) == 36, "nvmlPciInfo_t");

typedef struct {
  unsigned int start, size;
} nvmlPlacement_t;  // nvmlGpuInstancePlacement_t and nvmlComputeInstancePlacement_t
_Static_assert(sizeof(nvmlPlacement_t) == 8, "placement");

typedef struct {
  unsigned int multiprocessor, copy, decoder, encoder, jpeg, ofa;
} engines_t;

typedef struct {
  unsigned int id, isP2pSupported, sliceCount, instanceCount;
  engines_t engines;
  unsigned long long memorySizeMB;
} nvmlGpuInstanceProfileInfo_t;
_Static_assert(sizeof(nvmlGpuInstanceProfileInfo_t) == 48, "profile v1");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_t, memorySizeMB) == 40, "profile v1");

typedef struct {
  unsigned int version, id, isP2pSupported, sliceCount, instanceCount;
  engines_t engines;
  unsigned long long memorySizeMB;
  char name[96];
} nvmlGpuInstanceProfileInfo_v2_t;
_Static_assert(sizeof(nvmlGpuInstanceProfileInfo_v2_t) == 152, "profile v2");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v2_t, sliceCount) == 12, "profile v2");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v2_t, memorySizeMB) == 48, "profile v2");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v2_t, name) == 56, "profile v2");

typedef struct {
  unsigned int version, id, sliceCount, instanceCount;
  engines_t engines;
  unsigned long long memorySizeMB;
  char name[96];
  unsigned int capabilities;
} nvmlGpuInstanceProfileInfo_v3_t;
_Static_assert(sizeof(nvmlGpuInstanceProfileInfo_v3_t) == 152, "profile v3");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v3_t, sliceCount) == 8, "profile v3");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v3_t, memorySizeMB) == 40, "profile v3");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v3_t, name) == 48, "profile v3");
_Static_assert(offsetof(nvmlGpuInstanceProfileInfo_v3_t, capabilities) == 144, "profile v3");

#define STRUCT_VERSION(type, version) ((unsigned int)(sizeof(type) | (version) << 24))
_Static_assert(STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v2_t, 2u) == 0x02000098, "version word");
_Static_assert(STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v3_t, 3u) == 0x03000098, "version word");

typedef struct {
  nvmlDevice_t device;
  unsigned int id, profileId;
  nvmlPlacement_t placement;
} nvmlGpuInstanceInfo_t;
_Static_assert(sizeof(nvmlGpuInstanceInfo_t) == 24 && offsetof(nvmlGpuInstanceInfo_t, placement) == 16, "GI info");

typedef struct {
  unsigned int id, sliceCount, instanceCount;
  engines_t engines;
} nvmlComputeInstanceProfileInfo_t;
_Static_assert(sizeof(nvmlComputeInstanceProfileInfo_t) == 36, "CI profile");

typedef struct {
  nvmlDevice_t device;
  nvmlGpuInstance_t gpuInstance;
  unsigned int id, profileId;
  nvmlPlacement_t placement;
} nvmlComputeInstanceInfo_t;
_Static_assert(sizeof(nvmlComputeInstanceInfo_t) == 32, "CI info");
_Static_assert(offsetof(nvmlComputeInstanceInfo_t, placement) == 24, "CI info");

typedef struct {
  engines_t engines;
  unsigned int gpuInstanceSliceCount, computeInstanceSliceCount;
  unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;
_Static_assert(sizeof(nvmlDeviceAttributes_t) == 40 && offsetof(nvmlDeviceAttributes_t, memorySizeMB) == 32, "attributes");

// --- ours ----------------------------------------------------------------------------------------------------

enum { kMostGpus = 8, kText = 4096, kUnset = 0xffffffff };

struct gpu {
  char bdf[16];
  unsigned int minor;
  char uuid[64];
  char name[64];
  int node;  // /dev/nvidiaN, held open as NVML does: the GPU can't be unbound meanwhile
};

enum kind { kGpu = 1, kMigDevice, kGpuInstance, kComputeInstance };

struct handle {
  enum kind kind;
  unsigned int gpu, gi, ci;
};

void* pack(struct handle handle);
// Fills *handle, and returns the GPU that it belongs to, or NULL where it is no handle of this kind (0: any device).
struct gpu* unpack(void* packed, enum kind kind, struct handle* handle);

// The next lines read or write <GPU>/lab/FILE. read_lab() leaves text empty where there is no such GPU any more.
void read_lab(const struct gpu* gpu, const char* file, char text[kText]);
nvmlReturn_t write_lab(const struct gpu* gpu, const char* file, const char* text);
// Iterates over lines: call with *rest = text first; NULL at the end.
char* next_line(char** rest);

nvmlReturn_t copy_text(const char* text, char* buffer, unsigned int size);
int initialised(void);
const struct gpu* gpus(int* count);

// --- MIG state: state.c ------------------------------------------------------------------------------------------

enum { kMostInstances = 8 };

struct profile {
  unsigned int id, selector, slices, size, starts, max, remaining, sm, memory;
  char name[32];
};
struct gi {
  unsigned int id, profile, start, size;
};
struct ci {
  unsigned int gi, id, slices, start;
  char uuid[64];
};

int has_mig(const struct gpu* gpu);
int mig_is_on(const struct gpu* gpu);
// The profile with this id or, where that is kUnset, this selector.
int find_profile(const struct gpu* gpu, unsigned int id, unsigned int selector, struct profile* p);
int list_gis(const struct gpu* gpu, struct gi gis[kMostInstances]);
int find_gi(const struct gpu* gpu, unsigned int id, struct gi* gi);
// The CI that is number `index` in the driver's list, and of GI `gi` only unless that is kUnset.
int nth_ci(const struct gpu* gpu, unsigned int gi, unsigned int index, struct ci* ci);
int find_ci(const struct gpu* gpu, unsigned int gi, unsigned int id, struct ci* ci);
engines_t engines_of(unsigned int sm, unsigned int slices);

#define REQUIRE(condition, otherwise) \
  do {                                \
    if (!(condition)) return otherwise; \
  } while (0)
#define REQUIRE_INIT() REQUIRE(initialised(), NVML_ERROR_UNINITIALIZED)
