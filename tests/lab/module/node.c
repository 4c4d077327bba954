// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a bound GPU has outside sysfs: /dev/nvidiaN, whose open files keep the
 * GPU from being unbound, and /proc/driver/nvidia.
 */
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "lab_nvidia.h"

#define NVIDIA_MAJOR	195

static struct proc_dir_entry *proc_root, *proc_gpus;
static struct gpu *gpus[LAB_MAX_GPUS];
static DEFINE_MUTEX(gpus_lock);

static int node_open(struct inode *inode, struct file *file)
{
	struct gpu *gpu;
	int ret = -ENODEV;

	mutex_lock(&gpus_lock);
	gpu = iminor(inode) < LAB_MAX_GPUS ? gpus[iminor(inode)] : NULL;
	if (gpu) {
		mutex_lock(&gpu->lock);
		if (gpu->unbind_locked) {
			ret = -EBUSY;
		} else if (!gpu->going) {
			gpu->users++;
			file->private_data = gpu;
			ret = 0;
		}
		mutex_unlock(&gpu->lock);
	}
	mutex_unlock(&gpus_lock);
	return ret;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct gpu *gpu = file->private_data;

	/* Woken under the lock: the waiter frees the GPU, and has to take this lock on the way. */
	mutex_lock(&gpus_lock);
	gpu->users--;
	wake_up(&gpu->idle);
	mutex_unlock(&gpus_lock);
	return 0;
}

static const struct file_operations node_fops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
};

static struct class node_class = { .name = "nvidia" };

static int information_show(struct seq_file *m, void *v)
{
	struct gpu *gpu = m->private;

	seq_printf(m, "Model: \t\t %s\n", gpu->identity->model->name);
	seq_printf(m, "IRQ:   \t\t %u\n", gpu->pdev->irq);
	seq_printf(m, "GPU UUID: \t GPU-%pUl\n", &gpu->identity->uuid);
	seq_printf(m, "Bus Type: \t PCIe\n");
	seq_printf(m, "Bus Location: \t %s\n", pci_name(gpu->pdev));
	seq_printf(m, "Device Minor: \t %d\n", gpu->identity->minor);
	seq_printf(m, "GPU Excluded:\t No\n");
	return 0;
}

static int unbind_lock_show(struct seq_file *m, void *v)
{
	struct gpu *gpu = m->private;

	seq_printf(m, "%d\n", gpu->unbind_locked);
	return 0;
}

static int unbind_lock_open(struct inode *inode, struct file *file)
{
	return single_open(file, unbind_lock_show, pde_data(inode));
}

/* "1" takes the lock where nobody has the GPU open; the caller reads back whether it did. */
static ssize_t unbind_lock_write(struct file *file, const char __user *buf, size_t count,
				 loff_t *pos)
{
	struct gpu *gpu = ((struct seq_file *)file->private_data)->private;
	bool want;
	int ret = kstrtobool_from_user(buf, count, &want);

	if (ret)
		return ret;
	mutex_lock(&gpu->lock);
	gpu->unbind_locked = want && !gpu->users;
	mutex_unlock(&gpu->lock);
	return count;
}

static const struct proc_ops unbind_lock_ops = {
	.proc_open = unbind_lock_open,
	.proc_read = seq_read,
	.proc_write = unbind_lock_write,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

int node_add(struct gpu *gpu)
{
	int minor = gpu->identity->minor;
	struct device *dev = device_create(&node_class, NULL, MKDEV(NVIDIA_MAJOR, minor), NULL,
					   "nvidia%d", minor);

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	gpu->proc = proc_mkdir(pci_name(gpu->pdev), proc_gpus);
	proc_create_single_data("information", 0444, gpu->proc, information_show, gpu);
	proc_create_data("unbindLock", 0644, gpu->proc, &unbind_lock_ops, gpu);
	mutex_lock(&gpus_lock);
	gpus[minor] = gpu;
	mutex_unlock(&gpus_lock);
	return 0;
}

void node_remove(struct gpu *gpu)
{
	mutex_lock(&gpus_lock);
	gpus[gpu->identity->minor] = NULL;
	mutex_unlock(&gpus_lock);
	proc_remove(gpu->proc);
	device_destroy(&node_class, MKDEV(NVIDIA_MAJOR, gpu->identity->minor));
}

static int version_show(struct seq_file *m, void *v)
{
	seq_printf(m, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  (lab)\n",
		   THIS_MODULE->version);
	return 0;
}

int node_init(void)
{
	int ret = class_register(&node_class);

	if (ret)
		return ret;
	ret = register_chrdev(NVIDIA_MAJOR, "nvidia", &node_fops);
	if (ret) {
		class_unregister(&node_class);
		return ret;
	}
	proc_root = proc_mkdir("driver/nvidia", NULL);
	proc_gpus = proc_mkdir("gpus", proc_root);
	proc_create_single("version", 0444, proc_root, version_show);
	return 0;
}

void node_exit(void)
{
	proc_remove(proc_root);
	unregister_chrdev(NVIDIA_MAJOR, "nvidia");
	class_unregister(&node_class);
}
