// SPDX-License-Identifier: Apache-2.0
// An inventory for the way from the child that read it (see vfio/host/wire.h). Every member of every part is listed.
#pragma once

#include "vfio/host/wire.h"
#include "vfio/inventory.h"

namespace slicebroker::vfio {

template <class Archive>
void list_members(Archive& archive, Any<Holder> auto& value) {
  archive(value.pid, value.command, value.node, value.unit);
}

template <class Archive>
void list_members(Archive& archive, Any<PciFunction> auto& value) {
  archive(value.address, value.vendor, value.device, value.class_code, value.modalias, value.driver,
          value.driver_override, value.iommu_group, value.vfio_devices, value.drm_devices, value.nvidia_minor,
          value.physical_function, value.vf_total, value.vf_count, value.virtual_functions);
}

template <class Archive>
void list_members(Archive& archive, Any<MdevType> auto& value) {
  archive(value.parent, value.id, value.name, value.device_api, value.available, value.framebuffer_mib,
          value.max_instances);
}

template <class Archive>
void list_members(Archive& archive, Any<MdevDevice> auto& value) {
  archive(value.uuid, value.parent, value.type_id, value.iommu_group, value.vfio_devices, value.gpu_instance_id);
}

template <class Archive>
void list_members(Archive& archive, Any<VfioVariant> auto& value) {
  archive(value.function, value.driver, value.loaded);
}

template <class Archive>
void list_members(Archive& archive, Any<Claim> auto& value) {
  archive(value.claimant, value.device, value.parent, value.owner, value.source, value.fact, value.remedy,
          value.in_use);
}

template <class Archive>
void list_members(Archive& archive, Any<Silence> auto& value) {
  archive(value.what, value.device, value.process);
}

template <class Archive>
void list_members(Archive& archive, Any<Inventory> auto& value) {
  archive(value.functions, value.mdev_types, value.mdevs, value.vendor_vfs, value.vfio_variants, value.holders,
          value.claims, value.claim_problems, value.nvidia, value.nvml_error, value.vfio_pci_loaded, value.problems,
          value.silences);
}

namespace nvidia {

template <class Archive>
void list_members(Archive& archive, Any<CreatableVgpuType> auto& value) {
  archive(value.id, value.name);
}

template <class Archive>
void list_members(Archive& archive, Any<VendorVf> auto& value) {
  archive(value.address, value.current_type, value.creatable, value.gpu_instance_id);
}

template <class Archive>
void list_members(Archive& archive, Any<Placement> auto& value) {
  archive(value.start, value.size);
}

template <class Archive>
void list_members(Archive& archive, Any<ComputeInstance> auto& value) {
  archive(value.id, value.profile_id, value.placement, value.mig_uuid);
}

template <class Archive>
void list_members(Archive& archive, Any<GpuInstance> auto& value) {
  archive(value.id, value.profile_id, value.placement, value.compute_instances);
}

template <class Archive>
void list_members(Archive& archive, Any<GpuInstanceProfile> auto& value) {
  archive(value.id, value.name, value.slices, value.max_instances, value.memory_mib);
}

template <class Archive>
void list_members(Archive& archive, Any<VgpuType> auto& value) {
  archive(value.id, value.name, value.gpu_instance_profile_id, value.framebuffer_mib);
}

template <class Archive>
void list_members(Archive& archive, Any<ActiveVgpu> auto& value) {
  archive(value.type_id, value.gpu_instance_id, value.mdev);
}

template <class Archive>
void list_members(Archive& archive, Any<Gpu> auto& value) {
  archive(value.address, value.uuid, value.name, value.minor, value.mig_mode, value.pending_mig_mode, value.profiles,
          value.instances, value.vgpu_types, value.active_vgpus, value.memory_mib, value.vgpu_heterogeneous);
}

template <class Archive>
void list_members(Archive& archive, Any<Driver> auto& value) {
  archive(value.version, value.gpus, value.problems);
}

}  // namespace nvidia

}  // namespace slicebroker::vfio
