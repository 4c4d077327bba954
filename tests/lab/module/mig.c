// SPDX-License-Identifier: GPL-2.0-only
/*
 * MIG: which GPU instances (GI) and compute instances (CI) fit, exist, are used.
 *
 * Profiles and placements are those of the MIG user guide's table for boards of
 * 7 compute and 8 memory slices.  Choices of ours where the guide only shows
 * examples, each in agreement with those examples:
 *
 *  - the id of a GI follows from its place: 0 for the whole GPU, 1-2 for halves,
 *    3-6 for quarters, 7-14 for eighths;
 *  - where no place is asked for, the highest free one is taken;
 *  - for a vGPU, the free GI with the lowest id is taken (module parameter
 *    highest_gi_first turns that round, since the real rule isn't documented).
 */
#include <linux/bitops.h>
#include <linux/siphash.h>

#include "lab_nvidia.h"

#define EVERY	0x7f	/* {0,1,2,3,4,5,6} */

static const struct gi_profile profiles_80gb[] = {
	{ 19, 0, 1, 1, EVERY, 7, 14, 9728, "1g.10gb" },
	{ 20, 7, 1, 1, EVERY, 1, 14, 9728, "1g.10gb+me" },
	{ 15, 9, 1, 2, BIT(0) | BIT(2) | BIT(4) | BIT(6), 4, 14, 19968, "1g.20gb" },
	{ 14, 1, 2, 2, BIT(0) | BIT(2) | BIT(4), 3, 28, 19968, "2g.20gb" },
	{ 9, 2, 3, 4, BIT(0) | BIT(4), 2, 42, 40192, "3g.40gb" },
	{ 5, 3, 4, 4, BIT(0), 1, 56, 40192, "4g.40gb" },
	{ 0, 4, 7, 8, BIT(0), 1, 98, 80896, "7g.80gb" },
	{ }
};

/* Type numbers of the MIG-backed types are NVIDIA's; 697 for the time-sliced one is made up. */
static const struct vgpu_type types_a100[] = {
	{ 697, -1, 8192, 10, "GRID A100D-8C" },
	{ 699, 19, 9728, 7, "GRID A100D-1-10C" },
	{ 700, 14, 19968, 3, "GRID A100D-2-20C" },
	{ 701, 9, 40192, 2, "GRID A100D-3-40C" },
	{ 702, 5, 40192, 1, "GRID A100D-4-40C" },
	{ 703, 0, 80896, 1, "GRID A100D-7-80C" },
	{ }
};

const struct gpu_model lab_models[] = {
	{ "a100", "NVIDIA A100 80GB PCIe", 0x20b5, 0x030200, true, profiles_80gb, types_a100 },
	/* The SM counts of profiles_80gb are the A100's; nothing here depends on them. */
	{ "h100", "NVIDIA H100 PCIe", 0x2331, 0x030200, false, profiles_80gb, NULL },
	/*
	 * 3D controller, where the real card is a VGA controller: vfio-pci asks the VGA arbiter for those, which looks at
	 * a device's class when it is found and not when it takes on another.
	 */
	{ "rtx4090", "NVIDIA GeForce RTX 4090", 0x2684, 0x030200, false, NULL, NULL },
	{ }
};

/* The same numbers give the same UUID, after destroy and create, and on any boot. */
guid_t lab_uuid(u64 a, u64 b, u64 c)
{
	static const siphash_key_t high = { { 1, 2 } }, low = { { 3, 4 } };
	u64 half[2] = { siphash_3u64(a, b, c, &high), siphash_3u64(a, b, c, &low) };
	guid_t uuid;

	memcpy(&uuid, half, sizeof(uuid));
	uuid.b[7] = (uuid.b[7] & 0x0f) | 0x50;	/* version 5, in a guid_t's byte order */
	uuid.b[8] = (uuid.b[8] & 0x3f) | 0x80;
	return uuid;
}

static const struct gi_profile *find_profile(struct gpu *gpu, unsigned int id)
{
	const struct gi_profile *profile = gpu->identity->model->profiles;

	for (; profile && profile->name; profile++)
		if (profile->id == id)
			return profile;
	return NULL;
}

/* Bitmap of the memory slices that existing GIs cover. */
static u8 used_slices(struct gpu *gpu)
{
	u8 used = 0;
	int i;

	for (i = 0; i < LAB_MAX_GIS; i++)
		if (gpu->gi[i].profile)
			used |= GENMASK(gpu->gi[i].profile->size - 1, 0) << gpu->gi[i].start;
	return used;
}

static unsigned int count_gis(struct gpu *gpu, const struct gi_profile *profile)
{
	unsigned int i, n = 0;

	for (i = 0; i < LAB_MAX_GIS; i++)
		if (gpu->gi[i].profile && (!profile || gpu->gi[i].profile == profile))
			n++;
	return n;
}

static bool fits(const struct gi_profile *profile, u8 used, int start)
{
	return profile->starts & BIT(start) &&
	       !(used & (GENMASK(profile->size - 1, 0) << start));
}

/* How many more GIs of a profile could be made now. */
unsigned int mig_remaining(struct gpu *gpu, const struct gi_profile *profile)
{
	unsigned int n = 0, left = profile->max - count_gis(gpu, profile);
	u8 used = used_slices(gpu);
	int start;

	for (start = 7; start >= 0 && n < left; start--)
		if (fits(profile, used, start)) {
			used |= GENMASK(profile->size - 1, 0) << start;
			n++;
		}
	return n;
}

static u8 gi_id(const struct gi_profile *profile, int start)
{
	static const u8 first[] = { [1] = 7, [2] = 3, [4] = 1, [8] = 0 };

	return first[profile->size] + start / profile->size;
}

struct gpu_instance *mig_create_gi(struct gpu *gpu, unsigned int profile_id, int start)
{
	const struct gi_profile *profile = find_profile(gpu, profile_id);
	struct gpu_instance *gi = gpu->gi;
	u8 used = used_slices(gpu);

	if (!gpu->identity->mig_mode)
		return ERR_PTR(-EOPNOTSUPP);
	if (!profile || start > 7 || (start >= 0 && !(profile->starts & BIT(start))))
		return ERR_PTR(-EINVAL);
	if (!mig_remaining(gpu, profile))
		return ERR_PTR(-ENOSPC);
	if (start == LAB_ANY_START)
		for (start = 7; !fits(profile, used, start);)
			start--;
	else if (!fits(profile, used, start))
		return ERR_PTR(-ENOSPC);

	while (gi->profile)	/* one is free: no more than 7 fit */
		gi++;
	memset(gi, 0, sizeof(*gi));
	gi->profile = profile;
	gi->start = start;
	gi->id = gi_id(profile, start);
	return gi;
}

struct gpu_instance *mig_find_gi(struct gpu *gpu, unsigned int id)
{
	int i;

	for (i = 0; i < LAB_MAX_GIS; i++)
		if (gpu->gi[i].profile && gpu->gi[i].id == id)
			return &gpu->gi[i];
	return NULL;
}

int mig_destroy_gi(struct gpu *gpu, unsigned int id)
{
	struct gpu_instance *gi = mig_find_gi(gpu, id);
	int i;

	if (!gi)
		return -ENOENT;
	if (gi->user)
		return -EBUSY;
	for (i = 0; i < LAB_MAX_CIS; i++)
		if (gi->ci[i].exists)
			return -EBUSY;
	gi->profile = NULL;
	return 0;
}

int mig_create_ci(struct gpu *gpu, unsigned int gi_id, unsigned int slices, int start)
{
	struct gpu_instance *gi = mig_find_gi(gpu, gi_id);
	struct compute_instance *free = NULL;
	unsigned int used = 0;
	int i;

	if (!gi)
		return -ENOENT;
	if (!slices || slices > gi->profile->compute_slices)
		return -EINVAL;
	for (i = 0; i < LAB_MAX_CIS; i++) {
		if (gi->ci[i].exists)
			used |= GENMASK(gi->ci[i].slices - 1, 0) << gi->ci[i].start;
		else if (!free)
			free = &gi->ci[i];
	}
	for (i = 0; i + slices <= gi->profile->compute_slices; i++) {
		if (used & (GENMASK(slices - 1, 0) << i) || (start != LAB_ANY_START && start != i))
			continue;
		free->exists = true;
		free->slices = slices;
		free->start = i;
		/* The real one hashes the GI id and the CI's first engine, so it survives re-creation. */
		free->uuid = lab_uuid(pci_domain_nr(gpu->pdev->bus), pci_dev_id(gpu->pdev),
				      BIT_ULL(32) | gi_id << 8 | i);
		return 0;
	}
	return -ENOSPC;
}

int mig_destroy_ci(struct gpu *gpu, unsigned int gi_id, unsigned int ci)
{
	struct gpu_instance *gi = mig_find_gi(gpu, gi_id);

	if (!gi || ci >= LAB_MAX_CIS || !gi->ci[ci].exists)
		return -ENOENT;
	if (gi->user)
		return -EBUSY;
	gi->ci[ci].exists = false;
	return 0;
}

/* Off only where nothing depends on it: "In use by another client", says the real one. */
int mig_set_mode(struct gpu *gpu, bool on)
{
	struct identity *identity = gpu->identity;
	int i;

	if (!identity->model->profiles)
		return -EOPNOTSUPP;
	if (identity->mig_mode == on)
		return 0;
	if (!on && (count_gis(gpu, NULL) || pci_num_vf(gpu->pdev)))
		return -EBUSY;
	for (i = 0; i < LAB_MAX_VFS; i++)
		if (gpu->vf[i] && gpu->vf[i]->type)
			return -EBUSY;
	identity->mig_mode = on;
	return 0;
}

/* The free GI that a vGPU of this profile would get. */
struct gpu_instance *mig_pick_gi(struct gpu *gpu, unsigned int profile)
{
	struct gpu_instance *gi, *best = NULL;
	int i;

	for (i = 0; i < LAB_MAX_GIS; i++) {
		gi = &gpu->gi[i];
		if (!gi->profile || gi->profile->id != profile || gi->user)
			continue;
		if (!best || (gi->id < best->id) != lab_highest_gi_first)
			best = gi;
	}
	return best;
}
