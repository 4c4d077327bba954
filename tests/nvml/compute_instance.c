// SPDX-License-Identifier: Apache-2.0
// Compute instances (CI), and the MIG devices that callers see for them.
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "lab_nvml.h"

// The compute slices of each NVML_COMPUTE_INSTANCE_PROFILE_*, which the driver also uses as the profile's id.
static const unsigned int ci_slices[] = {1, 2, 3, 4, 7, 8, 6};
enum { kSelectors = sizeof(ci_slices) / sizeof(ci_slices[0]) };

// --- compute instances ---------------------------------------------------------------------------------------

// The GPU, the GI and its profile behind a GI handle.
static nvmlReturn_t open_gi(nvmlGpuInstance_t instance, struct handle* handle, const struct gpu** gpu, struct profile* p) {
  struct gi gi;
  REQUIRE_INIT();
  *gpu = unpack(instance, kGpuInstance, handle);
  REQUIRE(*gpu, NVML_ERROR_INVALID_ARGUMENT);
  TRY(find_gi(*gpu, handle->gi, &gi));
  return find_profile(*gpu, gi.profile, 0, p);
}

EXPORT nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlGpuInstance_t instance, unsigned int selector,
                                                                 unsigned int engine,
                                                                 nvmlComputeInstanceProfileInfo_t* info) {
  struct handle handle;
  const struct gpu* gpu;
  struct profile p;
  const nvmlReturn_t result = open_gi(instance, &handle, &gpu, &p);
  REQUIRE(result == NVML_SUCCESS, result);
  REQUIRE(info && selector <= kSelectors && engine == 0, NVML_ERROR_INVALID_ARGUMENT);
  // The one behind the table is 1_SLICE_REV1, which these GPUs lack.
  REQUIRE(selector < kSelectors && ci_slices[selector] <= p.slices, NVML_ERROR_NOT_SUPPORTED);
  const unsigned int slices = ci_slices[selector];
  *info = (nvmlComputeInstanceProfileInfo_t){.id = selector,
                                             .sliceCount = slices,
                                             .instanceCount = p.slices / slices,
                                             .engines = engines_of(p.sm / p.slices * slices, slices)};
  return NVML_SUCCESS;
}

static nvmlReturn_t create_ci(nvmlGpuInstance_t instance, unsigned int profile, const nvmlPlacement_t* placement,
                              nvmlComputeInstance_t* made) {
  struct handle handle;
  const struct gpu* gpu;
  struct profile p;
  struct ci ci;
  unsigned int before[kMostInstances] = {0}, i;
  char text[48];
  nvmlReturn_t result = open_gi(instance, &handle, &gpu, &p);
  REQUIRE(result == NVML_SUCCESS, result);
  REQUIRE(made && profile < kSelectors, NVML_ERROR_INVALID_ARGUMENT);
  snprintf(text, sizeof(text), placement ? "%u %u %u" : "%u %u", handle.gi, ci_slices[profile],
           placement ? placement->start : 0);
  flock(gpu->node, LOCK_EX);
  for (i = 0; nth_ci(gpu, handle.gi, i, &ci) == NVML_SUCCESS; ++i) before[ci.id % kMostInstances] = 1;
  result = write_lab(gpu, "create_ci", text);
  for (i = 0; result == NVML_SUCCESS; ++i) {
    result = nth_ci(gpu, handle.gi, i, &ci);
    if (result == NVML_SUCCESS && !before[ci.id % kMostInstances]) break;
  }
  flock(gpu->node, LOCK_UN);
  REQUIRE(result == NVML_SUCCESS, result);
  *made = pack((struct handle){kComputeInstance, handle.gpu, handle.gi, ci.id});
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlGpuInstanceCreateComputeInstance(nvmlGpuInstance_t instance, unsigned int profile,
                                                         nvmlComputeInstance_t* made) {
  return create_ci(instance, profile, NULL, made);
}

#ifndef NVML_OLD
EXPORT nvmlReturn_t nvmlGpuInstanceCreateComputeInstanceWithPlacement(nvmlGpuInstance_t instance, unsigned int profile,
                                                                      const nvmlPlacement_t* placement,
                                                                      nvmlComputeInstance_t* made) {
  return create_ci(instance, profile, placement, made);
}
#endif

EXPORT nvmlReturn_t nvmlComputeInstanceDestroy(nvmlComputeInstance_t instance) {
  struct handle handle;
  char text[32];
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(instance, kComputeInstance, &handle);
  REQUIRE(gpu, NVML_ERROR_INVALID_ARGUMENT);
  snprintf(text, sizeof(text), "%u %u", handle.gi, handle.ci);
  return write_lab(gpu, "destroy_ci", text);
}

EXPORT nvmlReturn_t nvmlGpuInstanceGetComputeInstances(nvmlGpuInstance_t instance, unsigned int profile,
                                                       nvmlComputeInstance_t* instances, unsigned int* count) {
  struct handle handle;
  const struct gpu* gpu;
  struct profile p;
  struct ci ci;
  const nvmlReturn_t result = open_gi(instance, &handle, &gpu, &p);
  REQUIRE(result == NVML_SUCCESS, result);
  REQUIRE(instances && count && profile < kSelectors, NVML_ERROR_INVALID_ARGUMENT);
  *count = 0;
  nvmlReturn_t listed;
  for (unsigned int i = 0; (listed = nth_ci(gpu, handle.gi, i, &ci)) == NVML_SUCCESS; ++i)
    if (ci.slices == ci_slices[profile])
      instances[(*count)++] = pack((struct handle){kComputeInstance, handle.gpu, handle.gi, ci.id});
  return listed == NVML_ERROR_NOT_FOUND ? NVML_SUCCESS : listed;
}

static unsigned int ci_profile(unsigned int slices) {
  unsigned int i = 0;
  while (i < kSelectors && ci_slices[i] != slices) ++i;
  return i;
}

EXPORT nvmlReturn_t nvmlComputeInstanceGetInfo_v2(nvmlComputeInstance_t instance, nvmlComputeInstanceInfo_t* info) {
  struct handle handle;
  struct ci ci;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(instance, kComputeInstance, &handle);
  REQUIRE(gpu && info, NVML_ERROR_INVALID_ARGUMENT);
  TRY(find_ci(gpu, handle.gi, handle.ci, &ci));
  *info = (nvmlComputeInstanceInfo_t){
      .device = pack((struct handle){.kind = kGpu, .gpu = handle.gpu}),
      .gpuInstance = pack((struct handle){.kind = kGpuInstance, .gpu = handle.gpu, .gi = handle.gi}),
      .id = ci.id,
      .profileId = ci_profile(ci.slices),
      .placement = {ci.start, ci.slices}};
  return NVML_SUCCESS;
}

// --- MIG devices ---------------------------------------------------------------------------------------------

EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int* count) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && count, NVML_ERROR_INVALID_ARGUMENT);
  struct profile smallest;
  int on;
  TRY(mig_is_on(gpu, &on));
  *count = 0;
  if (!on) return NVML_SUCCESS;
  FIND(find_profile(gpu, kUnset, 0, &smallest), NVML_ERROR_NOT_SUPPORTED);
  *count = smallest.max;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t* mig) {
  struct handle handle;
  struct ci ci;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && mig, NVML_ERROR_INVALID_ARGUMENT);
  int on;
  TRY(mig_is_on(gpu, &on));
  REQUIRE(on, NVML_ERROR_NOT_SUPPORTED);
  TRY(nth_ci(gpu, kUnset, index, &ci));
  *mig = pack((struct handle){kMigDevice, handle.gpu, ci.gi, ci.id});
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t* device) {
  struct handle handle;
  REQUIRE_INIT();
  REQUIRE(device && unpack(mig, kMigDevice, &handle), NVML_ERROR_INVALID_ARGUMENT);
  *device = pack((struct handle){.kind = kGpu, .gpu = handle.gpu});
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int* is_mig) {
  struct handle handle;
  REQUIRE_INIT();
  REQUIRE(is_mig && unpack(device, 0, &handle), NVML_ERROR_INVALID_ARGUMENT);
  *is_mig = handle.kind == kMigDevice;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t mig, unsigned int* id) {
  struct handle handle;
  REQUIRE_INIT();
  REQUIRE(id && unpack(mig, kMigDevice, &handle), NVML_ERROR_INVALID_ARGUMENT);
  *id = handle.gi;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t mig, unsigned int* id) {
  struct handle handle;
  REQUIRE_INIT();
  REQUIRE(id && unpack(mig, kMigDevice, &handle), NVML_ERROR_INVALID_ARGUMENT);
  *id = handle.ci;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char* buffer, unsigned int size) {
  struct handle handle;
  struct ci ci;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, 0, &handle);
  REQUIRE(gpu, NVML_ERROR_INVALID_ARGUMENT);
  if (handle.kind == kGpu) return copy_text(gpu->uuid, buffer, size);
  TRY(find_ci(gpu, handle.gi, handle.ci, &ci));
  return copy_text(ci.uuid, buffer, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char* uuid, nvmlDevice_t* device) {
  struct ci ci;
  int count;
  REQUIRE_INIT();
  REQUIRE(uuid && device, NVML_ERROR_INVALID_ARGUMENT);
  const struct gpu* list = gpus(&count);
  for (int i = 0; i < count; ++i) {
    if (!strcmp(list[i].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, device);
    for (unsigned int n = 0; nth_ci(&list[i], kUnset, n, &ci) == NVML_SUCCESS; ++n) {
      if (strcmp(ci.uuid, uuid)) continue;
      *device = pack((struct handle){kMigDevice, (unsigned int)i, ci.gi, ci.id});
      return NVML_SUCCESS;
    }
  }
  return NVML_ERROR_NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t mig, nvmlDeviceAttributes_t* attributes) {
  struct handle handle;
  struct gi gi;
  struct ci ci;
  struct profile p;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(mig, kMigDevice, &handle);
  REQUIRE(gpu && attributes, NVML_ERROR_INVALID_ARGUMENT);
  TRY(find_gi(gpu, handle.gi, &gi));
  TRY(find_profile(gpu, gi.profile, 0, &p));
  TRY(find_ci(gpu, gi.id, handle.ci, &ci));
  *attributes = (nvmlDeviceAttributes_t){.engines = engines_of(p.sm / p.slices * ci.slices, ci.slices),
                                         .gpuInstanceSliceCount = p.slices,
                                         .computeInstanceSliceCount = ci.slices,
                                         .memorySizeMB = p.memory};
  return NVML_SUCCESS;
}
