// SPDX-License-Identifier: Apache-2.0
// Prints what `nvidia-smi -L` and `nvidia-smi vgpu` would, through the library that SLICEBROKER_NVML names. A check of the
// stand-in that shares no code with it, and a help to people in `lab shell`.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void* handle;

static void* library;

static void* symbol(const char* name) {
  void* found = dlsym(library, name);
  if (!found) {
    fprintf(stderr, "no %s\n", name);
    exit(1);
  }
  return found;
}

#define CALL(name, types, ...)                                     \
  do {                                                             \
    const int result = ((int(*) types)symbol(#name))(__VA_ARGS__); \
    if (result) {                                                  \
      fprintf(stderr, #name ": %d\n", result);                     \
      exit(1);                                                     \
    }                                                              \
  } while (0)

static void print_mig_devices(handle gpu) {
  unsigned int count = 0, gi, ci;
  CALL(nvmlDeviceGetMaxMigDeviceCount, (handle, unsigned int*), gpu, &count);
  for (unsigned int i = 0; i < count; ++i) {
    handle mig;
    char uuid[96];
    if (((int (*)(handle, unsigned int, handle*))symbol("nvmlDeviceGetMigDeviceHandleByIndex"))(gpu, i, &mig)) continue;
    CALL(nvmlDeviceGetUUID, (handle, char*, unsigned int), mig, uuid, sizeof(uuid));
    CALL(nvmlDeviceGetGpuInstanceId, (handle, unsigned int*), mig, &gi);
    CALL(nvmlDeviceGetComputeInstanceId, (handle, unsigned int*), mig, &ci);
    printf("  MIG Device %u: GI %u CI %u (UUID: %s)\n", i, gi, ci, uuid);
  }
}

static void print_vgpus(handle gpu) {
  unsigned int ids[32], count = 32, type, gi, size;
  if (((int (*)(handle, unsigned int*, unsigned int*))symbol("nvmlDeviceGetActiveVgpus"))(gpu, &count, ids)) return;
  for (unsigned int i = 0; i < count; ++i) {
    char name[64];
    CALL(nvmlVgpuInstanceGetType, (unsigned int, unsigned int*), ids[i], &type);
    CALL(nvmlVgpuInstanceGetGpuInstanceId, (unsigned int, unsigned int*), ids[i], &gi);
    size = sizeof(name);
    CALL(nvmlVgpuTypeGetName, (unsigned int, char*, unsigned int*), type, name, &size);
    printf("  vGPU %u: %s GI %d\n", ids[i], name, (int)gi);
  }
}

int main(void) {
  const char* file = getenv("SLICEBROKER_NVML");
  unsigned int count;
  library = dlopen(file ? file : "libnvidia-ml.so.1", RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  CALL(nvmlInit_v2, (void), );
  CALL(nvmlDeviceGetCount_v2, (unsigned int*), &count);
  for (unsigned int i = 0; i < count; ++i) {
    handle gpu;
    char name[96], uuid[96];
    const int state = ((int (*)(unsigned int, handle*))symbol("nvmlDeviceGetHandleByIndex_v2"))(i, &gpu);
    if (state) {
      printf("GPU %u: %s\n", i, ((const char* (*)(int))symbol("nvmlErrorString"))(state));
      continue;
    }
    CALL(nvmlDeviceGetName, (handle, char*, unsigned int), gpu, name, sizeof(name));
    CALL(nvmlDeviceGetUUID, (handle, char*, unsigned int), gpu, uuid, sizeof(uuid));
    printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
    print_mig_devices(gpu);
    print_vgpus(gpu);
  }
  CALL(nvmlShutdown, (void), );
  return 0;
}
