/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stand-in for NVIDIA's vGPU host driver, for tests of software that manages
 * MIG slices and vGPUs.  It computes nothing: it keeps the books of a GPU, and
 * shows them through the files and devices by which the real driver does.
 *
 *   identity.c  makes ordinary PCI functions look like NVIDIA GPUs
 *   core.c      the PCI driver: binding GPUs (PFs) and their VFs
 *   mig.c       GPU instances and compute instances: what fits, and what is used
 *   control.c   <PF>/lab/: the lab's own way to change and read the above
 *   vgpu.c      vGPU types; which VF has which; common to both frameworks
 *   mdev.c      framework=mdev: a VF is the parent of one mediated device
 *   mdev_device.c   that device
 *   vfio.c      framework=vfio: a VF is itself a VFIO device of a chosen type
 *   node.c      /dev/nvidiaN, /proc/driver/nvidia
 */
#ifndef LAB_NVIDIA_H
#define LAB_NVIDIA_H

#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/uuid.h>
#include <linux/wait.h>

#define LAB_MAX_GPUS		8
#define LAB_MAX_VFS		16
#define LAB_MAX_GIS		7
#define LAB_MAX_CIS		7
#define LAB_MAX_VGPU_TYPES	8
#define LAB_ANY_START		(-1)

struct gpu;
struct proc_dir_entry;

/* What a MIG profile takes: sizes are in memory slices, of which a GPU has 8. */
struct gi_profile {
	u8 id;			/* as NVML and nvidia-smi number them */
	u8 selector;		/* NVML_GPU_INSTANCE_PROFILE_* */
	u8 compute_slices;
	u8 size;
	u8 starts;		/* bitmap of allowed first memory slices */
	u8 max;
	u16 sm;
	u32 memory_mb;
	const char *name;
};

struct vgpu_type {
	u16 id;
	s16 gi_profile;		/* -1: time-sliced */
	u32 framebuffer_mb;
	u16 max;
	const char *name;
};

struct gpu_model {
	const char *key;	/* how the module parameter names it */
	const char *name;
	u16 device;
	u32 class;
	bool mig_mode_is_persistent;	/* Ampere: kept in the InfoROM */
	const struct gi_profile *profiles;	/* NULL: no MIG */
	const struct vgpu_type *types;		/* NULL: no vGPU */
};

extern const struct gpu_model lab_models[];

/*
 * One function of the machine that poses as a GPU.  Lives as long as the
 * module: what a real GPU remembers without its driver is kept here.
 */
struct identity {
	const struct gpu_model *model;
	struct pci_dev *pdev;
	u16 real_vendor, real_device;
	u32 real_class;
	int minor;
	bool mig_mode;
	guid_t uuid;
	u16 first_vf;		/* routing ids of the VFs */
	u16 vf_stride;
	u16 num_vfs;
	unsigned long vfs_spent;	/* framework=vfio: VFs that were bound once already */
};

struct compute_instance {
	bool exists;
	u8 slices;
	u8 start;
	guid_t uuid;
};

struct gpu_instance {
	const struct gi_profile *profile;	/* NULL: free slot */
	u8 id;
	u8 start;
	struct vgpu *user;
	struct compute_instance ci[LAB_MAX_CIS];
};

/* What a VF carries while a vGPU exists on it; the same in both frameworks. */
struct vgpu {
	struct gpu *gpu;
	struct pci_dev *pdev;
	const struct vgpu_type *type;	/* NULL: none */
	struct gpu_instance *gi;	/* NULL: none, or time-sliced */
	guid_t mdev_uuid;		/* null in framework=vfio */
	bool open;			/* framework=vfio: a process has the VF open */
	char params[128];
};

/* A bound PF. */
struct gpu {
	struct pci_dev *pdev;
	struct identity *identity;
	struct mutex lock;		/* guards all below */
	struct gpu_instance gi[LAB_MAX_GIS];
	struct vgpu *vf[LAB_MAX_VFS];	/* bound VFs, NULL where none */
	unsigned int users;		/* open files of /dev/nvidiaN */
	bool unbind_locked;
	bool going;
	wait_queue_head_t idle;
	struct proc_dir_entry *proc;
};

enum lab_framework { LAB_MDEV, LAB_VFIO };
extern enum lab_framework lab_framework;
extern bool lab_highest_gi_first;

/* identity.c */
int lab_identities_add(const char *spec);
void lab_identities_remove(void);
struct identity *lab_identity_of(struct pci_dev *pdev);
void lab_identity_expect_vfs(struct identity *identity, int num_vfs);

/* mig.c: all with gpu->lock held */
struct gpu_instance *mig_create_gi(struct gpu *gpu, unsigned int profile, int start);
struct gpu_instance *mig_find_gi(struct gpu *gpu, unsigned int id);
int mig_destroy_gi(struct gpu *gpu, unsigned int id);
int mig_create_ci(struct gpu *gpu, unsigned int gi, unsigned int slices, int start);
int mig_destroy_ci(struct gpu *gpu, unsigned int gi, unsigned int ci);
int mig_set_mode(struct gpu *gpu, bool on);
struct gpu_instance *mig_pick_gi(struct gpu *gpu, unsigned int profile);
unsigned int mig_remaining(struct gpu *gpu, const struct gi_profile *profile);
guid_t lab_uuid(u64 a, u64 b, u64 c);

/* control.c */
extern const struct attribute_group lab_control_group;

/* core.c */
int gpu_add_vf(struct gpu *gpu, struct vgpu *vgpu, struct pci_dev *vf);
void gpu_remove_vf(struct vgpu *vgpu);

/* vgpu.c: vgpu_is_creatable() wants gpu->lock held, the others take it themselves */
bool vgpu_is_creatable(struct vgpu *vgpu, const struct vgpu_type *type);
int vgpu_create(struct vgpu *vgpu, const struct vgpu_type *type, const guid_t *mdev);
int vgpu_destroy(struct vgpu *vgpu);
ssize_t vgpu_show_gi(struct vgpu *vgpu, char *buf);
ssize_t vgpu_show_placement(struct vgpu *vgpu, char *buf);
ssize_t vgpu_show_params(struct vgpu *vgpu, char *buf);
ssize_t vgpu_store_params(struct vgpu *vgpu, const char *buf, size_t count);

/* mdev.c, vfio.c: binding a VF.  drvdata is the framework's own. */
int mdev_framework_init(void);
void mdev_framework_exit(void);
int mdev_vf_probe(struct pci_dev *vf, struct gpu *gpu);
void mdev_vf_remove(struct pci_dev *vf);
int vfio_vf_probe(struct pci_dev *vf, struct gpu *gpu);
void vfio_vf_remove(struct pci_dev *vf);

/* node.c */
int node_init(void);
void node_exit(void);
int node_add(struct gpu *gpu);
void node_remove(struct gpu *gpu);

#endif
