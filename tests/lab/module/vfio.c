// SPDX-License-Identifier: GPL-2.0-only
/*
 * framework=vfio, NVIDIA's "vendor-specific VFIO framework": a VF stays on the
 * driver "nvidia", is a VFIO device, and has <VF>/nvidia/current_vgpu_type.
 */
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/vfio_pci_core.h>

#include "lab_nvidia.h"

struct lab_vf {
	struct vfio_pci_core_device core;	/* first: vfio_pci_core wants it as drvdata */
	struct vgpu vgpu;
};

static struct lab_vf *to_lab_vf(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static const struct vgpu_type *find_type(struct gpu *gpu, unsigned int id)
{
	const struct vgpu_type *type = gpu->identity->model->types;

	for (; type->name; type++)
		if (type->id == id)
			return type;
	return NULL;
}

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attr,
					 char *buf)
{
	struct vgpu *vgpu = &to_lab_vf(dev)->vgpu;
	const struct vgpu_type *type = vgpu->gpu->identity->model->types;
	ssize_t n = sysfs_emit(buf, "ID    : vGPU Name\n");

	mutex_lock(&vgpu->gpu->lock);
	for (; type->name; type++)
		if (vgpu_is_creatable(vgpu, type))
			n += sysfs_emit_at(buf, n, "%-6u: %s\n", type->id, type->name);
	mutex_unlock(&vgpu->gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct vgpu_type *type = READ_ONCE(to_lab_vf(dev)->vgpu.type);

	return sysfs_emit(buf, "%u\n", type ? type->id : 0);
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attr,
				       const char *buf, size_t count)
{
	struct vgpu *vgpu = &to_lab_vf(dev)->vgpu;
	const struct vgpu_type *type;
	unsigned int id;
	int ret = kstrtouint(buf, 10, &id);

	if (ret)
		return ret;
	if (!id)
		return vgpu_destroy(vgpu) ?: count;
	type = find_type(vgpu->gpu, id);
	if (!type)
		return -EINVAL;
	return vgpu_create(vgpu, type, &guid_null) ?: count;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static ssize_t gpu_instance_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_gi(&to_lab_vf(dev)->vgpu, buf);
}
static DEVICE_ATTR_RO(gpu_instance_id);

static ssize_t placement_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_placement(&to_lab_vf(dev)->vgpu, buf);
}
static DEVICE_ATTR_RO(placement_id);

static ssize_t vgpu_params_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_show_params(&to_lab_vf(dev)->vgpu, buf);
}

static ssize_t vgpu_params_store(struct device *dev, struct device_attribute *attr,
				 const char *buf, size_t count)
{
	return vgpu_store_params(&to_lab_vf(dev)->vgpu, buf, count);
}
static DEVICE_ATTR_RW(vgpu_params);

static struct attribute *lab_vf_attrs[] = {
	&dev_attr_creatable_vgpu_types.attr, &dev_attr_current_vgpu_type.attr,
	&dev_attr_gpu_instance_id.attr, &dev_attr_placement_id.attr,
	&dev_attr_vgpu_params.attr, NULL
};

static const struct attribute_group lab_vf_group = { .name = "nvidia", .attrs = lab_vf_attrs };

static int lab_vf_open(struct vfio_device *vdev)
{
	struct lab_vf *vf = container_of(vdev, struct lab_vf, core.vdev);
	int ret;

	mutex_lock(&vf->vgpu.gpu->lock);
	ret = vf->vgpu.type ? 0 : -ENODEV;
	vf->vgpu.open = !ret;
	mutex_unlock(&vf->vgpu.gpu->lock);
	if (ret)
		return ret;
	ret = vfio_pci_core_enable(&vf->core);
	if (ret)
		WRITE_ONCE(vf->vgpu.open, false);
	else
		vfio_pci_core_finish_enable(&vf->core);
	return ret;
}

static void lab_vf_close(struct vfio_device *vdev)
{
	struct lab_vf *vf = container_of(vdev, struct lab_vf, core.vdev);

	vfio_pci_core_close_device(vdev);
	WRITE_ONCE(vf->vgpu.open, false);
}

static const struct vfio_device_ops lab_vf_ops = {
	.name = "nvidia-vgpu-vfio",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
#endif
	.open_device = lab_vf_open,
	.close_device = lab_vf_close,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
};

int vfio_vf_probe(struct pci_dev *pdev, struct gpu *gpu)
{
	struct lab_vf *vf = vfio_alloc_device(lab_vf, core.vdev, &pdev->dev, &lab_vf_ops);
	int ret;

	if (IS_ERR(vf))
		return PTR_ERR(vf);
	dev_set_drvdata(&pdev->dev, &vf->core);
	ret = gpu_add_vf(gpu, &vf->vgpu, pdev);
	if (ret)
		goto put;
	ret = vfio_pci_core_register_device(&vf->core);
	if (ret)
		goto remove;
	ret = sysfs_create_group(&pdev->dev.kobj, &lab_vf_group);
	if (!ret)
		return 0;

	vfio_pci_core_unregister_device(&vf->core);
remove:
	gpu_remove_vf(&vf->vgpu);
put:
	vfio_put_device(&vf->core.vdev);
	return ret;
}

void vfio_vf_remove(struct pci_dev *pdev)
{
	struct lab_vf *vf = dev_get_drvdata(&pdev->dev);

	sysfs_remove_group(&pdev->dev.kobj, &lab_vf_group);
	vfio_pci_core_unregister_device(&vf->core);	/* blocks while open */
	gpu_remove_vf(&vf->vgpu);
	vfio_put_device(&vf->core.vdev);
}
