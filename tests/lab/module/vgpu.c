// SPDX-License-Identifier: GPL-2.0-only
/*
 * vGPUs: which type can be made on which VF, and what it takes from the GPU.
 * One vGPU per VF, as on Ampere and later.
 */
#include <linux/string.h>
#include <linux/sysfs.h>

#include "lab_nvidia.h"

/* Time-sliced vGPUs share the framebuffer; the lab has one size of them, so a count will do. */
static bool time_slice_is_free(struct gpu *gpu, const struct vgpu_type *type)
{
	unsigned int i, n = 0;

	for (i = 0; i < LAB_MAX_VFS; i++)
		if (gpu->vf[i] && gpu->vf[i]->type)
			n++;
	return n < type->max;
}

/*
 * MIG-backed types need MIG mode and a free GI of their profile; time-sliced
 * ones need MIG mode off.
 */
bool vgpu_is_creatable(struct vgpu *vgpu, const struct vgpu_type *type)
{
	struct gpu *gpu = vgpu->gpu;
	bool mig_backed = type->gi_profile >= 0;

	lockdep_assert_held(&gpu->lock);
	if (vgpu->type || mig_backed != gpu->identity->mig_mode)
		return false;
	return mig_backed ? mig_pick_gi(gpu, type->gi_profile) != NULL :
			    time_slice_is_free(gpu, type);
}

int vgpu_create(struct vgpu *vgpu, const struct vgpu_type *type, const guid_t *mdev)
{
	struct gpu *gpu = vgpu->gpu;
	int ret = -ENOSPC;

	mutex_lock(&gpu->lock);
	if (vgpu_is_creatable(vgpu, type)) {
		vgpu->type = type;
		vgpu->mdev_uuid = *mdev;
		if (type->gi_profile >= 0) {
			vgpu->gi = mig_pick_gi(gpu, type->gi_profile);
			vgpu->gi->user = vgpu;
		}
		ret = 0;
	}
	mutex_unlock(&gpu->lock);
	return ret;
}

int vgpu_destroy(struct vgpu *vgpu)
{
	struct gpu *gpu = vgpu->gpu;
	int ret = -EBUSY;

	mutex_lock(&gpu->lock);
	if (!vgpu->open) {
		if (vgpu->gi)
			vgpu->gi->user = NULL;
		vgpu->gi = NULL;
		vgpu->type = NULL;
		vgpu->mdev_uuid = guid_null;
		vgpu->params[0] = '\0';
		ret = 0;
	}
	mutex_unlock(&gpu->lock);
	return ret;
}

/* "No such device or address" until a vGPU exists; a time-sliced one has no GPU instance either. */
ssize_t vgpu_show_gi(struct vgpu *vgpu, char *buf)
{
	ssize_t ret = -ENXIO;

	mutex_lock(&vgpu->gpu->lock);
	if (vgpu->gi)
		ret = sysfs_emit(buf, "%u\n", vgpu->gi->id);
	mutex_unlock(&vgpu->gpu->lock);
	return ret;
}

/* Relative to the GI, and these boards hold one vGPU per GI. */
ssize_t vgpu_show_placement(struct vgpu *vgpu, char *buf)
{
	ssize_t ret = -ENXIO;

	mutex_lock(&vgpu->gpu->lock);
	if (vgpu->type)
		ret = sysfs_emit(buf, "0\n");
	mutex_unlock(&vgpu->gpu->lock);
	return ret;
}

ssize_t vgpu_show_params(struct vgpu *vgpu, char *buf)
{
	ssize_t ret;

	mutex_lock(&vgpu->gpu->lock);
	ret = sysfs_emit(buf, "%s\n", vgpu->params);
	mutex_unlock(&vgpu->gpu->lock);
	return ret;
}

/* "key=value[,key=value]"; a blank clears. */
ssize_t vgpu_store_params(struct vgpu *vgpu, const char *buf, size_t count)
{
	const char *text = skip_spaces(buf);

	if (strlen(text) >= sizeof(vgpu->params) || (*text && !strchr(text, '=')))
		return -EINVAL;
	mutex_lock(&vgpu->gpu->lock);
	strscpy(vgpu->params, text, sizeof(vgpu->params));
	strim(vgpu->params);
	mutex_unlock(&vgpu->gpu->lock);
	return count;
}
