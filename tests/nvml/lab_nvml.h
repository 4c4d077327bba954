// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 over the lab's kernel module (tests/lab/module) or the simulated host's (tests/simhost/kernel):
// every answer is read from <GPU>/lab/ in sysfs at the moment it is asked for, every change is a write there, so that it
// can't disagree with the driver. What goes wrong with one of these files is the return value.
//
// The host's root is $SIMHOST or, where the library was loaded as ROOT/usr/lib/libnvidia-ml.so.1, that ROOT; else /.
// With -DNVML_OLD it is the library of about R450, without the functions that came later.
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
  NVML_ERROR_TIMEOUT = 10,
  NVML_ERROR_GPU_IS_LOST = 15,
  NVML_ERROR_RESET_REQUIRED = 16,
  NVML_ERROR_IN_USE = 19,
  NVML_ERROR_MEMORY = 20,
  NVML_ERROR_NO_DATA = 21,
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
  unsigned long long total, free, used;
} nvmlMemory_t;
_Static_assert(sizeof(nvmlMemory_t) == 24, "memory");

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

typedef struct {
  unsigned int version, mode;
} nvmlVgpuHeterogeneousMode_t;
_Static_assert(STRUCT_VERSION(nvmlVgpuHeterogeneousMode_t, 1u) == 0x01000008, "heterogeneous mode");

typedef struct {
  unsigned int version, placementId;
} nvmlVgpuPlacementId_t;
_Static_assert(STRUCT_VERSION(nvmlVgpuPlacementId_t, 1u) == 0x01000008, "placement id");

typedef struct {
  unsigned int version, vgpuTypeId, maxInstancePerGI;
} nvmlVgpuTypeMaxInstance_t;
_Static_assert(STRUCT_VERSION(nvmlVgpuTypeMaxInstance_t, 1u) == 0x0100000c, "max instance");

// --- ours ----------------------------------------------------------------------------------------------------

// The lab's sysfs gives 4 KiB at most, the simulated one what it has.
enum { kMostGpus = 64, kText = 65536, kUnset = 0xffffffff };

struct gpu {
  char bdf[16];
  unsigned int minor;
  char uuid[64];
  char name[64];
  int node;  // /dev/nvidiaN, held open as NVML does: the GPU can't be unbound meanwhile
  nvmlReturn_t state;  // of one that is listed and answers nothing, why not
};

enum kind { kGpu = 1, kMigDevice, kGpuInstance, kComputeInstance };

struct handle {
  enum kind kind;
  unsigned int gpu, gi, ci;
};

void* pack(struct handle handle);
// Fills *handle, and returns the GPU that it belongs to, or NULL where it is no handle of this kind (0: any device).
struct gpu* unpack(void* packed, enum kind kind, struct handle* handle);

// The next lines read or write <GPU>/lab/FILE. A failed read leaves text empty.
nvmlReturn_t read_lab(const struct gpu* gpu, const char* file, char text[kText]);
// A file that the lab's module lacks: empty there.
nvmlReturn_t read_optional(const struct gpu* gpu, const char* file, char text[kText]);
nvmlReturn_t write_lab(const struct gpu* gpu, const char* file, const char* text);
// Iterates over lines: call with *rest = text first; NULL at the end.
char* next_line(char** rest);

nvmlReturn_t copy_text(const char* text, char* buffer, unsigned int size);
int initialised(void);
void host_path(char* path, unsigned int size, const char* format, ...) __attribute__((format(printf, 3, 4)));
const struct gpu* gpus(int* count);
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t* device);

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
  char uuid[96];
};

// Each gives NVML_ERROR_NOT_FOUND where there is no such thing, and what a failed read means.
nvmlReturn_t check_mig(const struct gpu* gpu);  // that the GPU has MIG at all
nvmlReturn_t mig_is_on(const struct gpu* gpu, int* on);
// The profile with this id or, where that is kUnset, this selector.
nvmlReturn_t find_profile(const struct gpu* gpu, unsigned int id, unsigned int selector, struct profile* p);
nvmlReturn_t list_gis(const struct gpu* gpu, struct gi gis[kMostInstances], int* count);
nvmlReturn_t find_gi(const struct gpu* gpu, unsigned int id, struct gi* gi);
// The CI that is number `index` in the driver's list, and of GI `gi` only unless that is kUnset.
nvmlReturn_t nth_ci(const struct gpu* gpu, unsigned int gi, unsigned int index, struct ci* ci);
nvmlReturn_t find_ci(const struct gpu* gpu, unsigned int gi, unsigned int id, struct ci* ci);
engines_t engines_of(unsigned int sm, unsigned int slices);

#define REQUIRE(condition, otherwise) \
  do {                                \
    if (!(condition)) return otherwise; \
  } while (0)
// Returns what a call returns, unless that is success.
#define TRY(call) \
  do {                                             \
    const nvmlReturn_t tried = (call);             \
    if (tried != NVML_SUCCESS) return tried;       \
  } while (0)
// The same, with another value for "not found".
#define FIND(call, otherwise) \
  do {                                                        \
    const nvmlReturn_t found_it = (call);                     \
    if (found_it == NVML_ERROR_NOT_FOUND) return (otherwise); \
    if (found_it != NVML_SUCCESS) return found_it;            \
  } while (0)
#define REQUIRE_INIT() REQUIRE(initialised(), NVML_ERROR_UNINITIALIZED)
