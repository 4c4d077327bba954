// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 without a driver: exactly the functions that vfio/nvidia calls, over a host with two GPUs.
//
//   GPU 0  00000000:41:00.0  A100 80GB, MIG on: GI 1 (3g.40gb at 4:4, CI 0), GI 5 (2g.20gb at 2:2, CI 0 and 1),
//                            GI 7 (1g.10gb at 0:1, no CI, used by a vGPU); MIG devices at 0, 2 and 3, a hole at 1
//   GPU 1  00010000:c4:00.0  L40S, no MIG, one time-sliced vGPU
//
// Changes have effects and last until fake_nvml_reset(). Tests bend the host by environment variables:
//
//   FAKE_NVML_FAIL        NAME[#GPU][@CALL]=RETURN,...  what a function returns, for one GPU, at its n-th call from 0
//   FAKE_NVML_ACTIVATION  RETURN of the activation of a MIG mode
//   FAKE_NVML_MIG         "off": GPU 0 starts without MIG (read at reset)
//   FAKE_NVML_GPUS        how many GPUs the driver has (0, 1 or 2)
//   FAKE_NVML_FORM        newest version of the profile information that is known: 3, 2 or 1
//   FAKE_NVML_LIE         one of the false answers below, by the word given to lies()
//
// Compiled with -DFAKE_NVML_OLD it is a driver of about R450, without the functions that came later.
// Layouts are declared here once more, from NVIDIA/go-nvml gen/nvml/nvml.h, so that a mistake in nvml_abi.h shows.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int u32;
typedef unsigned long long u64;

enum {
  SUCCESS = 0,
  UNINITIALIZED = 1,
  INVALID_ARGUMENT = 2,
  NOT_SUPPORTED = 3,
  NOT_FOUND = 6,
  INSUFFICIENT_SIZE = 7,
  IN_USE = 19,
  INSUFFICIENT_RESOURCES = 23,
  ARGUMENT_VERSION_MISMATCH = 25,
};

struct pci_info {
  char bus_id_legacy[16];
  u32 domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
_Static_assert(sizeof(struct pci_info) == 68, "nvmlPciInfo_t");

struct placement {
  u32 start, size;
};

struct profile_info {
  u32 id, is_p2p, slices, instances, sm, ce, dec, enc, jpeg, ofa;
  u64 memory_mb;
};
_Static_assert(sizeof(struct profile_info) == 48, "nvmlGpuInstanceProfileInfo_t");

struct profile_info_v2 {
  u32 version, id, is_p2p, slices, instances, sm, ce, dec, enc, jpeg, ofa;
  u64 memory_mb;
  char name[96];
};
_Static_assert(sizeof(struct profile_info_v2) == 152, "nvmlGpuInstanceProfileInfo_v2_t");

struct profile_info_v3 {
  u32 version, id, slices, instances, sm, ce, dec, enc, jpeg, ofa;
  u64 memory_mb;
  char name[96];
  u32 capabilities;
};
_Static_assert(sizeof(struct profile_info_v3) == 152, "nvmlGpuInstanceProfileInfo_v3_t");

struct compute_profile_info {
  u32 id, slices, instances, sm, ce, dec, enc, jpeg, ofa;
};
_Static_assert(sizeof(struct compute_profile_info) == 36, "nvmlComputeInstanceProfileInfo_t");

struct gpu_instance_info {
  void* device;
  u32 id, profile_id;
  struct placement placement;
};
_Static_assert(sizeof(struct gpu_instance_info) == 24, "nvmlGpuInstanceInfo_t");

struct compute_instance_info {
  void *device, *gpu_instance;
  u32 id, profile_id;
  struct placement placement;
};
_Static_assert(sizeof(struct compute_instance_info) == 32, "nvmlComputeInstanceInfo_t");

struct memory {
  u64 total, free, used;
};
_Static_assert(sizeof(struct memory) == 24, "nvmlMemory_t");

struct heterogeneous_mode {
  u32 version, mode;
};
_Static_assert(sizeof(struct heterogeneous_mode) == 8, "nvmlVgpuHeterogeneousMode_v1_t");

// The host.

static const struct gpu {
  const char *bus_id, *uuid, *name;
  u32 minor;
  u64 memory;
} kGpus[] = {
    {"00000000:41:00.0", "GPU-aaaaaaaa-0000-1111-2222-333333333333", "NVIDIA A100 80GB PCIe", 0, 81920ULL << 20},
    {"00010000:c4:00.0", "GPU-bbbbbbbb-0000-1111-2222-333333333333", "NVIDIA L40S", 3, 46068ULL << 20},
};

// By selector; a profile without slices does not exist on this GPU. Selector 8 repeats the profile of selector 1.
static const struct profile {
  u32 id, slices, instances, memory_slices;
  u64 memory_mb;
  const char* name;
} kProfiles[18] = {
    [0] = {19, 1, 7, 1, 9728, "1g.10gb"},     [1] = {14, 2, 3, 2, 19968, "2g.20gb"},
    [2] = {9, 3, 2, 4, 40192, "MIG 3g.40gb"}, [4] = {0, 7, 1, 8, 81024, "7g.80gb"},
    [7] = {20, 1, 1, 1, 9728, "1g.10gb+me"},  [8] = {14, 2, 3, 2, 19968, "2g.20gb"},
};

// By selector. The ids are not those of a real driver, which no test may take for the selectors.
static const struct compute_profile {
  u32 id, slices;
} kComputeProfiles[9] = {[0] = {101, 1}, [1] = {102, 2}, [2] = {103, 3}, [4] = {107, 7}};

static const struct vgpu_type {
  u32 id, gpu, profile_id;
  u64 framebuffer;
  const char* name;
} kVgpuTypes[] = {
    {699, 0, 19, 10240ULL << 20, "GRID A100D-1-10C"},
    {702, 0, 9, 40960ULL << 20, "GRID A100D-3-40C"},
    {1155, 1, 0xFFFFFFFF, 8192ULL << 20, "NVIDIA L40S-8Q"},
};

static const struct vgpu {
  u32 id, gpu, type, gpu_instance;
  const char* mdev;
} kVgpus[] = {
    {3001, 0, 699, 7, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
    {3002, 1, 1155, 0xFFFFFFFF, NULL},
};

struct gpu_instance {
  int used;
  u32 id, profile;
  struct placement placement;
};

struct compute_instance {
  int used;
  u32 gpu_instance, id, profile;
  struct placement placement;
};

enum { kGpuInstances = 8, kComputeInstances = 7 };
static struct gpu_instance gpu_instances[kGpuInstances];              // all on GPU 0
static struct compute_instance compute_instances[kComputeInstances];  // by the index of their MIG device
static u32 mig_current, mig_pending;
static int initialised;
static int set_up;

static struct {
  const char* name;
  long calls;
} counters[64];

void fake_nvml_reset(void);
int fake_nvml_users(void);

void fake_nvml_reset(void) {
  static const struct gpu_instance gi[] = {{1, 7, 19, {0, 1}}, {1, 1, 9, {4, 4}}, {1, 5, 14, {2, 2}}};
  static const struct compute_instance ci[] = {
      {1, 1, 0, 103, {0, 3}}, {0, 0, 0, 0, {0, 0}}, {1, 5, 0, 101, {0, 1}}, {1, 5, 1, 101, {1, 1}}};
  const char* mig = getenv("FAKE_NVML_MIG");
  memset(gpu_instances, 0, sizeof gpu_instances);
  memset(compute_instances, 0, sizeof compute_instances);
  memset(counters, 0, sizeof counters);
  mig_current = mig_pending = mig == NULL || strcmp(mig, "off") != 0;
  if (mig_current) {
    memcpy(gpu_instances, gi, sizeof gi);
    memcpy(compute_instances, ci, sizeof ci);
  }
  set_up = 1;
}

// How often the library is initialised and not shut down again.
int fake_nvml_users(void) {
  return initialised;
}

// What the environment asks for.

static int lies(const char* what) {
  const char* lie = getenv("FAKE_NVML_LIE");
  return lie != NULL && strcmp(lie, what) == 0;
}

static int number(const char* variable, int otherwise) {
  const char* text = getenv(variable);
  return text == NULL ? otherwise : atoi(text);
}

static long count_call(const char* name) {
  size_t i = 0;
  while (counters[i].name != NULL && strcmp(counters[i].name, name) != 0) ++i;
  counters[i].name = name;
  return counters[i].calls++;
}

// The return value that FAKE_NVML_FAIL holds for this call, or SUCCESS.
static int asked_failure(const char* name, int gpu) {
  const long call = count_call(name);
  const char* rule = getenv("FAKE_NVML_FAIL");
  while (rule != NULL && *rule != '\0') {
    char function[96] = "";
    int length = 0;
    long only_gpu = -1, only_call = -1;
    sscanf(rule, "%95[^#@=,]%n", function, &length);
    char* rest = (char*)rule + length;
    if (*rest == '#') only_gpu = strtol(rest + 1, &rest, 10);
    if (*rest == '@') only_call = strtol(rest + 1, &rest, 10);
    const long code = *rest == '=' ? strtol(rest + 1, &rest, 10) : 0;
    const int here = strcmp(function, name) == 0 && (only_gpu < 0 || only_gpu == gpu);
    if (here && (only_call < 0 || only_call == call)) return (int)code;
    rule = *rest == ',' ? rest + 1 : NULL;
  }
  return SUCCESS;
}

#define BEGIN(gpu)                                    \
  do {                                                \
    const int failure = asked_failure(__func__, gpu); \
    if (failure != SUCCESS) return failure;           \
    if (initialised == 0) return UNINITIALIZED;       \
  } while (0)

static int gpu_of(const void* handle) {
  const struct gpu* gpu = handle;
  return gpu >= kGpus && gpu < kGpus + 2 ? (int)(gpu - kGpus) : 0;  // a MIG device is one of GPU 0
}

static int has_mig(const void* device) {
  return gpu_of(device) == 0 && mig_current;
}

static struct compute_instance* mig_device(const void* handle) {
  const struct compute_instance* instance = handle;
  const int is_one = instance >= compute_instances && instance < compute_instances + kComputeInstances;
  return is_one ? &compute_instances[instance - compute_instances] : NULL;
}

static int put_text(char* buffer, u32 size, const char* text) {
  if (lies("unterminated")) {
    memset(buffer, 'x', size);
    return SUCCESS;
  }
  if (strlen(text) >= size) return INSUFFICIENT_SIZE;
  memcpy(buffer, text, strlen(text) + 1);
  return SUCCESS;
}

// The library.

static int initialise(int failure) {
  if (failure != SUCCESS) return failure;
  if (!set_up) fake_nvml_reset();
  ++initialised;
  return SUCCESS;
}

int nvmlInit_v2(void) {
  return initialise(asked_failure("nvmlInit_v2", -1));
}

#ifndef FAKE_NVML_OLD
int nvmlInitWithFlags(u32 flags) {
  if (flags != 1) return INVALID_ARGUMENT;
  return initialise(asked_failure("nvmlInitWithFlags", -1));
}
#endif

int nvmlShutdown(void) {
  BEGIN(-1);
  --initialised;
  return SUCCESS;
}

int nvmlSystemGetDriverVersion(char* version, u32 size) {
  BEGIN(-1);
  return put_text(version, size, "570.124.06");
}

int nvmlDeviceGetCount_v2(u32* count) {
  BEGIN(-1);
  *count = lies("gpu_count") ? 0xFFFFFFFF : (u32)number("FAKE_NVML_GPUS", 2);
  return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(u32 index, const void** device) {
  BEGIN((int)index);
  if (index >= 2) return INVALID_ARGUMENT;
  *device = &kGpus[lies("swapped") ? 1 - index : index];
  return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, const void** device) {
  BEGIN(-1);
  u32 wanted[4], have[4];
  if (sscanf(bus_id, "%x:%x:%x.%x", &wanted[0], &wanted[1], &wanted[2], &wanted[3]) != 4) return INVALID_ARGUMENT;
  for (size_t i = 0; i < 2; ++i) {
    sscanf(kGpus[i].bus_id, "%x:%x:%x.%x", &have[0], &have[1], &have[2], &have[3]);
    if (memcmp(wanted, have, sizeof have) != 0) continue;
    *device = &kGpus[i];
    return SUCCESS;
  }
  return NOT_FOUND;
}

int nvmlDeviceGetPciInfo_v3(const void* device, struct pci_info* info) {
  BEGIN(gpu_of(device));
  return put_text(info->bus_id, sizeof info->bus_id, lies("bus_id") ? "nowhere" : kGpus[gpu_of(device)].bus_id);
}

int nvmlDeviceGetUUID(const void* device, char* uuid, u32 size) {
  BEGIN(gpu_of(device));
  const struct compute_instance* instance = mig_device(device);
  char text[80];
  if (instance == NULL) return put_text(uuid, size, kGpus[gpu_of(device)].uuid);
#ifdef FAKE_NVML_OLD
  snprintf(text, sizeof text, "MIG-%s/%u/%u", kGpus[0].uuid, instance->gpu_instance, instance->id);
#else
  snprintf(text, sizeof text, "MIG-cccccccc-0000-5000-8000-0000%04x%04x", instance->gpu_instance, instance->id);
#endif
  return put_text(uuid, size, text);
}

int nvmlDeviceGetName(const void* device, char* name, u32 size) {
  BEGIN(gpu_of(device));
  return put_text(name, size, kGpus[gpu_of(device)].name);
}

int nvmlDeviceGetMinorNumber(const void* device, u32* minor) {
  BEGIN(gpu_of(device));
  *minor = kGpus[gpu_of(device)].minor;
  return SUCCESS;
}

int nvmlDeviceGetMigMode(const void* device, u32* current, u32* pending) {
  BEGIN(gpu_of(device));
  if (gpu_of(device) != 0) return NOT_SUPPORTED;
  *current = mig_current;
  *pending = mig_pending;
  return SUCCESS;
}

int nvmlDeviceSetMigMode(const void* device, u32 mode, int* activation) {
  BEGIN(gpu_of(device));
  if (gpu_of(device) != 0) return NOT_SUPPORTED;
  if (!lies("mode_sticks") || mig_pending == mig_current) mig_pending = mode;
  *activation = mode == mig_current ? SUCCESS : number("FAKE_NVML_ACTIVATION", SUCCESS);
  for (int i = 0; i < kGpuInstances; ++i) {
    if (mode == 0 && gpu_instances[i].used) *activation = IN_USE;
  }
  if (*activation == SUCCESS) mig_current = mode;
  return SUCCESS;
}

int nvmlDeviceGetGpuInstanceProfileInfo(const void* device, u32 selector, struct profile_info* info) {
  BEGIN(gpu_of(device));
  if (selector >= 18) return INVALID_ARGUMENT;
  const struct profile* p = &kProfiles[selector];
  if (gpu_of(device) != 0 || p->slices == 0) return NOT_SUPPORTED;
  info->id = p->id;
  info->slices = p->slices;
  info->instances = lies("profile_instances") ? 0xFFFFFFFF : p->instances;
  info->memory_mb = p->memory_mb;
  return SUCCESS;
}

#ifndef FAKE_NVML_OLD
int nvmlDeviceGetGpuInstanceProfileInfoV(const void* device, u32 selector, void* any_version) {
  BEGIN(gpu_of(device));
  struct profile_info base = {0};
  struct profile_info_v2* v2 = any_version;
  struct profile_info_v3* v3 = any_version;
  const int form = number("FAKE_NVML_FORM", 3);
  const int version = v2->version == 0x02000098 ? 2 : v2->version == 0x03000098 ? 3 : 99;
  if (version > form) return form == 2 ? INVALID_ARGUMENT : ARGUMENT_VERSION_MISMATCH;
  if (!has_mig(device)) return NOT_SUPPORTED;
  const int result = nvmlDeviceGetGpuInstanceProfileInfo(device, selector, &base);
  if (result != SUCCESS) return result;
  *(version == 2 ? &v2->id : &v3->id) = base.id;
  *(version == 2 ? &v2->slices : &v3->slices) = base.slices;
  *(version == 2 ? &v2->instances : &v3->instances) = base.instances;
  *(version == 2 ? &v2->memory_mb : &v3->memory_mb) = base.memory_mb;
  return put_text(version == 2 ? v2->name : v3->name, 96, kProfiles[selector].name);
}
#endif

int nvmlDeviceGetGpuInstances(const void* device, u32 profile, const void** instances, u32* count) {
  BEGIN(gpu_of(device));
  if (!has_mig(device)) return NOT_SUPPORTED;
  *count = 0;
  for (int i = 0; i < kGpuInstances; ++i) {
    if (gpu_instances[i].used && gpu_instances[i].profile == profile) instances[(*count)++] = &gpu_instances[i];
  }
  if (lies("gpu_instances")) *count = 65;
  return SUCCESS;
}

int nvmlDeviceGetGpuInstanceById(const void* device, u32 id, const void** instance) {
  BEGIN(gpu_of(device));
  if (!has_mig(device)) return NOT_SUPPORTED;
  for (int i = 0; i < kGpuInstances; ++i) {
    if (!gpu_instances[i].used || gpu_instances[i].id != id) continue;
    *instance = &gpu_instances[i];
    return SUCCESS;
  }
  return NOT_FOUND;
}

int nvmlGpuInstanceGetInfo(const struct gpu_instance* instance, struct gpu_instance_info* info) {
  BEGIN(0);
  if (!instance->used) return INVALID_ARGUMENT;
  info->device = (void*)&kGpus[0];
  info->id = instance->id;
  info->profile_id = instance->profile;
  info->placement = instance->placement;
  if (lies("placement")) info->placement.start ^= 1;
  return SUCCESS;
}

static int overlap(struct placement a, struct placement b) {
  return a.start < b.start + b.size && b.start < a.start + a.size;
}

int nvmlDeviceCreateGpuInstanceWithPlacement(const void* device, u32 profile, const struct placement* placement,
                                             struct gpu_instance** made) {
  BEGIN(gpu_of(device));
  if (!has_mig(device)) return NOT_SUPPORTED;
  struct gpu_instance* place = NULL;
  u32 id = 1, fits = 0;
  for (size_t i = 0; i < 18; ++i) {
    const struct profile* p = &kProfiles[i];
    fits |= p->slices != 0 && p->id == profile && p->memory_slices == placement->size;
  }
  if (!fits || placement->start + placement->size > 8) return INVALID_ARGUMENT;
  for (int i = 0; i < kGpuInstances; ++i) {
    struct gpu_instance* other = &gpu_instances[i];
    if (!other->used) place = other;
    if (other->used && overlap(other->placement, *placement)) return INSUFFICIENT_RESOURCES;
  }
  for (int i = 0; i < kGpuInstances; ++i) {
    if (gpu_instances[i].used && gpu_instances[i].id == id) ++id, i = -1;
  }
  *place = (struct gpu_instance){1, id, profile, *placement};
  *made = place;
  return SUCCESS;
}

int nvmlGpuInstanceDestroy(struct gpu_instance* instance) {
  BEGIN(0);
  if (!instance->used) return INVALID_ARGUMENT;
  for (int i = 0; i < kComputeInstances; ++i) {
    if (compute_instances[i].used && compute_instances[i].gpu_instance == instance->id) return IN_USE;
  }
  if (instance->id == kVgpus[0].gpu_instance) return IN_USE;
  instance->used = 0;
  return SUCCESS;
}

static u32 slices_of(const struct gpu_instance* instance) {
  for (size_t i = 0; i < 18; ++i) {
    if (kProfiles[i].slices != 0 && kProfiles[i].id == instance->profile) return kProfiles[i].slices;
  }
  return 0;
}

int nvmlGpuInstanceGetComputeInstanceProfileInfo(const struct gpu_instance* instance, u32 selector, u32 engine_profile,
                                                 struct compute_profile_info* info) {
  BEGIN(0);
  if (!instance->used || selector >= 9 || engine_profile != 0) return INVALID_ARGUMENT;
  const struct compute_profile* p = &kComputeProfiles[selector];
  if (p->slices == 0 || p->slices > slices_of(instance)) return NOT_SUPPORTED;
  info->id = p->id;
  info->slices = p->slices;
  info->instances = lies("compute_profile_instances") ? 0xFFFFFFFF : slices_of(instance) / p->slices;
  return SUCCESS;
}

int nvmlGpuInstanceGetComputeInstances(const struct gpu_instance* instance, u32 profile, const void** instances,
                                       u32* count) {
  BEGIN(0);
  if (!instance->used) return INVALID_ARGUMENT;
  *count = 0;
  for (int i = 0; i < kComputeInstances; ++i) {
    const struct compute_instance* c = &compute_instances[i];
    if (c->used && c->gpu_instance == instance->id && c->profile == profile) instances[(*count)++] = c;
  }
  if (lies("compute_instances")) *count = 65;
  return SUCCESS;
}

int nvmlComputeInstanceGetInfo_v2(const struct compute_instance* instance, struct compute_instance_info* info) {
  BEGIN(0);
  if (!instance->used) return INVALID_ARGUMENT;
  info->device = (void*)&kGpus[0];
  info->gpu_instance = NULL;
  info->id = instance->id;
  info->profile_id = instance->profile;
  info->placement = instance->placement;
  return SUCCESS;
}

static int place_compute_instance(const struct gpu_instance* parent, u32 profile, struct placement placement,
                                  struct compute_instance** made) {
  struct compute_instance* place = NULL;
  u32 id = 0;
  if (placement.start + placement.size > slices_of(parent)) return INSUFFICIENT_RESOURCES;
  for (int i = kComputeInstances - 1; i >= 0; --i) {
    struct compute_instance* other = &compute_instances[i];
    if (!other->used) place = other;
    if (!other->used || other->gpu_instance != parent->id) continue;
    if (overlap(other->placement, placement)) return INSUFFICIENT_RESOURCES;
  }
  for (int i = 0; i < kComputeInstances; ++i) {
    const struct compute_instance* other = &compute_instances[i];
    if (other->used && other->gpu_instance == parent->id && other->id == id) ++id, i = -1;
  }
  if (place == NULL) return INSUFFICIENT_RESOURCES;
  *place = (struct compute_instance){1, parent->id, id, profile, placement};
  *made = place;
  return SUCCESS;
}

static u32 compute_slices(u32 profile) {
  for (size_t i = 0; i < 9; ++i) {
    if (kComputeProfiles[i].slices != 0 && kComputeProfiles[i].id == profile) return kComputeProfiles[i].slices;
  }
  return 0;
}

int nvmlGpuInstanceCreateComputeInstance(const struct gpu_instance* parent, u32 profile,
                                         struct compute_instance** made) {
  BEGIN(0);
  struct placement placement = {0, compute_slices(profile)};
  if (!parent->used || placement.size == 0) return INVALID_ARGUMENT;
  int result = INSUFFICIENT_RESOURCES;
  for (; result != SUCCESS && placement.start < 8; ++placement.start) {
    result = place_compute_instance(parent, profile, placement, made);
  }
  return result;
}

#ifndef FAKE_NVML_OLD
int nvmlGpuInstanceCreateComputeInstanceWithPlacement(const struct gpu_instance* parent, u32 profile,
                                                      const struct placement* placement,
                                                      struct compute_instance** made) {
  BEGIN(0);
  if (!parent->used || placement->size == 0 || placement->size != compute_slices(profile)) return INVALID_ARGUMENT;
  return place_compute_instance(parent, profile, *placement, made);
}
#endif

int nvmlComputeInstanceDestroy(struct compute_instance* instance) {
  BEGIN(0);
  if (!instance->used) return INVALID_ARGUMENT;
  instance->used = 0;
  return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(const void* device, u32* count) {
  BEGIN(gpu_of(device));
  *count = lies("mig_devices") ? 0xFFFFFFFF : has_mig(device) ? kComputeInstances : 0;
  return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(const void* device, u32 index, void** mig) {
  BEGIN(gpu_of(device));
  if (!has_mig(device) || index >= kComputeInstances) return INVALID_ARGUMENT;
  if (!compute_instances[index].used) return NOT_FOUND;
  *mig = &compute_instances[index];
  return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(const void* device, u32* id) {
  BEGIN(gpu_of(device));
  if (mig_device(device) == NULL) return INVALID_ARGUMENT;
  *id = mig_device(device)->gpu_instance;
  return SUCCESS;
}

int nvmlDeviceGetComputeInstanceId(const void* device, u32* id) {
  BEGIN(gpu_of(device));
  if (mig_device(device) == NULL) return INVALID_ARGUMENT;
  *id = mig_device(device)->id;
  return SUCCESS;
}

// The number that the caller is told, between the one it had room for and the one there is.
static int tell_count(u32* count, u32 room, u32 there) {
  *count = there;
  return room < there ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetSupportedVgpus(const void* device, u32* count, u32* types) {
  BEGIN(gpu_of(device));
  static u32 grown;
  const u32 room = *count;
  u32 there = 0;
  for (size_t i = 0; i < 3; ++i) there += kVgpuTypes[i].gpu == (u32)gpu_of(device);
  if (lies("vgpus_grow")) return tell_count(count, room, room + 1);
  if (lies("vgpu_count")) return tell_count(count, room, 0xFFFFFFFF);
  if (lies("vgpu_overrun")) return tell_count(count, room + 9, room + 5);
  // Between the question and the answer a type appears: the first caller is told of one fewer.
  if (room == 0) grown = 0;
  if (lies("vgpu_appears") && grown++ == 0) return tell_count(count, room, there - 1);
  const int result = tell_count(count, room, there);
  for (size_t i = 0, n = 0; result == SUCCESS && i < 3; ++i) {
    if (kVgpuTypes[i].gpu == (u32)gpu_of(device)) types[n++] = kVgpuTypes[i].id;
  }
  return result;
}

static const struct vgpu_type* type_of(u32 id) {
  for (size_t i = 0; i < 3; ++i) {
    if (kVgpuTypes[i].id == id) return &kVgpuTypes[i];
  }
  return NULL;
}

int nvmlVgpuTypeGetName(u32 type, char* name, u32* size) {
  BEGIN(-1);
  return type_of(type) == NULL ? INVALID_ARGUMENT : put_text(name, *size, type_of(type)->name);
}

int nvmlVgpuTypeGetFramebufferSize(u32 type, u64* size) {
  BEGIN(-1);
  if (type_of(type) == NULL) return INVALID_ARGUMENT;
  *size = type_of(type)->framebuffer;
  return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(const void* device, struct memory* memory) {
  BEGIN(gpu_of(device));
  *memory = (struct memory){kGpus[gpu_of(device)].memory, 0, 0};
  return SUCCESS;
}

int nvmlDeviceGetActiveVgpus(const void* device, u32* count, u32* vgpus) {
  BEGIN(gpu_of(device));
  const int result = tell_count(count, *count, 1);
  if (result == SUCCESS) vgpus[0] = kVgpus[gpu_of(device)].id;
  return result;
}

static const struct vgpu* vgpu_of(u32 id) {
  return id == kVgpus[0].id ? &kVgpus[0] : &kVgpus[1];
}

int nvmlVgpuInstanceGetType(u32 vgpu, u32* type) {
  BEGIN(-1);
  *type = vgpu_of(vgpu)->type;
  return SUCCESS;
}

#ifndef FAKE_NVML_OLD
int nvmlVgpuTypeGetGpuInstanceProfileId(u32 type, u32* profile) {
  BEGIN(-1);
  if (type_of(type) == NULL) return INVALID_ARGUMENT;
  *profile = type_of(type)->profile_id;
  return SUCCESS;
}

int nvmlVgpuInstanceGetGpuInstanceId(u32 vgpu, u32* gpu_instance) {
  BEGIN(-1);
  *gpu_instance = vgpu_of(vgpu)->gpu_instance;
  return SUCCESS;
}

// Refused for the GPU with MIG on, as by the driver; the other one has mixed sizes.
int nvmlDeviceGetVgpuHeterogeneousMode(const void* device, struct heterogeneous_mode* mode) {
  BEGIN(gpu_of(device));
  if (mode->version != 0x01000008) return ARGUMENT_VERSION_MISMATCH;
  if (gpu_of(device) == 0) return NOT_SUPPORTED;
  mode->mode = 1;
  return SUCCESS;
}

int nvmlVgpuInstanceGetMdevUUID(u32 vgpu, char* uuid, u32 size) {
  BEGIN(-1);
  return vgpu_of(vgpu)->mdev == NULL ? NOT_SUPPORTED : put_text(uuid, size, vgpu_of(vgpu)->mdev);
}
#endif
