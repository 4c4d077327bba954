// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/assign_vgpu_type.h"

#include "vfio/mdev/create_mdev.h"
#include "vfio/mdev/mdev.h"
#include "vfio/nvidia/vendor_vf.h"
#include "vfio/pci/bind_driver.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::vfio {
namespace {

Result<void> write_type(const Host& host, const PciAddress& vf, std::uint32_t type_id) {
  const auto path = pci_path(vf, "nvidia/current_vgpu_type");
  SLICEBROKER_CHECK(host.root.write_attr_within(path, std::to_string(type_id), host.deadline));
  SLICEBROKER_TRY(const auto now, nvidia::read_vgpu_type(host.root, vf));
  if (now == type_id) return {};
  Error error;
  error.reason = "VGPU_TYPE_NOT_TAKEN";
  error.tried = "assign vGPU type " + std::to_string(type_id);
  error.subject = vf.to_string();
  error.fact = "the write was accepted and the type reads " + std::to_string(now);
  return fail(std::move(error));
}

}  // namespace

Fields AssignVgpuType::fields() const {
  Fields fields{{"vf", vf.to_string()}, {"type", std::to_string(type_id)}};
  if (gpu_instance_id) fields["gpu_instance_id"] = std::to_string(*gpu_instance_id);
  return fields;
}

Result<AssignVgpuType> AssignVgpuType::from_fields(const Fields& fields) {
  AssignVgpuType step;
  SLICEBROKER_TRY(step.vf, address_field(fields, "vf"));
  SLICEBROKER_TRY(step.type_id, number_field(fields, "type"));
  SLICEBROKER_TRY(step.gpu_instance_id, find_number_field(fields, "gpu_instance_id"));
  return step;
}

std::string AssignVgpuType::describe() const {
  return "assign vGPU type " + std::to_string(type_id) + " to VF " + vf.to_string();
}

Result<Observation> AssignVgpuType::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto now, nvidia::read_vgpu_type(host.root, vf));
  return Observation{{{"type", std::to_string(now)}}, now == type_id};
}

Result<void> AssignVgpuType::apply(const Host& host) const {
  SLICEBROKER_CHECK(write_type(host, vf, type_id));
  SLICEBROKER_TRY(const auto given, find_gpu_instance_id(host.root, pci_path(vf)));
  return check_gpu_instance(gpu_instance_id, given, vf.to_string());
}

Result<void> AssignVgpuType::undo(const Host& host, const Fields& before) const {
  SLICEBROKER_TRY(const auto type_before, number_field(before, "type"));
  SLICEBROKER_TRY(const auto now, nvidia::read_vgpu_type(host.root, vf));
  if (now == type_before) return {};
  if (now != type_id) {
    Error error;
    error.code = ErrorCode::kDrift;
    error.reason = "CHANGED_BY_OTHERS";
    error.tried = "clear the vGPU type";
    error.subject = vf.to_string();
    error.fact = "type " + std::to_string(type_id) + " was assigned and it is now " + std::to_string(now);
    return fail(std::move(error));
  }
  SLICEBROKER_TRY(const auto function, read_pci_function(host.root, vf));
  SLICEBROKER_CHECK(check_no_holder(host.root, function));
  return write_type(host, vf, type_before);
}

}  // namespace slicebroker::vfio
