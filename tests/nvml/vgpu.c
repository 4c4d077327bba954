// SPDX-License-Identifier: Apache-2.0
// vGPU types and the vGPUs that exist.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab_nvml.h"

struct type {
  unsigned int id, framebuffer, max, creatable;
  int profile;
  char name[64];
};
struct vgpu {
  char vf[16];
  unsigned int id, type;
  int gi;
  char mdev[64];
  unsigned int placement;  // the lab's module doesn't tell: 0
};

static int parse_type(const char* line, struct type* t) {
  return sscanf(line, "%u %d %u %u %u %63[^\n]", &t->id, &t->profile, &t->framebuffer, &t->max, &t->creatable,
                t->name) == 6;
}

// A type's id says nothing about its GPU. No two of our boards use one id for different types.
static int find_type(unsigned int id, struct type* t) {
  int count;
  const struct gpu* list = gpus(&count);
  for (int i = 0; i < count; ++i) {
    char text[kText], *rest = text, *line;
    if (read_lab(&list[i], "vgpu_types", text)) continue;
    while ((line = next_line(&rest)))
      if (parse_type(line, t) && t->id == id) return 1;
  }
  return 0;
}

// An id for a vGPU, from its function and its UUID: FNV-1a.
static unsigned int vgpu_id(const struct vgpu* v) {
  unsigned int id = 2166136261u;
  for (const char* c = v->vf; *c; ++c) id = (id ^ (unsigned char)*c) * 16777619u;
  for (const char* c = v->mdev; *c; ++c) id = (id ^ (unsigned char)*c) * 16777619u;
  return id;
}

static int parse_vgpu(const char* line, struct vgpu* v) {
  v->placement = 0;
  if (sscanf(line, "%15s %u %d %63s %u", v->vf, &v->type, &v->gi, v->mdev, &v->placement) < 4) return 0;
  v->id = vgpu_id(v);
  return 1;
}

static int find_vgpu(unsigned int id, struct vgpu* v, const struct gpu** gpu) {
  int count;
  const struct gpu* list = gpus(&count);
  for (int i = 0; i < count; ++i) {
    char text[kText], *rest = text, *line;
    if (read_lab(&list[i], "vgpus", text)) continue;
    while ((line = next_line(&rest)))
      if (parse_vgpu(line, v) && v->id == id) {
        *gpu = &list[i];
        return 1;
      }
  }
  return 0;
}

static nvmlReturn_t check_vgpus(const struct gpu* gpu) {
  char text[kText];
  TRY(read_lab(gpu, "vgpu_types", text));
  return text[0] ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

// Which ids of <GPU>/lab/FILE to list.
static int wanted_type(const char* line, unsigned int* id) {
  struct type t;
  if (!parse_type(line, &t)) return 0;
  *id = t.id;
  return 1;
}
static int creatable_type(const char* line, unsigned int* id) {
  struct type t;
  if (!parse_type(line, &t) || !t.creatable) return 0;
  *id = t.id;
  return 1;
}
static int any_vgpu(const char* line, unsigned int* id) {
  struct vgpu v;
  if (!parse_vgpu(line, &v)) return 0;
  *id = v.id;
  return 1;
}

static nvmlReturn_t list_ids(nvmlDevice_t device, const char* file, int (*wanted)(const char*, unsigned int*),
                             unsigned int* count, unsigned int* ids) {
  struct handle handle;
  char text[kText], *rest = text, *line;
  unsigned int n = 0, id;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && count, NVML_ERROR_INVALID_ARGUMENT);
  TRY(check_vgpus(gpu));
  TRY(read_lab(gpu, file, text));
  while ((line = next_line(&rest))) {
    if (!wanted(line, &id)) continue;
    if (ids && n < *count) ids[n] = id;
    ++n;
  }
  const unsigned int room = ids ? *count : 0;
  *count = n;
  return n <= room ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedVgpus(nvmlDevice_t device, unsigned int* count, nvmlVgpuTypeId_t* ids) {
  return list_ids(device, "vgpu_types", wanted_type, count, ids);
}

EXPORT nvmlReturn_t nvmlDeviceGetCreatableVgpus(nvmlDevice_t device, unsigned int* count, nvmlVgpuTypeId_t* ids) {
  return list_ids(device, "vgpu_types", creatable_type, count, ids);
}

EXPORT nvmlReturn_t nvmlDeviceGetActiveVgpus(nvmlDevice_t device, unsigned int* count, nvmlVgpuInstance_t* ids) {
  return list_ids(device, "vgpus", any_vgpu, count, ids);
}

EXPORT nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, unsigned int* mode) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && mode, NVML_ERROR_INVALID_ARGUMENT);
  const nvmlReturn_t has_vgpus = check_vgpus(gpu);
  REQUIRE(has_vgpus == NVML_SUCCESS || has_vgpus == NVML_ERROR_NOT_SUPPORTED, has_vgpus);
  *mode = has_vgpus == NVML_SUCCESS ? 3 : 0;  // HOST_VGPU or NONE
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHostVgpuMode(nvmlDevice_t device, unsigned int* mode) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && mode, NVML_ERROR_INVALID_ARGUMENT);
  char path[4096 + 64];
  TRY(check_vgpus(gpu));
  host_path(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_totalvfs", gpu->bdf);
  *mode = !access(path, F_OK);  // 1: SR-IOV
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuTypeGetName(nvmlVgpuTypeId_t id, char* buffer, unsigned int* size) {
  struct type t;
  REQUIRE_INIT();
  REQUIRE(size && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  const nvmlReturn_t result = copy_text(t.name, buffer, *size);
  *size = (unsigned int)strlen(t.name) + 1;
  return result;
}

EXPORT nvmlReturn_t nvmlVgpuTypeGetClass(nvmlVgpuTypeId_t id, char* buffer, unsigned int* size) {
  struct type t;
  REQUIRE_INIT();
  REQUIRE(size && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  return copy_text("Compute", buffer, *size);
}

#ifndef NVML_OLD
EXPORT nvmlReturn_t nvmlVgpuTypeGetGpuInstanceProfileId(nvmlVgpuTypeId_t id, unsigned int* profile) {
  struct type t;
  REQUIRE_INIT();
  REQUIRE(profile && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  *profile = t.profile < 0 ? kUnset : (unsigned int)t.profile;
  return NVML_SUCCESS;
}

// Of a type that no file limits, one.
EXPORT nvmlReturn_t nvmlVgpuTypeGetMaxInstancesPerGpuInstance(nvmlVgpuTypeMaxInstance_t* limit) {
  struct type t;
  unsigned int id, most;
  int count;
  REQUIRE_INIT();
  REQUIRE(limit, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(limit->version == STRUCT_VERSION(nvmlVgpuTypeMaxInstance_t, 1u), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  REQUIRE(find_type(limit->vgpuTypeId, &t), NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(t.profile >= 0, NVML_ERROR_NOT_SUPPORTED);
  limit->maxInstancePerGI = 1;
  const struct gpu* list = gpus(&count);
  for (int i = 0; i < count; ++i) {
    char text[kText], *rest = text, *line;
    if (read_optional(&list[i], "vgpu_limits", text)) continue;
    while ((line = next_line(&rest)))
      if (sscanf(line, "%u %u", &id, &most) == 2 && id == t.id) limit->maxInstancePerGI = most;
  }
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetVgpuHeterogeneousMode(nvmlDevice_t device, nvmlVgpuHeterogeneousMode_t* mode) {
  struct handle handle;
  char text[kText];
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && mode, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(mode->version == STRUCT_VERSION(nvmlVgpuHeterogeneousMode_t, 1u), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  TRY(check_vgpus(gpu));
  TRY(read_optional(gpu, "vgpu_heterogeneous", text));
  REQUIRE(text[0], NVML_ERROR_NOT_SUPPORTED);
  mode->mode = text[0] == '1';
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceSetVgpuHeterogeneousMode(nvmlDevice_t device, const nvmlVgpuHeterogeneousMode_t* mode) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && mode && mode->mode <= 1, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(mode->version == STRUCT_VERSION(nvmlVgpuHeterogeneousMode_t, 1u), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  TRY(check_vgpus(gpu));
  return write_lab(gpu, "vgpu_heterogeneous", mode->mode ? "1" : "0");
}
#endif

EXPORT nvmlReturn_t nvmlVgpuTypeGetFramebufferSize(nvmlVgpuTypeId_t id, unsigned long long* bytes) {
  struct type t;
  REQUIRE_INIT();
  REQUIRE(bytes && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  *bytes = (unsigned long long)t.framebuffer << 20;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuTypeGetMaxInstances(nvmlDevice_t device, nvmlVgpuTypeId_t id, unsigned int* max) {
  struct type t;
  struct handle handle;
  REQUIRE_INIT();
  REQUIRE(max && unpack(device, kGpu, &handle) && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  *max = t.max;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuTypeGetMaxInstancesPerVm(nvmlVgpuTypeId_t id, unsigned int* max) {
  struct type t;
  REQUIRE_INIT();
  REQUIRE(max && find_type(id, &t), NVML_ERROR_INVALID_ARGUMENT);
  *max = 16;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuInstanceGetType(nvmlVgpuInstance_t id, nvmlVgpuTypeId_t* type) {
  const struct gpu* gpu;
  struct vgpu v;
  REQUIRE_INIT();
  REQUIRE(type, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(find_vgpu(id, &v, &gpu), NVML_ERROR_NOT_FOUND);
  *type = v.type;
  return NVML_SUCCESS;
}

#ifndef NVML_OLD
EXPORT nvmlReturn_t nvmlVgpuInstanceGetGpuInstanceId(nvmlVgpuInstance_t id, unsigned int* gi) {
  const struct gpu* gpu;
  struct vgpu v;
  REQUIRE_INIT();
  REQUIRE(gi, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(find_vgpu(id, &v, &gpu), NVML_ERROR_NOT_FOUND);
  *gi = v.gi < 0 ? kUnset : (unsigned int)v.gi;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuInstanceGetPlacementId(nvmlVgpuInstance_t id, nvmlVgpuPlacementId_t* placement) {
  const struct gpu* gpu;
  struct vgpu v;
  REQUIRE_INIT();
  REQUIRE(placement, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(placement->version == STRUCT_VERSION(nvmlVgpuPlacementId_t, 1u), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  REQUIRE(find_vgpu(id, &v, &gpu), NVML_ERROR_NOT_FOUND);
  placement->placementId = v.placement;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlVgpuInstanceGetMdevUUID(nvmlVgpuInstance_t id, char* buffer, unsigned int size) {
  static const char none[] = "00000000-0000-0000-0000-000000000000";
  const struct gpu* gpu;
  struct vgpu v;
  REQUIRE_INIT();
  REQUIRE(find_vgpu(id, &v, &gpu), NVML_ERROR_NOT_FOUND);
  REQUIRE(strcmp(v.mdev, none), NVML_ERROR_NOT_SUPPORTED);  // vendor-specific VFIO has no mdev
  return copy_text(v.mdev, buffer, size);
}
#endif

EXPORT nvmlReturn_t nvmlVgpuInstanceGetGpuPciId(nvmlVgpuInstance_t id, char* buffer, unsigned int* size) {
  const struct gpu* gpu;
  struct vgpu v;
  char text[32];
  REQUIRE_INIT();
  REQUIRE(size, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(find_vgpu(id, &v, &gpu), NVML_ERROR_NOT_FOUND);
  snprintf(text, sizeof(text), "0000%s", gpu->bdf);
  return copy_text(text, buffer, *size);
}
