// SPDX-License-Identifier: Apache-2.0
// MIG mode, profiles, GPU instances (GI).
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "lab_nvml.h"

enum { kSelectors = 0x12, kMostStarts = 8 };

// --- mode ----------------------------------------------------------------------------------------------------

EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int* current, unsigned int* pending) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && current && pending, NVML_ERROR_INVALID_ARGUMENT);
  int on;
  TRY(check_mig(gpu));
  TRY(mig_is_on(gpu, &on));
  *current = *pending = (unsigned int)on;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned int mode, nvmlReturn_t* activation) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && activation && mode <= 1, NVML_ERROR_INVALID_ARGUMENT);
  return *activation = write_lab(gpu, "mig_mode", mode ? "1" : "0");
}

// --- GPU instance profiles -----------------------------------------------------------------------------------

static nvmlReturn_t profile_by_selector(nvmlDevice_t device, unsigned int selector, struct profile* p) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && selector < kSelectors, NVML_ERROR_INVALID_ARGUMENT);
  FIND(find_profile(gpu, kUnset, selector, p), NVML_ERROR_NOT_SUPPORTED);
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t device, unsigned int selector,
                                                        nvmlGpuInstanceProfileInfo_t* info) {
  struct profile p;
  const nvmlReturn_t result = profile_by_selector(device, selector, &p);
  REQUIRE(result == NVML_SUCCESS, result);
  REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
  *info = (nvmlGpuInstanceProfileInfo_t){.id = p.id,
                                         .sliceCount = p.slices,
                                         .instanceCount = p.max,
                                         .engines = engines_of(p.sm, p.slices),
                                         .memorySizeMB = p.memory};
  return NVML_SUCCESS;
}

#ifndef NVML_OLD
static nvmlReturn_t fill_profile(const struct profile* p, unsigned int* version) {
  if (*version == STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v2_t, 2u)) {
    nvmlGpuInstanceProfileInfo_v2_t* info = (void*)version;
    *info = (nvmlGpuInstanceProfileInfo_v2_t){.version = *version,
                                              .id = p->id,
                                              .sliceCount = p->slices,
                                              .instanceCount = p->max,
                                              .engines = engines_of(p->sm, p->slices),
                                              .memorySizeMB = p->memory};
    snprintf(info->name, sizeof(info->name), "MIG %s", p->name);
    return NVML_SUCCESS;
  }
  if (*version == STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v3_t, 3u)) {
    nvmlGpuInstanceProfileInfo_v3_t* info = (void*)version;
    *info = (nvmlGpuInstanceProfileInfo_v3_t){.version = *version,
                                              .id = p->id,
                                              .sliceCount = p->slices,
                                              .instanceCount = p->max,
                                              .engines = engines_of(p->sm, p->slices),
                                              .memorySizeMB = p->memory,
                                              .capabilities = strstr(p->name, "+gfx") ? 2 : 0};
    snprintf(info->name, sizeof(info->name), "MIG %s", p->name);
    return NVML_SUCCESS;
  }
  return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoV(nvmlDevice_t device, unsigned int selector, void* info) {
  struct profile p;
  const nvmlReturn_t result = profile_by_selector(device, selector, &p);
  REQUIRE(result == NVML_SUCCESS, result);
  REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
  return fill_profile(&p, info);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoByIdV(nvmlDevice_t device, unsigned int id, void* info) {
  struct handle handle;
  struct profile p;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && info, NVML_ERROR_INVALID_ARGUMENT);
  FIND(find_profile(gpu, id, 0, &p), NVML_ERROR_INVALID_ARGUMENT);
  return fill_profile(&p, info);
}
#endif

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlDevice_t device, unsigned int id,
                                                                  nvmlPlacement_t* placements, unsigned int* count) {
  struct handle handle;
  struct profile p;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && count, NVML_ERROR_INVALID_ARGUMENT);
  FIND(find_profile(gpu, id, 0, &p), NVML_ERROR_INVALID_ARGUMENT);
  const unsigned int room = *count;
  *count = 0;
  for (unsigned int start = 0; start < kMostStarts; ++start) {
    if (!(p.starts & 1u << start)) continue;
    if (placements) {
      REQUIRE(*count < room, NVML_ERROR_INSUFFICIENT_SIZE);
      placements[*count] = (nvmlPlacement_t){start, p.size};
    }
    ++*count;
  }
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceRemainingCapacity(nvmlDevice_t device, unsigned int id, unsigned int* count) {
  struct handle handle;
  struct profile p;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && count, NVML_ERROR_INVALID_ARGUMENT);
  FIND(find_profile(gpu, id, 0, &p), NVML_ERROR_INVALID_ARGUMENT);
  *count = p.remaining;
  return NVML_SUCCESS;
}

// --- GPU instances -------------------------------------------------------------------------------------------

static nvmlReturn_t create_gi(nvmlDevice_t device, unsigned int profile, const nvmlPlacement_t* placement,
                              nvmlGpuInstance_t* made) {
  struct handle handle;
  struct gi before[kMostInstances], after[kMostInstances];
  char text[32];
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && made, NVML_ERROR_INVALID_ARGUMENT);
  snprintf(text, sizeof(text), placement ? "%u %u" : "%u", profile, placement ? placement->start : 0);

  // sysfs doesn't say what a write made, so look before and after, and let no other user of this library in between.
  flock(gpu->node, LOCK_EX);
  int num_before, num_after = 0;
  nvmlReturn_t result = list_gis(gpu, before, &num_before);
  if (result == NVML_SUCCESS) result = write_lab(gpu, "create_gi", text);
  if (result == NVML_SUCCESS) result = list_gis(gpu, after, &num_after);
  flock(gpu->node, LOCK_UN);
  REQUIRE(result == NVML_SUCCESS, result);
  for (int i = 0; i < num_after; ++i) {
    int old = 0;
    for (int j = 0; j < num_before; ++j) old |= before[j].id == after[i].id;
    if (old) continue;
    *made = pack((struct handle){.kind = kGpuInstance, .gpu = handle.gpu, .gi = after[i].id});
    return NVML_SUCCESS;
  }
  return NVML_ERROR_UNKNOWN;
}

EXPORT nvmlReturn_t nvmlDeviceCreateGpuInstance(nvmlDevice_t device, unsigned int profile, nvmlGpuInstance_t* made) {
  return create_gi(device, profile, NULL, made);
}

EXPORT nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlDevice_t device, unsigned int profile,
                                                             const nvmlPlacement_t* placement, nvmlGpuInstance_t* made) {
  return create_gi(device, profile, placement, made);
}

EXPORT nvmlReturn_t nvmlGpuInstanceDestroy(nvmlGpuInstance_t instance) {
  struct handle handle;
  char text[16];
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(instance, kGpuInstance, &handle);
  REQUIRE(gpu, NVML_ERROR_INVALID_ARGUMENT);
  snprintf(text, sizeof(text), "%u", handle.gi);
  return write_lab(gpu, "destroy_gi", text);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstances(nvmlDevice_t device, unsigned int profile, nvmlGpuInstance_t* instances,
                                              unsigned int* count) {
  struct handle handle;
  struct gi gis[kMostInstances];
  struct profile p;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && instances && count, NVML_ERROR_INVALID_ARGUMENT);
  int n, on;
  TRY(check_mig(gpu));
  TRY(mig_is_on(gpu, &on));
  REQUIRE(on, NVML_ERROR_NOT_SUPPORTED);
  FIND(find_profile(gpu, profile, 0, &p), NVML_ERROR_INVALID_ARGUMENT);
  TRY(list_gis(gpu, gis, &n));
  *count = 0;
  for (int i = 0; i < n; ++i)
    if (gis[i].profile == profile)
      instances[(*count)++] = pack((struct handle){.kind = kGpuInstance, .gpu = handle.gpu, .gi = gis[i].id});
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t device, unsigned int id, nvmlGpuInstance_t* instance) {
  struct handle handle;
  struct gi gi;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && instance, NVML_ERROR_INVALID_ARGUMENT);
  TRY(find_gi(gpu, id, &gi));
  *instance = pack((struct handle){.kind = kGpuInstance, .gpu = handle.gpu, .gi = id});
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t* info) {
  struct handle handle;
  struct gi gi;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(instance, kGpuInstance, &handle);
  REQUIRE(gpu && info, NVML_ERROR_INVALID_ARGUMENT);
  TRY(find_gi(gpu, handle.gi, &gi));
  *info = (nvmlGpuInstanceInfo_t){.device = pack((struct handle){.kind = kGpu, .gpu = handle.gpu}),
                                  .id = gi.id,
                                  .profileId = gi.profile,
                                  .placement = {gi.start, gi.size}};
  return NVML_SUCCESS;
}
