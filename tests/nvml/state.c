// SPDX-License-Identifier: Apache-2.0
// Reads the MIG files of <GPU>/lab/; their format is in tests/lab/module/control.c.
#include <stdio.h>

#include "lab_nvml.h"

static int parse_profile(const char* line, struct profile* p) {
  return sscanf(line, "%u %u %u %u %u %u %u %u %u %31s", &p->id, &p->selector, &p->slices, &p->size, &p->starts,
                &p->max, &p->remaining, &p->sm, &p->memory, p->name) == 10;
}

nvmlReturn_t find_profile(const struct gpu* gpu, unsigned int id, unsigned int selector, struct profile* p) {
  char text[kText], *rest = text, *line;
  TRY(read_lab(gpu, "profiles", text));
  while ((line = next_line(&rest)))
    if (parse_profile(line, p) && (id == kUnset ? p->selector == selector : p->id == id)) return NVML_SUCCESS;
  return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t check_mig(const struct gpu* gpu) {
  char text[kText];
  TRY(read_lab(gpu, "profiles", text));
  return text[0] ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t mig_is_on(const struct gpu* gpu, int* on) {
  char text[kText];
  TRY(read_lab(gpu, "mig_mode", text));
  *on = text[0] == '1';
  return NVML_SUCCESS;
}

nvmlReturn_t list_gis(const struct gpu* gpu, struct gi gis[kMostInstances], int* count) {
  char text[kText], *rest = text, *line;
  *count = 0;
  TRY(read_lab(gpu, "gpu_instances", text));
  while (*count < kMostInstances && (line = next_line(&rest))) {
    struct gi* gi = &gis[*count];
    *count += sscanf(line, "%u %u %u %u", &gi->id, &gi->profile, &gi->start, &gi->size) == 4;
  }
  return NVML_SUCCESS;
}

nvmlReturn_t find_gi(const struct gpu* gpu, unsigned int id, struct gi* gi) {
  struct gi gis[kMostInstances];
  int count;
  TRY(list_gis(gpu, gis, &count));
  for (int i = 0; i < count; ++i)
    if (gis[i].id == id) {
      *gi = gis[i];
      return NVML_SUCCESS;
    }
  return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nth_ci(const struct gpu* gpu, unsigned int gi, unsigned int index, struct ci* ci) {
  char text[kText], *rest = text, *line;
  TRY(read_lab(gpu, "compute_instances", text));
  while ((line = next_line(&rest))) {
    if (sscanf(line, "%u %u %u %u %63s", &ci->gi, &ci->id, &ci->slices, &ci->start, ci->uuid) != 5) continue;
    if (gi != kUnset && ci->gi != gi) continue;
#ifdef NVML_OLD
    snprintf(ci->uuid, sizeof(ci->uuid), "MIG-%s/%u/%u", gpu->uuid, ci->gi, ci->id);
#endif
    if (!index--) return NVML_SUCCESS;
  }
  return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t find_ci(const struct gpu* gpu, unsigned int gi, unsigned int id, struct ci* ci) {
  nvmlReturn_t result;
  for (unsigned int i = 0; (result = nth_ci(gpu, gi, i, ci)) == NVML_SUCCESS; ++i)
    if (ci->id == id) return NVML_SUCCESS;
  return result;
}

engines_t engines_of(unsigned int sm, unsigned int slices) { return (engines_t){.multiprocessor = sm, .copy = slices}; }
