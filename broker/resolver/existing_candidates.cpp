// SPDX-License-Identifier: Apache-2.0
// Devices that exist and are taken as they are: nothing is made, so nothing is removed at release.
#include <algorithm>

#include "broker/resolver/context.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;

Candidate resolve_vendor_vf(const Context& context, const vfio::PciFunction& function,
                            const vfio::nvidia::VendorVf& vf) {
  Candidate candidate;
  candidate.surface = Surface::kVendorVf;
  candidate.device = function.address.to_string();
  candidate.slice = "the vGPU of type " + std::to_string(vf.current_type);
  candidate.isolation = vf.gpu_instance_id ? Isolation::kHardware : Isolation::kTimeSliced;
  if (!check_hypervisor(context, function, candidate)) return candidate;
  for (const auto& address : {function.address, gpu_of(function)}) {
    if (const auto* hold = context.hold_on(device_key(address))) return leased(candidate, *hold);
  }
  if (vf.current_type == 0) return rejected(candidate, reasons::kVgpuTypeNotSet, "current_vgpu_type is 0");
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, "its vGPU is time-sliced");
  }
  if (const auto holders = context.inventory.holders_of(function); !holders.empty()) {
    return rejected(candidate, reasons::kHeldByProcess, holder_text(holders));
  }
  candidate.plan.attachment.surface = Surface::kVendorVf;
  candidate.plan.attachment.function = function.address;
  candidate.plan.devices.push_back({device_key(function.address), gpu_of(function)});
  return candidate;
}

}  // namespace

Result<Candidate> resolve_mdev(const Context& context, const MdevSelector& selector) {
  const auto* mdev = context.inventory.find_mdev(selector.uuid);
  if (mdev == nullptr) {
    return fail(names_nothing("mdev=" + selector.uuid.to_string(), "this host has no such mediated device",
                              "to have one made, ask for its type (type=ID), profile or MIG UUID"));
  }
  const auto* parent = mdev->parent ? context.inventory.find_function(*mdev->parent) : nullptr;
  Candidate candidate;
  candidate.surface = Surface::kMdev;
  candidate.device = mdev->uuid.to_string();
  candidate.slice = "the mediated device of type " + mdev->type_id;
  candidate.isolation = mdev->gpu_instance_id ? Isolation::kHardware : Isolation::kTimeSliced;
  if (parent == nullptr) return rejected(candidate, reasons::kNotAGpu, "its parent is no PCI function");
  if (!check_hypervisor(context, *parent, candidate)) return candidate;
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, "it is time-sliced");
  }
  for (const auto& key : {device_key(mdev->uuid), device_key(gpu_of(*parent))}) {
    if (const auto* hold = context.hold_on(key)) return leased(candidate, *hold);
  }
  if (const auto holders = context.inventory.holders_of(*mdev); !holders.empty()) {
    return rejected(candidate, reasons::kHeldByProcess, holder_text(holders));
  }
  candidate.plan.attachment.surface = Surface::kMdev;
  candidate.plan.attachment.mdev = mdev->uuid;
  candidate.plan.devices.push_back({device_key(mdev->uuid), gpu_of(*parent)});
  return candidate;
}

Result<Candidate> resolve_vf(const Context& context, const VfSelector& selector) {
  const auto* function = context.inventory.find_function(selector.address);
  if (function == nullptr) {
    return fail(
        names_nothing("vf=" + selector.address.to_string(), "no such PCI function", "see: slicebroker list slices"));
  }
  if (const auto* vendor = context.inventory.find_vendor_vf(selector.address)) {
    return resolve_vendor_vf(context, *function, *vendor);
  }
  Candidate candidate;
  candidate.surface = Surface::kVf;
  candidate.device = function->address.to_string();
  candidate.slice = "the virtual function";
  if (!function->physical_function) return rejected(candidate, reasons::kNotAVf, "it has no physfn link");
  const bool mdev_parent = std::any_of(context.inventory.mdev_types.begin(), context.inventory.mdev_types.end(),
                                       [&](const auto& type) { return type.parent == function->address; });
  if (mdev_parent) {
    return rejected(candidate, reasons::kVgpuTypeNotSet, "its driver surfaces vGPUs as mediated devices only");
  }
  return resolve_group(context, *function, Surface::kVf);
}

}  // namespace slicebroker::broker
