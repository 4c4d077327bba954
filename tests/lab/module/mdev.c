// SPDX-License-Identifier: GPL-2.0-only
/*
 * framework=mdev: a VF is the parent of at most one mediated device, which
 * exists from the write of its UUID to <VF>/mdev_supported_types/nvidia-N/create
 * until that to its own remove.
 */
#include <linux/mdev.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "lab_mdev.h"

struct lab_type {
	struct mdev_type type;
	const struct vgpu_type *info;
	struct vgpu *vgpu;
	char name[8];
};

/* A VF, as the parent of its mediated device. */
struct lab_parent {
	struct mdev_parent parent;
	struct vgpu vgpu;
	struct lab_type types[LAB_MAX_VGPU_TYPES];
	struct mdev_type *type_ptrs[LAB_MAX_VGPU_TYPES];
};

static struct lab_type *to_lab_type(struct mdev_type *type)
{
	return container_of(type, struct lab_type, type);
}

static int lab_mdev_probe(struct mdev_device *mdev_dev)
{
	struct lab_type *type = to_lab_type(mdev_dev->type);
	struct lab_mdev *mdev = vfio_alloc_device(lab_mdev, vdev, &mdev_dev->dev, &lab_mdev_ops);
	int ret;

	if (IS_ERR(mdev))
		return PTR_ERR(mdev);
	mdev->vgpu = type->vgpu;
	ret = vgpu_create(mdev->vgpu, type->info, &mdev_dev->uuid);
	if (ret)
		goto put;
	dev_set_drvdata(&mdev_dev->dev, mdev);
	ret = vfio_register_emulated_iommu_dev(&mdev->vdev);
	if (!ret)
		return 0;

	vgpu_destroy(mdev->vgpu);
put:
	vfio_put_device(&mdev->vdev);
	return ret;
}

static void lab_mdev_remove(struct mdev_device *mdev_dev)
{
	struct lab_mdev *mdev = dev_get_drvdata(&mdev_dev->dev);

	vfio_unregister_group_dev(&mdev->vdev);	/* blocks while open */
	vgpu_destroy(mdev->vgpu);
	vfio_put_device(&mdev->vdev);
}

static unsigned int lab_mdev_available(struct mdev_type *mtype)
{
	struct lab_type *type = to_lab_type(mtype);
	bool creatable;

	mutex_lock(&type->vgpu->gpu->lock);
	creatable = vgpu_is_creatable(type->vgpu, type->info);
	mutex_unlock(&type->vgpu->gpu->lock);
	return creatable;
}

static ssize_t lab_mdev_description(struct mdev_type *mtype, char *buf)
{
	const struct vgpu_type *info = to_lab_type(mtype)->info;

	return sysfs_emit(buf, "num_heads=1, frl_config=60, framebuffer=%uM, max_resolution=4096x2160, max_instance=%u\n",
			  info->framebuffer_mb, info->max);
}

static struct vgpu *to_vgpu(struct device *dev)
{
	return ((struct lab_mdev *)dev_get_drvdata(dev))->vgpu;
}

static ssize_t gpu_instance_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_gi(to_vgpu(dev), buf);
}
static DEVICE_ATTR_RO(gpu_instance_id);

static ssize_t placement_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_placement(to_vgpu(dev), buf);
}
static DEVICE_ATTR_RO(placement_id);

static ssize_t vgpu_params_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_params(to_vgpu(dev), buf);
}

static ssize_t vgpu_params_store(struct device *dev, struct device_attribute *attr,
				 const char *buf, size_t count)
{
	return vgpu_store_params(to_vgpu(dev), buf, count);
}
static DEVICE_ATTR_RW(vgpu_params);

static struct attribute *lab_mdev_attrs[] = {
	&dev_attr_gpu_instance_id.attr, &dev_attr_placement_id.attr, &dev_attr_vgpu_params.attr, NULL
};

static const struct attribute_group lab_mdev_group = { .name = "nvidia", .attrs = lab_mdev_attrs };
static const struct attribute_group *lab_mdev_groups[] = { &lab_mdev_group, NULL };

static struct mdev_driver lab_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = lab_mdev_probe,
	.remove = lab_mdev_remove,
	.get_available = lab_mdev_available,
	.show_description = lab_mdev_description,
	.driver = {
		.name = "nvidia-vgpu-vfio",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = lab_mdev_groups,
	},
};

int mdev_vf_probe(struct pci_dev *vf, struct gpu *gpu)
{
	const struct vgpu_type *info = gpu->identity->model->types;
	struct lab_parent *parent = kzalloc(sizeof(*parent), GFP_KERNEL);
	int ret, n;

	if (!parent)
		return -ENOMEM;
	for (n = 0; info[n].name; n++) {
		struct lab_type *type = &parent->types[n];

		snprintf(type->name, sizeof(type->name), "%u", info[n].id);
		type->type.sysfs_name = type->name;
		type->type.pretty_name = info[n].name;
		type->info = &info[n];
		type->vgpu = &parent->vgpu;
		parent->type_ptrs[n] = &type->type;
	}
	ret = gpu_add_vf(gpu, &parent->vgpu, vf);
	if (ret)
		goto free;
	pci_set_drvdata(vf, parent);
	ret = mdev_register_parent(&parent->parent, &vf->dev, &lab_mdev_driver, parent->type_ptrs, n);
	if (!ret)
		return 0;

	gpu_remove_vf(&parent->vgpu);
free:
	kfree(parent);
	return ret;
}

void mdev_vf_remove(struct pci_dev *vf)
{
	struct lab_parent *parent = pci_get_drvdata(vf);

	mdev_unregister_parent(&parent->parent);	/* removes its device; blocks while open */
	gpu_remove_vf(&parent->vgpu);
	kfree(parent);
}

int mdev_framework_init(void)
{
	return lab_framework == LAB_MDEV ? mdev_register_driver(&lab_mdev_driver) : 0;
}

void mdev_framework_exit(void)
{
	if (lab_framework == LAB_MDEV)
		mdev_unregister_driver(&lab_mdev_driver);
}
