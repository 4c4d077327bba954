// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mediated device as VFIO's users see it: a PCI GPU of its own, with a
 * configuration space and a small BAR 0, all in memory.  That is enough for QEMU
 * to realise it and for a guest to list it.  It has no interrupt, does no DMA.
 */
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "lab_mdev.h"

#define BAR0_SIZE		SZ_64K
#define PMC_BOOT_0		0x170000a1	/* what the first register of a GA100 says */
#define REGION_SHIFT		40		/* region index and offset share the file offset */
#define REGION_OFFSET(index)	((u64)(index) << REGION_SHIFT)

static void reset_config(struct lab_mdev *mdev)
{
	struct pci_dev *vf = mdev->vgpu->pdev;
	u8 *config = mdev->config;

	memset(config, 0, sizeof(mdev->config));
	*(__le16 *)&config[PCI_VENDOR_ID] = cpu_to_le16(vf->vendor);
	*(__le16 *)&config[PCI_DEVICE_ID] = cpu_to_le16(vf->device);
	*(__le32 *)&config[PCI_CLASS_REVISION] = cpu_to_le32(vf->class << 8 | 0xa1);
	*(__le16 *)&config[PCI_SUBSYSTEM_VENDOR_ID] = cpu_to_le16(vf->vendor);
	*(__le16 *)&config[PCI_SUBSYSTEM_ID] = cpu_to_le16(mdev->vgpu->type->id);
	*(__le32 *)&config[PCI_BASE_ADDRESS_0] = cpu_to_le32(PCI_BASE_ADDRESS_SPACE_MEMORY);
}

static int lab_mdev_init(struct vfio_device *vdev)
{
	struct lab_mdev *mdev = container_of(vdev, struct lab_mdev, vdev);

	mutex_init(&mdev->lock);
	return 0;
}

static void lab_mdev_release(struct vfio_device *vdev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
	vfio_free_device(vdev);
#endif
}

static int lab_mdev_open(struct vfio_device *vdev)
{
	struct lab_mdev *mdev = container_of(vdev, struct lab_mdev, vdev);

	reset_config(mdev);
	return 0;
}

/* One access of 1, 2 or 4 bytes, naturally aligned. */
static void access_config(struct lab_mdev *mdev, u32 offset, u8 *data, size_t size, bool write)
{
	u8 *at = &mdev->config[offset];

	if (!write) {
		memcpy(data, at, size);
		return;
	}
	switch (offset) {
	case PCI_COMMAND:
		at[0] = data[0] & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		break;
	case PCI_BASE_ADDRESS_0:
		if (size == 4)
			*(__le32 *)at = cpu_to_le32(le32_to_cpup((__le32 *)data) & ~(BAR0_SIZE - 1));
		break;
	case PCI_CACHE_LINE_SIZE:
	case PCI_INTERRUPT_LINE:
		at[0] = data[0];
		break;
	}
}

static void access_bar0(u32 offset, u8 *data, size_t size, bool write)
{
	__le32 boot0 = cpu_to_le32(PMC_BOOT_0);

	if (write)
		return;
	memset(data, 0, size);
	if (offset < sizeof(boot0))
		memcpy(data, (u8 *)&boot0 + offset, size);
}

static ssize_t lab_mdev_rw(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos,
			   bool write)
{
	struct lab_mdev *mdev = container_of(vdev, struct lab_mdev, vdev);
	unsigned int index = *ppos >> REGION_SHIFT;
	u64 offset = *ppos & (REGION_OFFSET(1) - 1);
	u64 end = index == VFIO_PCI_CONFIG_REGION_INDEX ? PCI_CFG_SPACE_SIZE :
		  index == VFIO_PCI_BAR0_REGION_INDEX ? BAR0_SIZE : 0;
	size_t done = 0;
	u8 data[4];

	if (offset >= end)
		return -EINVAL;
	count = min_t(u64, count, end - offset);
	while (done < count) {
		/* The largest naturally aligned access that is left. */
		size_t size = min_t(size_t, 4, offset ? 1 << __ffs(offset) : 4);

		while (size > count - done)
			size /= 2;
		if (write && copy_from_user(data, buf + done, size))
			return -EFAULT;
		mutex_lock(&mdev->lock);
		if (index == VFIO_PCI_CONFIG_REGION_INDEX)
			access_config(mdev, offset, data, size, write);
		else
			access_bar0(offset, data, size, write);
		mutex_unlock(&mdev->lock);
		if (!write && copy_to_user(buf + done, data, size))
			return -EFAULT;
		offset += size;
		done += size;
	}
	*ppos += done;
	return done;
}

static ssize_t lab_mdev_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos)
{
	return lab_mdev_rw(vdev, buf, count, ppos, false);
}

static ssize_t lab_mdev_write(struct vfio_device *vdev, const char __user *buf, size_t count,
			      loff_t *ppos)
{
	return lab_mdev_rw(vdev, (char __user *)buf, count, ppos, true);
}

static void fill_region(struct vfio_region_info *info)
{
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	info->offset = REGION_OFFSET(info->index);
	info->size = 0;
	info->cap_offset = 0;
	if (info->index == VFIO_PCI_CONFIG_REGION_INDEX)
		info->size = PCI_CFG_SPACE_SIZE;
	else if (info->index == VFIO_PCI_BAR0_REGION_INDEX)
		info->size = BAR0_SIZE;
	else
		info->flags = 0;
}

/* Copies a request in, lets FILL change it, copies it out: the frame of every VFIO "get info". */
#define ANSWER(arg, type, last, valid, fill) ({					\
	type info;								\
	size_t minsz = offsetofend(type, last);					\
	long ret = 0;								\
										\
	if (copy_from_user(&info, (void __user *)(arg), minsz))			\
		ret = -EFAULT;							\
	else if (info.argsz < minsz || !(valid))				\
		ret = -EINVAL;							\
	if (!ret) {								\
		fill;								\
		if (copy_to_user((void __user *)(arg), &info, minsz))		\
			ret = -EFAULT;						\
	}									\
	ret;									\
})

static long lab_mdev_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct lab_mdev *mdev = container_of(vdev, struct lab_mdev, vdev);

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return ANSWER(arg, struct vfio_device_info, num_irqs, true,
			      info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
			      info.num_regions = VFIO_PCI_NUM_REGIONS;
			      info.num_irqs = VFIO_PCI_NUM_IRQS);
	case VFIO_DEVICE_GET_REGION_INFO:
		return ANSWER(arg, struct vfio_region_info, offset,
			      info.index < VFIO_PCI_NUM_REGIONS, fill_region(&info));
	case VFIO_DEVICE_GET_IRQ_INFO:
		return ANSWER(arg, struct vfio_irq_info, count, info.index < VFIO_PCI_NUM_IRQS,
			      info.flags = 0; info.count = 0);
	case VFIO_DEVICE_RESET:
		mutex_lock(&mdev->lock);
		reset_config(mdev);
		mutex_unlock(&mdev->lock);
		return 0;
	default:
		return -ENOTTY;
	}
}

const struct vfio_device_ops lab_mdev_ops = {
	.name = "nvidia-vgpu-vfio",
	.init = lab_mdev_init,
	.release = lab_mdev_release,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
#endif
	.open_device = lab_mdev_open,
	.read = lab_mdev_read,
	.write = lab_mdev_write,
	.ioctl = lab_mdev_ioctl,
};
