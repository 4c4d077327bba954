// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes ordinary PCI functions look like NVIDIA GPUs.
 *
 * A function poses as a GPU to everyone who asks: struct pci_dev is changed
 * (sysfs, driver matching, libvirt), and reads of its configuration space are
 * answered with the same ids (lspci, vfio-pci and the guest behind it).  As with
 * a real GPU, that doesn't depend on which driver is bound: it starts at module
 * load and lasts until unload.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "lab_nvidia.h"

/* A bus whose configuration reads pass through us. */
struct hooked_bus {
	struct pci_bus *bus;
	struct pci_ops *original;
	struct pci_ops ops;
};

static struct identity identities[LAB_MAX_GPUS];
static int num_identities;
static struct hooked_bus hooked[LAB_MAX_GPUS];
static int num_hooked;

static struct hooked_bus *find_hooked(struct pci_bus *bus)
{
	int i;

	for (i = 0; i < num_hooked; i++)
		if (hooked[i].bus == bus)
			return &hooked[i];
	return NULL;
}

static bool is_vf_of(const struct identity *identity, u16 rid)
{
	int i;

	for (i = 0; i < READ_ONCE(identity->num_vfs); i++)
		if (rid == identity->first_vf + i * identity->vf_stride)
			return true;
	return false;
}

static const struct identity *find_identity(struct pci_bus *bus, unsigned int devfn)
{
	u16 rid = PCI_DEVID(bus->number, devfn);
	int i;

	for (i = 0; i < num_identities; i++) {
		struct pci_dev *pdev = identities[i].pdev;

		if (pci_domain_nr(pdev->bus) != pci_domain_nr(bus))
			continue;
		if (pci_dev_id(pdev) == rid || is_vf_of(&identities[i], rid))
			return &identities[i];
	}
	return NULL;
}

/* Puts the bytes of a dword register @value into a read of @size at @where. */
static void overlay(u32 *result, int where, int size, int reg, u32 value, u32 mask)
{
	int shift = (where - reg) * 8;
	u32 width = size == 4 ? ~0u : (1u << size * 8) - 1;

	if (where < reg || where >= reg + 4)
		return;
	value >>= shift;
	mask = (mask >> shift) & width;
	*result = (*result & ~mask) | (value & mask);
}

static int lab_config_read(struct pci_bus *bus, unsigned int devfn, int where,
			   int size, u32 *result)
{
	struct hooked_bus *hook = find_hooked(bus);
	const struct identity *identity;
	int ret = hook->original->read(bus, devfn, where, size, result);

	if (ret != PCIBIOS_SUCCESSFUL || where >= PCI_CLASS_REVISION + 4)
		return ret;
	identity = find_identity(bus, devfn);
	if (!identity)
		return ret;
	/* A VF answers a bus scan with all ones: it must, or the scan would find it. */
	if (*result != 0xffffffff)
		overlay(result, where, size, PCI_VENDOR_ID,
			identity->model->device << 16 | PCI_VENDOR_ID_NVIDIA, 0xffffffff);
	overlay(result, where, size, PCI_CLASS_REVISION, identity->model->class << 8, 0xffffff00);
	return ret;
}

static int lab_config_write(struct pci_bus *bus, unsigned int devfn, int where,
			    int size, u32 value)
{
	return find_hooked(bus)->original->write(bus, devfn, where, size, value);
}

static void hook_bus(struct pci_bus *bus)
{
	struct hooked_bus *hook = find_hooked(bus);

	if (hook)
		return;
	hook = &hooked[num_hooked];
	hook->bus = bus;
	hook->ops = *bus->ops;	/* keeps map_bus and friends */
	hook->ops.read = lab_config_read;
	hook->ops.write = lab_config_write;
	hook->original = bus->ops;
	num_hooked++;
	pci_bus_set_ops(bus, &hook->ops);
}

static const struct gpu_model *find_model(const char *key)
{
	const struct gpu_model *model;

	for (model = lab_models; model->key; model++)
		if (!strcmp(model->key, key))
			return model;
	return NULL;
}

static int add_identity(const char *bdf, const char *key)
{
	const struct gpu_model *model = find_model(key);
	struct identity *identity;
	unsigned int domain, bus, slot, function;
	struct pci_dev *pdev;

	if (!model || num_identities == LAB_MAX_GPUS ||
	    sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	identity = &identities[num_identities];
	identity->model = model;
	identity->pdev = pdev;
	identity->minor = num_identities;
	identity->uuid = lab_uuid(pci_domain_nr(pdev->bus), pci_dev_id(pdev), model->device);
	identity->real_vendor = pdev->vendor;
	identity->real_device = pdev->device;
	identity->real_class = pdev->class;
	pdev->vendor = PCI_VENDOR_ID_NVIDIA;
	pdev->device = model->device;
	pdev->class = model->class;
	num_identities++;
	hook_bus(pdev->bus);
	pci_info(pdev, "poses as %s\n", model->name);
	return 0;
}

/**
 * lab_identities_add() - dress the functions that the module parameter lists
 * @spec: "0000:06:00.0=a100,0000:01:00.0=h100"
 */
int lab_identities_add(const char *spec)
{
	char *copy = kstrdup(spec, GFP_KERNEL), *rest = copy, *item;
	int ret = 0;

	if (!copy)
		return -ENOMEM;
	while (!ret && (item = strsep(&rest, ","))) {
		char *bdf = strsep(&item, "=");

		ret = item ? add_identity(bdf, item) : -EINVAL;
		if (ret)
			pr_err("nvidia: gpus=: cannot use \"%s\": %d\n", bdf, ret);
	}
	kfree(copy);
	return ret;
}

void lab_identities_remove(void)
{
	int i;

	for (i = 0; i < num_hooked; i++)
		pci_bus_set_ops(hooked[i].bus, hooked[i].original);
	num_hooked = 0;
	for (i = 0; i < num_identities; i++) {
		identities[i].pdev->vendor = identities[i].real_vendor;
		identities[i].pdev->device = identities[i].real_device;
		identities[i].pdev->class = identities[i].real_class;
		pci_dev_put(identities[i].pdev);
	}
	num_identities = 0;
}

struct identity *lab_identity_of(struct pci_dev *pdev)
{
	int i;

	for (i = 0; i < num_identities; i++)
		if (identities[i].pdev == pdev)
			return &identities[i];
	return NULL;
}

/* To be called before the VFs are scanned, so that they come up as GPUs. */
void lab_identity_expect_vfs(struct identity *identity, int num_vfs)
{
	struct pci_dev *pdev = identity->pdev;
	int pos = pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV);
	u16 offset = 0, stride = 0;

	/* Both may depend on the number of VFs (SR-IOV 3.3.9), which isn't written yet; QEMU's don't. */
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_OFFSET, &offset);
	pci_read_config_word(pdev, pos + PCI_SRIOV_VF_STRIDE, &stride);
	identity->first_vf = pci_dev_id(pdev) + offset;
	identity->vf_stride = stride;
	identity->vfs_spent = 0;
	WRITE_ONCE(identity->num_vfs, num_vfs);
}
