// SPDX-License-Identifier: Apache-2.0
// The library itself, and GPUs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab_nvml.h"

enum { kPath = 4096 };
#define DRIVER "/sys/bus/pci/drivers/nvidia"
#define LIBRARY "/usr/lib/libnvidia-ml.so.1"

static char root[kPath];
static struct gpu found[kMostGpus];
static int num_found;
static int users;

int initialised(void) { return users > 0; }

const struct gpu* gpus(int* count) {
  *count = num_found;
  return found;
}

void* pack(struct handle handle) {
  return (void*)((uintptr_t)handle.kind << 24 | (uintptr_t)handle.gpu << 16 | (uintptr_t)handle.gi << 8 | handle.ci);
}

struct gpu* unpack(void* packed, enum kind kind, struct handle* handle) {
  const uintptr_t value = (uintptr_t)packed;
  *handle = (struct handle){(enum kind)(value >> 24), value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff};
  const int right = kind ? handle->kind == kind : handle->kind == kGpu || handle->kind == kMigDevice;
  return right && (int)handle->gpu < num_found ? &found[handle->gpu] : NULL;
}

static void find_root(void) {
  const char* given = getenv("SIMHOST");
  Dl_info library;
  root[0] = '\0';
  if (given) {
    snprintf(root, sizeof(root), "%s", given);
  } else if (dladdr(root, &library) && library.dli_fname) {
    const size_t length = strlen(library.dli_fname), end = strlen(LIBRARY);
    if (length > end && !strcmp(library.dli_fname + length - end, LIBRARY))
      snprintf(root, sizeof(root), "%.*s", (int)(length - end), library.dli_fname);
  }
}

void host_path(char* path, unsigned int size, const char* format, ...) {
  va_list arguments;
  const int length = snprintf(path, size, "%s", root);
  va_start(arguments, format);
  vsnprintf(path + length, size - (unsigned int)length, format, arguments);
  va_end(arguments);
}

static int open_lab(const struct gpu* gpu, const char* file, int flags) {
  char path[kPath + 128];
  host_path(path, sizeof(path), DRIVER "/%s/lab/%s", gpu->bdf, file);
  return open(path, flags | O_CLOEXEC);
}

static nvmlReturn_t meaning_of(int error) {
  switch (error) {
    case ENOSPC: return NVML_ERROR_INSUFFICIENT_RESOURCES;
    case EBUSY: return NVML_ERROR_IN_USE;
    case EINVAL: return NVML_ERROR_INVALID_ARGUMENT;
    case EOPNOTSUPP: return NVML_ERROR_NOT_SUPPORTED;
    case EACCES:
    case EPERM: return NVML_ERROR_NO_PERMISSION;
    case ENODEV:
    case ENOENT: return NVML_ERROR_GPU_IS_LOST;
    case ETIMEDOUT: return NVML_ERROR_TIMEOUT;
    case ESTALE: return NVML_ERROR_RESET_REQUIRED;
    case ENOMEM: return NVML_ERROR_MEMORY;
    case ENODATA: return NVML_ERROR_NO_DATA;
    default: return NVML_ERROR_UNKNOWN;
  }
}

// Whether all of it could be read; errno where not.
static int read_text(int fd, char text[kText]) {
  size_t length = 0;
  ssize_t size = 1;
  while (size > 0 && length < kText - 1) {
    size = read(fd, text + length, kText - 1 - length);
    if (size > 0) length += (size_t)size;
  }
  text[size < 0 ? 0 : length] = '\0';
  return size >= 0;
}

static int try_read(const struct gpu* gpu, const char* file, char text[kText]) {
  const int fd = open_lab(gpu, file, O_RDONLY);
  text[0] = '\0';
  if (fd < 0) return errno;
  const int error = read_text(fd, text) ? 0 : errno;
  close(fd);
  return error;
}

nvmlReturn_t read_lab(const struct gpu* gpu, const char* file, char text[kText]) {
  const int error = try_read(gpu, file, text);
  return error ? meaning_of(error) : NVML_SUCCESS;
}

nvmlReturn_t read_optional(const struct gpu* gpu, const char* file, char text[kText]) {
  const int error = try_read(gpu, file, text);
  return error && error != ENOENT ? meaning_of(error) : NVML_SUCCESS;
}

nvmlReturn_t write_lab(const struct gpu* gpu, const char* file, const char* text) {
  const int fd = open_lab(gpu, file, O_WRONLY);
  if (fd < 0) return meaning_of(errno);
  const ssize_t written = write(fd, text, strlen(text));
  // Of a write, "no such" is about the instance that it names.
  const nvmlReturn_t result = written >= 0 ? NVML_SUCCESS : errno == ENOENT ? NVML_ERROR_NOT_FOUND : meaning_of(errno);
  close(fd);
  return result;
}

char* next_line(char** rest) {
  char* line = strsep(rest, "\n");
  return line && *line ? line : NULL;
}

nvmlReturn_t copy_text(const char* text, char* buffer, unsigned int size) {
  REQUIRE(buffer, NVML_ERROR_INVALID_ARGUMENT);
  REQUIRE(strlen(text) < size, NVML_ERROR_INSUFFICIENT_SIZE);
  strcpy(buffer, text);
  return NVML_SUCCESS;
}

// One that somebody has the unbindLock of, or that is on its way out, is left out.
static void add_gpu(const char* directory) {
  struct gpu* gpu = &found[num_found];
  char text[kText];
  char node[kPath + 32];
  const char* end = strstr(directory + strlen(root), "/lab");
  if (num_found == kMostGpus || !end || end - directory < 12) return;
  *gpu = (struct gpu){.node = -1};
  snprintf(gpu->bdf, sizeof(gpu->bdf), "%.12s", end - 12);
  gpu->state = read_lab(gpu, "gpu", text);
  if (gpu->state == NVML_SUCCESS) {
    if (sscanf(text, "%u %63s %63[^\n]", &gpu->minor, gpu->uuid, gpu->name) != 3) return;
    host_path(node, sizeof(node), "/dev/nvidia%u", gpu->minor);
    gpu->node = open(node, O_RDWR | O_CLOEXEC);
    if (gpu->node < 0 && (errno == EBUSY || errno == ENODEV || errno == ENOENT)) return;
    if (gpu->node < 0) gpu->state = meaning_of(errno);
  }
  ++num_found;
}

static nvmlReturn_t initialise(unsigned int flags) {
  glob_t directories;
  char path[kPath + 64];
  if (users++) return NVML_SUCCESS;
  find_root();
  host_path(path, sizeof(path), DRIVER);
  if (access(path, F_OK)) {
    users = 0;
    return NVML_ERROR_DRIVER_NOT_LOADED;
  }
  host_path(path, sizeof(path), DRIVER "/*/lab");
  if (!glob(path, 0, NULL, &directories)) {
    for (size_t i = 0; i < directories.gl_pathc; ++i) add_gpu(directories.gl_pathv[i]);
    globfree(&directories);
  }
  if (num_found || flags & 1) return NVML_SUCCESS;  // NVML_INIT_FLAG_NO_GPUS
  users = 0;
  return NVML_ERROR_GPU_NOT_FOUND;
}

#ifndef NVML_OLD
EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { return initialise(flags); }
#endif

EXPORT nvmlReturn_t nvmlInit_v2(void) { return initialise(0); }

EXPORT nvmlReturn_t nvmlShutdown(void) {
  REQUIRE_INIT();
  if (--users) return NVML_SUCCESS;
  while (num_found)
    if (found[--num_found].node >= 0) close(found[num_found].node);
  return NVML_SUCCESS;
}

EXPORT const char* nvmlErrorString(nvmlReturn_t code) {
  switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NO_PERMISSION: return "Insufficient Permissions";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    case NVML_ERROR_RESET_REQUIRED: return "GPU requires reset";
    case NVML_ERROR_MEMORY: return "Insufficient Memory";
    case NVML_ERROR_NO_DATA: return "No data";
    case NVML_ERROR_IN_USE: return "In use by another client";
    case NVML_ERROR_INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    case NVML_ERROR_GPU_NOT_FOUND: return "Unable to determine the device handle for GPU";
    default: return "Unknown Error";
  }
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char* buffer, unsigned int size) {
  REQUIRE_INIT();
  char path[kPath + 64], version[80] = "";
  host_path(path, sizeof(path), "/sys/module/nvidia/version");
  FILE* file = fopen(path, "re");
  if (file) {
    if (fscanf(file, "%79s", version) != 1) version[0] = '\0';
    fclose(file);
  }
  return copy_text(version, buffer, size);
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char* buffer, unsigned int size) {
  REQUIRE_INIT();
  return copy_text("13.570.00.lab", buffer, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int* count) {
  REQUIRE_INIT();
  REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
  *count = (unsigned int)num_found;
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t* device) {
  REQUIRE_INIT();
  REQUIRE(device && (int)index < num_found, NVML_ERROR_INVALID_ARGUMENT);
  *device = pack((struct handle){.kind = kGpu, .gpu = index});
  return found[index].state;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char* text, nvmlDevice_t* device) {
  unsigned int domain = 0, bus, slot, function = 0;
  char bdf[32];
  REQUIRE_INIT();
  REQUIRE(text && device, NVML_ERROR_INVALID_ARGUMENT);
  if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
    domain = function = 0;
    REQUIRE(sscanf(text, "%x:%x.%x", &bus, &slot, &function) >= 2, NVML_ERROR_INVALID_ARGUMENT);
  }
  snprintf(bdf, sizeof(bdf), "%04x:%02x:%02x.%x", domain, bus, slot, function);
  for (int i = 0; i < num_found; ++i)
    if (!strcmp(found[i].bdf, bdf)) return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, device);
  return NVML_ERROR_NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char* buffer, unsigned int size) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, 0, &handle);
  REQUIRE(gpu, NVML_ERROR_INVALID_ARGUMENT);
  return copy_text(gpu->name, buffer, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t* memory) {
  char text[kText];
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, 0, &handle);
  REQUIRE(gpu && memory, NVML_ERROR_INVALID_ARGUMENT);
  TRY(read_optional(gpu, "memory", text));
  const unsigned long long total = strtoull(text, NULL, 10) << 20;
  REQUIRE(total, NVML_ERROR_NOT_SUPPORTED);
  *memory = (nvmlMemory_t){total, total, 0};
  return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int* minor) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, kGpu, &handle);
  REQUIRE(gpu && minor, NVML_ERROR_INVALID_ARGUMENT);
  *minor = gpu->minor;
  return NVML_SUCCESS;
}

static unsigned int pci_number(const struct gpu* gpu, const char* file) {
  char path[kPath + 96], text[16] = "";
  host_path(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", gpu->bdf, file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  if (read(fd, text, sizeof(text) - 1) < 0) text[0] = '\0';
  close(fd);
  return (unsigned int)strtoul(text, NULL, 0);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t* info) {
  struct handle handle;
  REQUIRE_INIT();
  const struct gpu* gpu = unpack(device, 0, &handle);
  REQUIRE(gpu && info, NVML_ERROR_INVALID_ARGUMENT);
  *info = (nvmlPciInfo_t){0};
  if (sscanf(gpu->bdf, "%x:%x:%x", &info->domain, &info->bus, &info->device) != 3) return NVML_ERROR_UNKNOWN;
  snprintf(info->busId, sizeof(info->busId), "0000%s", gpu->bdf);
  snprintf(info->busIdLegacy, sizeof(info->busIdLegacy), "%s", gpu->bdf);
  info->pciDeviceId = pci_number(gpu, "device") << 16 | pci_number(gpu, "vendor");
  info->pciSubSystemId = pci_number(gpu, "subsystem_device") << 16 | pci_number(gpu, "subsystem_vendor");
  return NVML_SUCCESS;
}
