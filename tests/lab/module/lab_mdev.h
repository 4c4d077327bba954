/* SPDX-License-Identifier: GPL-2.0-only */
/* What mdev.c (parents, types, life) and mdev_device.c (the device itself) share. */
#ifndef LAB_MDEV_H
#define LAB_MDEV_H

#include <linux/vfio.h>

#include "lab_nvidia.h"

struct lab_mdev {
  struct vfio_device vdev;
  struct vgpu* vgpu;
  struct mutex lock;
  u8 config[PCI_CFG_SPACE_SIZE];
};

extern const struct vfio_device_ops lab_mdev_ops;

#endif
