// SPDX-License-Identifier: Apache-2.0
// Devices that exist and are taken as they are: nothing is made, so nothing is removed at release.
#include "broker/request/nearest.h"
#include "broker/resolver/context.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;

// The quarantine or foreign claim on the GPU instance that a vGPU runs on.
const Hold* instance_fence(const Context& context, const PciAddress& gpu, std::optional<std::uint32_t> instance) {
  const auto* hold = instance ? context.hold_on(gpu_instance_key(gpu, *instance)) : nullptr;
  return hold != nullptr && hold->kind != HoldKind::kLease ? hold : nullptr;
}

Candidate resolve_vendor_vf(const Context& context, const vfio::PciFunction& function,
                            const vfio::nvidia::VendorVf& vf) {
  Candidate candidate;
  candidate.surface = Surface::kVendorVf;
  candidate.device = function.address.to_string();
  candidate.slice = "the vGPU of type " + std::to_string(vf.current_type);
  candidate.isolation = vf.gpu_instance_id ? Isolation::kHardware : Isolation::kTimeSliced;
  if (!check_permitted(context, function, candidate)) return candidate;
  const auto& agreed = context.request.only_function;
  if (context.request.only_mdev || (agreed && agreed != function.address)) {
    return rejected(candidate, reasons::kNotTheAgreedDevice, "the XML does not name this function");
  }
  for (const auto& address : {function.address, gpu_of(function)}) {
    if (const auto* hold = context.hold_on(device_key(address))) return leased(candidate, *hold);
  }
  if (const auto* hold = context.fence_on(context.inventory.group_companions(function))) {
    return leased(candidate, *hold);
  }
  if (const auto* hold = instance_fence(context, gpu_of(function), vf.gpu_instance_id)) return leased(candidate, *hold);
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

Error no_such_vf(const Context& context, const PciAddress& address) {
  std::vector<std::string> known;
  for (const auto& other : context.inventory.functions) {
    if (other.physical_function) known.push_back(other.address.to_string());
  }
  return names_nothing("vf=" + address.to_string(), "no such PCI function",
                       hint_for(address.to_string(), known, "see: slicebroker list slices"));
}

// "type=i915-GVTg_V5_4, type=i915-GVTg_V5_8": of mediated devices that the function could be a parent of.
std::string mdev_types_of(const Context& context, const PciAddress& function) {
  std::vector<std::string> texts;
  for (const auto& type : context.inventory.mdev_types) {
    if (type.parent == function) texts.push_back("type=" + type.id);
  }
  return join(texts, ", ");
}

// One that another tool defines and that is not made is that tool's; nobody knows any other.
Result<Candidate> resolve_absent_mdev(const Context& context, const Uuid& uuid) {
  const auto* hold = context.hold_on(device_key(uuid));
  if (hold != nullptr && hold->kind == HoldKind::kForeign) {
    Candidate candidate;
    candidate.surface = Surface::kMdev;
    candidate.device = uuid.to_string();
    candidate.slice = "the mediated device";
    return leased(std::move(candidate), *hold);
  }
  std::vector<std::string> known;
  for (const auto& other : context.inventory.mdevs) known.push_back(other.uuid.to_string());
  return fail(names_nothing(
      "mdev=" + uuid.to_string(), "this host has no such mediated device",
      hint_for(uuid.to_string(), known, "to have one made, ask for its type (type=ID), profile or MIG UUID")));
}

}  // namespace

Result<Candidate> resolve_mdev(const Context& context, const MdevSelector& selector) {
  const auto* mdev = context.inventory.find_mdev(selector.uuid);
  if (mdev == nullptr) return resolve_absent_mdev(context, selector.uuid);
  const auto* parent = mdev->parent ? context.inventory.find_function(*mdev->parent) : nullptr;
  Candidate candidate;
  candidate.surface = Surface::kMdev;
  candidate.device = mdev->uuid.to_string();
  candidate.slice = "the mediated device of type " + mdev->type_id;
  candidate.isolation = mdev->gpu_instance_id ? Isolation::kHardware : Isolation::kTimeSliced;
  if (parent == nullptr) return rejected(candidate, reasons::kNotAGpu, "its parent is no PCI function");
  if (!check_permitted(context, *parent, candidate)) return candidate;
  if (context.request.only_function || (context.request.only_mdev && context.request.mdev_uuid != mdev->uuid)) {
    return rejected(candidate, reasons::kNotTheAgreedDevice, "the XML does not name this mediated device");
  }
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, "it is time-sliced");
  }
  for (const auto& key : {device_key(mdev->uuid), device_key(gpu_of(*parent))}) {
    if (const auto* hold = context.hold_on(key)) return leased(candidate, *hold);
  }
  if (const auto* hold = context.fence_on({parent})) return leased(candidate, *hold);
  if (const auto* hold = instance_fence(context, gpu_of(*parent), mdev->gpu_instance_id)) {
    return leased(candidate, *hold);
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
  if (function == nullptr) return fail(no_such_vf(context, selector.address));
  if (const auto* vendor = context.inventory.find_vendor_vf(selector.address)) {
    return resolve_vendor_vf(context, *function, *vendor);
  }
  Candidate candidate;
  candidate.surface = Surface::kVf;
  candidate.device = function->address.to_string();
  candidate.slice = "the virtual function";
  const std::string types = mdev_types_of(context, function->address);
  if (!function->physical_function) {
    return rejected(candidate, reasons::kNotAVf, "it has no physfn link",
                    types.empty() ? "" : "its slices are mediated devices, ask for one of its types: " + types);
  }
  if (!types.empty()) {
    return rejected(candidate, reasons::kVgpuTypeNotSet, "its driver surfaces vGPUs as mediated devices only",
                    "ask for one of its types: " + types);
  }
  // NVIDIA's VFs carry vGPUs only: vfio-pci refuses them, and one that left its driver is lost until SR-IOV is cycled
  // (nvidia.md 3.4).
  if (function->vendor == vfio::kVendorNvidia && function->vfio_devices.empty()) {
    return rejected(candidate, reasons::kVgpuDriverAbsent, "nothing surfaces vGPUs on this virtual function");
  }
  return resolve_group(context, *function, Surface::kVf);
}

}  // namespace slicebroker::broker
