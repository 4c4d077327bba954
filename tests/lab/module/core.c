// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI driver.  Its name is "nvidia": the kernel derives the names of vGPU
 * types (nvidia-699) and the driver link from it.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "lab_nvidia.h"

enum lab_framework lab_framework;
bool lab_highest_gi_first;

static bool lab;
module_param(lab, bool, 0444);
MODULE_PARM_DESC(lab, "must be set: this module is a test double and drives no GPU");

static char *gpus = "";
module_param(gpus, charp, 0444);
MODULE_PARM_DESC(gpus, "functions that pose as GPUs: BDF=a100|h100|rtx4090, comma-separated");

static char *framework = "mdev";
module_param(framework, charp, 0444);
MODULE_PARM_DESC(framework, "how vGPUs reach a guest: mdev or vfio (vendor-specific VFIO)");

module_param_named(highest_gi_first, lab_highest_gi_first, bool, 0644);
MODULE_PARM_DESC(highest_gi_first, "a vGPU takes the free GPU instance with the highest id, not the lowest");

static int mig_mode_persists = -1;
module_param(mig_mode_persists, int, 0644);
MODULE_PARM_DESC(mig_mode_persists, "MIG mode outlives an unbind: 0, 1, or -1 = as the model does");

int gpu_add_vf(struct gpu *gpu, struct vgpu *vgpu, struct pci_dev *vf)
{
	int i, ret = -ENOSPC;

	vgpu->gpu = gpu;
	vgpu->pdev = vf;
	mutex_lock(&gpu->lock);
	for (i = 0; i < LAB_MAX_VFS && ret; i++) {
		if (gpu->vf[i])
			continue;
		gpu->vf[i] = vgpu;
		ret = 0;
	}
	mutex_unlock(&gpu->lock);
	return ret;
}

void gpu_remove_vf(struct vgpu *vgpu)
{
	struct gpu *gpu = vgpu->gpu;
	int i;

	mutex_lock(&gpu->lock);
	if (vgpu->gi)
		vgpu->gi->user = NULL;
	for (i = 0; i < LAB_MAX_VFS; i++)
		if (gpu->vf[i] == vgpu)
			gpu->vf[i] = NULL;
	mutex_unlock(&gpu->lock);
}

static int vf_probe(struct pci_dev *vf)
{
	struct pci_dev *pf = pci_physfn(vf);
	struct gpu *gpu;
	int id = pci_iov_vf_id(vf);

	if (to_pci_driver(pf->dev.driver) != to_pci_driver(vf->dev.driver))
		return -ENODEV;
	gpu = pci_get_drvdata(pf);
	/* A VF has the ids of its PF: they can't tell one vGPU type from another. */
	vf->device = pf->device;
	vf->class = pf->class;
	if (lab_framework == LAB_MDEV)
		return mdev_vf_probe(vf, gpu);
	/* As seen on real ones: a VF that was unbound is of no use until SR-IOV is cycled. */
	if (test_and_set_bit(id, &gpu->identity->vfs_spent)) {
		pci_err(vf, "vfio_pci_core_device not found\n");
		return -ENODEV;
	}
	return vfio_vf_probe(vf, gpu);
}

static int pf_probe(struct pci_dev *pdev)
{
	struct identity *identity = lab_identity_of(pdev);
	struct gpu *gpu;
	int ret;

	if (!identity)
		return -ENODEV;
	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = -ENOMEM;
	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		goto disable;
	gpu->pdev = pdev;
	gpu->identity = identity;
	mutex_init(&gpu->lock);
	init_waitqueue_head(&gpu->idle);
	pci_set_drvdata(pdev, gpu);
	ret = node_add(gpu);
	if (ret)
		goto free;
	ret = sysfs_create_group(&pdev->dev.kobj, &lab_control_group);
	if (ret)
		goto remove_node;
	return 0;

remove_node:
	node_remove(gpu);
free:
	kfree(gpu);
disable:
	pci_disable_device(pdev);
	return ret;
}

static int lab_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? vf_probe(pdev) : pf_probe(pdev);
}

/* Blocks while /dev/nvidiaN is open, in a state that no signal ends: the real driver does. */
static void pf_remove(struct pci_dev *pdev)
{
	struct gpu *gpu = pci_get_drvdata(pdev);
	bool persists = mig_mode_persists < 0 ? gpu->identity->model->mig_mode_is_persistent :
						mig_mode_persists;

	mutex_lock(&gpu->lock);
	gpu->going = true;
	if (gpu->users)
		pci_err(pdev, "NVRM: Attempting to remove device with non-zero usage count!\n");
	mutex_unlock(&gpu->lock);
	wait_event(gpu->idle, !READ_ONCE(gpu->users));

	pci_disable_sriov(pdev);
	lab_identity_expect_vfs(gpu->identity, 0);
	sysfs_remove_group(&pdev->dev.kobj, &lab_control_group);
	node_remove(gpu);
	if (!persists)
		gpu->identity->mig_mode = false;
	pci_disable_device(pdev);
	kfree(gpu);	/* and the GPU instances with it */
}

static void lab_remove(struct pci_dev *pdev)
{
	if (!pdev->is_virtfn)
		pf_remove(pdev);
	else if (lab_framework == LAB_MDEV)
		mdev_vf_remove(pdev);
	else
		vfio_vf_remove(pdev);
}

static int lab_sriov_configure(struct pci_dev *pdev, int num_vfs)
{
	struct gpu *gpu = pci_get_drvdata(pdev);
	int ret;

	if (!gpu->identity->model->types)
		return -EOPNOTSUPP;
	if (!num_vfs) {
		pci_disable_sriov(pdev);
		lab_identity_expect_vfs(gpu->identity, 0);
		return 0;
	}
	if (num_vfs > LAB_MAX_VFS)
		return -ERANGE;
	lab_identity_expect_vfs(gpu->identity, num_vfs);
	ret = pci_enable_sriov(pdev, num_vfs);
	if (ret)
		lab_identity_expect_vfs(gpu->identity, 0);
	return ret ?: num_vfs;
}

/* Nothing else in the lab's machine has this vendor. */
static const struct pci_device_id lab_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_NVIDIA, PCI_ANY_ID) },
	{ }
};

static struct pci_driver lab_driver = {
	.name = "nvidia",
	.id_table = lab_ids,
	.probe = lab_probe,
	.remove = lab_remove,
	.sriov_configure = lab_sriov_configure,
};

static int __init lab_init(void)
{
	int ret;

	if (!lab) {
		pr_err("nvidia: this is a test double for a lab, load it with lab=1\n");
		return -EPERM;
	}
	if (!strcmp(framework, "vfio"))
		lab_framework = LAB_VFIO;
	else if (strcmp(framework, "mdev"))
		return -EINVAL;
	/* A VF that is itself a VFIO device leaves its DMA to VFIO. */
	lab_driver.driver_managed_dma = lab_framework == LAB_VFIO;

	ret = node_init();
	if (ret)
		return ret;
	ret = mdev_framework_init();
	if (ret)
		goto exit_node;
	ret = lab_identities_add(gpus);
	if (!ret)
		ret = pci_register_driver(&lab_driver);
	if (!ret)
		return 0;

	lab_identities_remove();
	mdev_framework_exit();
exit_node:
	node_exit();
	return ret;
}

static void __exit lab_exit(void)
{
	pci_unregister_driver(&lab_driver);
	mdev_framework_exit();
	lab_identities_remove();
	node_exit();
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_DESCRIPTION("Test double for NVIDIA's vGPU host driver");
MODULE_VERSION("570.00.lab");
MODULE_LICENSE("GPL");
