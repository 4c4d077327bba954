// SPDX-License-Identifier: Apache-2.0
// Reads the MIG files of <GPU>/lab/; their format is in module/control.c.
#include <stdio.h>

#include "lab_nvml.h"

static int parse_profile(const char* line, struct profile* p) {
  return sscanf(line, "%u %u %u %u %u %u %u %u %u %31s", &p->id, &p->selector, &p->slices, &p->size, &p->starts,
                &p->max, &p->remaining, &p->sm, &p->memory, p->name) == 10;
}

int find_profile(const struct gpu* gpu, unsigned int id, unsigned int selector, struct profile* p) {
  char text[kText], *rest = text, *line;
  read_lab(gpu, "profiles", text);
  while ((line = next_line(&rest)))
    if (parse_profile(line, p) && (id == kUnset ? p->selector == selector : p->id == id)) return 1;
  return 0;
}

int has_mig(const struct gpu* gpu) {
  char text[kText];
  read_lab(gpu, "profiles", text);
  return text[0] != '\0';
}

int mig_is_on(const struct gpu* gpu) {
  char text[kText];
  read_lab(gpu, "mig_mode", text);
  return text[0] == '1';
}

int list_gis(const struct gpu* gpu, struct gi gis[kMostInstances]) {
  char text[kText], *rest = text, *line;
  int n = 0;
  read_lab(gpu, "gpu_instances", text);
  while (n < kMostInstances && (line = next_line(&rest))) {
    struct gi* gi = &gis[n];
    n += sscanf(line, "%u %u %u %u", &gi->id, &gi->profile, &gi->start, &gi->size) == 4;
  }
  return n;
}

int find_gi(const struct gpu* gpu, unsigned int id, struct gi* gi) {
  struct gi gis[kMostInstances];
  for (int i = list_gis(gpu, gis) - 1; i >= 0; --i)
    if (gis[i].id == id) {
      *gi = gis[i];
      return 1;
    }
  return 0;
}

int nth_ci(const struct gpu* gpu, unsigned int gi, unsigned int index, struct ci* ci) {
  char text[kText], *rest = text, *line;
  read_lab(gpu, "compute_instances", text);
  while ((line = next_line(&rest))) {
    if (sscanf(line, "%u %u %u %u %63s", &ci->gi, &ci->id, &ci->slices, &ci->start, ci->uuid) != 5) continue;
    if (gi != kUnset && ci->gi != gi) continue;
    if (!index--) return 1;
  }
  return 0;
}

int find_ci(const struct gpu* gpu, unsigned int gi, unsigned int id, struct ci* ci) {
  for (unsigned int i = 0; nth_ci(gpu, gi, i, ci); ++i)
    if (ci->id == id) return 1;
  return 0;
}

engines_t engines_of(unsigned int sm, unsigned int slices) { return (engines_t){.multiprocessor = sm, .copy = slices}; }
