// SPDX-License-Identifier: GPL-2.0-only
/*
 * <PF>/lab/: how the lab's scripts and its NVML stand-in change and read a GPU.
 * The real driver has ioctls here; nothing under test should know these files.
 *
 *   mig_mode            rw  0 or 1
 *   create_gi           w   "PROFILE" or "PROFILE START"
 *   destroy_gi          w   "GI"
 *   create_ci           w   "GI SLICES" or "GI SLICES START"
 *   destroy_ci          w   "GI CI"
 *   gpu                 r   "MINOR GPU-UUID MODEL"
 *   profiles            r   per line: ID SELECTOR COMPUTE SIZE STARTS-BITMAP MAX REMAINING SM MEMORY-MB NAME
 *   gpu_instances       r   per line: ID PROFILE START SIZE USER-BDF|-
 *   compute_instances   r   per line: GI CI SLICES START MIG-UUID
 *   vgpu_types          r   per line: ID PROFILE|-1 FRAMEBUFFER-MB MAX CREATABLE NAME
 *   vgpus               r   per line: VF-BDF TYPE GI|-1 MDEV-UUID
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "lab_nvidia.h"

static struct gpu *to_gpu(struct device *dev)
{
	return pci_get_drvdata(to_pci_dev(dev));
}

static ssize_t mig_mode_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", to_gpu(dev)->identity->mig_mode);
}

static ssize_t mig_mode_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	struct gpu *gpu = to_gpu(dev);
	bool on;
	int ret = kstrtobool(buf, &on);

	if (ret)
		return ret;
	mutex_lock(&gpu->lock);
	ret = mig_set_mode(gpu, on);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(mig_mode);

static ssize_t create_gi_store(struct device *dev, struct device_attribute *attr,
			       const char *buf, size_t count)
{
	struct gpu *gpu = to_gpu(dev);
	struct gpu_instance *gi;
	unsigned int profile;
	int start = LAB_ANY_START;

	if (sscanf(buf, "%u %d", &profile, &start) < 1)
		return -EINVAL;
	mutex_lock(&gpu->lock);
	gi = mig_create_gi(gpu, profile, start);
	mutex_unlock(&gpu->lock);
	return PTR_ERR_OR_ZERO(gi) ?: count;
}
static DEVICE_ATTR_WO(create_gi);

static ssize_t destroy_gi_store(struct device *dev, struct device_attribute *attr,
				const char *buf, size_t count)
{
	struct gpu *gpu = to_gpu(dev);
	unsigned int id;
	int ret = kstrtouint(buf, 10, &id);

	if (ret)
		return ret;
	mutex_lock(&gpu->lock);
	ret = mig_destroy_gi(gpu, id);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_WO(destroy_gi);

static ssize_t create_ci_store(struct device *dev, struct device_attribute *attr,
			       const char *buf, size_t count)
{
	struct gpu *gpu = to_gpu(dev);
	unsigned int gi, slices;
	int ret, start = LAB_ANY_START;

	if (sscanf(buf, "%u %u %d", &gi, &slices, &start) < 2)
		return -EINVAL;
	mutex_lock(&gpu->lock);
	ret = mig_create_ci(gpu, gi, slices, start);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_WO(create_ci);

static ssize_t destroy_ci_store(struct device *dev, struct device_attribute *attr,
				const char *buf, size_t count)
{
	struct gpu *gpu = to_gpu(dev);
	unsigned int gi, ci;
	int ret;

	if (sscanf(buf, "%u %u", &gi, &ci) != 2)
		return -EINVAL;
	mutex_lock(&gpu->lock);
	ret = mig_destroy_ci(gpu, gi, ci);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_WO(destroy_ci);

static ssize_t gpu_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct identity *identity = to_gpu(dev)->identity;

	return sysfs_emit(buf, "%d GPU-%pUl %s\n", identity->minor, &identity->uuid,
			  identity->model->name);
}
static DEVICE_ATTR_RO(gpu);

static ssize_t profiles_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gpu *gpu = to_gpu(dev);
	const struct gi_profile *p = gpu->identity->model->profiles;
	ssize_t n = 0;

	mutex_lock(&gpu->lock);
	for (; p && p->name; p++)
		n += sysfs_emit_at(buf, n, "%u %u %u %u %u %u %u %u %u %s\n", p->id, p->selector,
				   p->compute_slices, p->size, p->starts, p->max,
				   mig_remaining(gpu, p), p->sm, p->memory_mb, p->name);
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(profiles);

static ssize_t gpu_instances_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gpu *gpu = to_gpu(dev);
	struct gpu_instance *gi;
	ssize_t n = 0;

	mutex_lock(&gpu->lock);
	for (gi = gpu->gi; gi < gpu->gi + LAB_MAX_GIS; gi++)
		if (gi->profile)
			n += sysfs_emit_at(buf, n, "%u %u %u %u %s\n", gi->id, gi->profile->id,
					   gi->start, gi->profile->size,
					   gi->user ? pci_name(gi->user->pdev) : "-");
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(gpu_instances);

static ssize_t compute_instances_show(struct device *dev, struct device_attribute *attr,
				      char *buf)
{
	struct gpu *gpu = to_gpu(dev);
	struct gpu_instance *gi;
	ssize_t n = 0;
	int i;

	mutex_lock(&gpu->lock);
	for (gi = gpu->gi; gi < gpu->gi + LAB_MAX_GIS; gi++)
		for (i = 0; gi->profile && i < LAB_MAX_CIS; i++)
			if (gi->ci[i].exists)
				n += sysfs_emit_at(buf, n, "%u %d %u %u MIG-%pUl\n", gi->id, i,
						   gi->ci[i].slices, gi->ci[i].start,
						   &gi->ci[i].uuid);
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(compute_instances);

static bool creatable_somewhere(struct gpu *gpu, const struct vgpu_type *type)
{
	int i;

	for (i = 0; i < LAB_MAX_VFS; i++)
		if (gpu->vf[i] && vgpu_is_creatable(gpu->vf[i], type))
			return true;
	return false;
}

static ssize_t vgpu_types_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gpu *gpu = to_gpu(dev);
	const struct vgpu_type *t = gpu->identity->model->types;
	ssize_t n = 0;

	mutex_lock(&gpu->lock);
	for (; t && t->name; t++)
		n += sysfs_emit_at(buf, n, "%u %d %u %u %d %s\n", t->id, t->gi_profile,
				   t->framebuffer_mb, t->max, creatable_somewhere(gpu, t), t->name);
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(vgpu_types);

static ssize_t vgpus_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gpu *gpu = to_gpu(dev);
	struct vgpu *v;
	ssize_t n = 0;
	int i;

	mutex_lock(&gpu->lock);
	for (i = 0; i < LAB_MAX_VFS; i++) {
		v = gpu->vf[i];
		if (v && v->type)
			n += sysfs_emit_at(buf, n, "%s %u %d %pUl\n", pci_name(v->pdev), v->type->id,
					   v->gi ? v->gi->id : -1, &v->mdev_uuid);
	}
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(vgpus);

static struct attribute *lab_control_attrs[] = {
	&dev_attr_mig_mode.attr, &dev_attr_create_gi.attr, &dev_attr_destroy_gi.attr,
	&dev_attr_create_ci.attr, &dev_attr_destroy_ci.attr, &dev_attr_gpu.attr,
	&dev_attr_profiles.attr, &dev_attr_gpu_instances.attr, &dev_attr_compute_instances.attr,
	&dev_attr_vgpu_types.attr, &dev_attr_vgpus.attr, NULL
};

const struct attribute_group lab_control_group = { .name = "lab", .attrs = lab_control_attrs };
