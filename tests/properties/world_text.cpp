// SPDX-License-Identifier: Apache-2.0
// What a counterexample looks like.
#include <sstream>

#include "tests/properties/world.h"
#include "vfio/base/text.h"

namespace slicebroker::properties {
namespace {

using vfio::Inventory;

void write(std::ostream& out, const vfio::PciFunction& function) {
  out << "  " << function.address.to_string() << " class " << std::hex << function.class_code << std::dec << " on "
      << function.driver.value_or("no driver");
  if (function.iommu_group) out << ", group " << *function.iommu_group;
  if (!function.vfio_devices.empty()) out << ", VFIO";
  if (function.physical_function) out << ", VF of " << function.physical_function->to_string();
  if (function.vf_total > 0) out << ", " << function.vf_count << " of " << function.vf_total << " VFs";
  out << "\n";
}

void write(std::ostream& out, const vfio::nvidia::Gpu& gpu) {
  out << "  NVML: " << gpu.address.to_string() << " " << gpu.uuid << (gpu.profiles.empty() ? "" : ", MIG ")
      << (gpu.profiles.empty()                         ? ""
          : gpu.mig_mode == vfio::nvidia::MigMode::kOn ? "on"
                                                       : "off");
  for (const auto& instance : gpu.instances) {
    out << ", GI " << instance.id << " of profile " << instance.profile_id;
    for (const auto& compute : instance.compute_instances) out << " " << compute.mig_uuid;
  }
  for (const auto& vgpu : gpu.active_vgpus) {
    out << ", vGPU of type " << vgpu.type_id;
    if (vgpu.gpu_instance_id) out << " on GI " << *vgpu.gpu_instance_id;
  }
  if (gpu.vgpu_types.empty()) out << ", no vGPU types";
  out << "\n";
}

void write(std::ostream& out, const Inventory& host) {
  for (const auto& function : host.functions) write(out, function);
  for (const auto& type : host.mdev_types) {
    out << "  " << type.parent.to_string() << " would make " << type.available << " of " << type.id << "\n";
  }
  for (const auto& mdev : host.mdevs) {
    out << "  mdev " << mdev.uuid.to_string() << " of " << mdev.type_id << " at " << mdev.parent->to_string();
    if (mdev.gpu_instance_id) out << " on GI " << *mdev.gpu_instance_id;
    out << "\n";
  }
  for (const auto& vf : host.vendor_vfs) {
    out << "  vendor VF " << vf.address.to_string() << " type " << vf.current_type;
    if (vf.gpu_instance_id) out << " on GI " << *vf.gpu_instance_id;
    for (const auto& type : vf.creatable) out << ", could be " << type.id;
    out << "\n";
  }
  for (const auto& variant : host.vfio_variants) {
    out << "  " << variant.function.to_string() << " wants " << variant.driver
        << (variant.loaded ? "" : ", which is not loaded") << "\n";
  }
  for (const auto& holder : host.holders) out << "  pid " << holder.pid << " has " << holder.node << " open\n";
  if (host.nvidia) {
    for (const auto& gpu : host.nvidia->gpus) write(out, gpu);
  } else {
    out << "  no NVML\n";
  }
  if (!host.vfio_pci_loaded) out << "  no vfio-pci\n";
}

std::string surfaces_text(const broker::SurfaceRule& rule) {
  std::string text;
  for (const auto surface : rule.deny) text += " " + std::string(hypervisors::name(surface));
  return text;
}

void write(std::ostream& out, const broker::Policy& policy) {
  if (policy.include) {
    out << "  include";
    for (const auto& match : *policy.include) out << " " << to_string(match);
    out << "\n";
  }
  for (const auto& match : policy.exclude) out << "  exclude " << to_string(match) << "\n";
  if (!policy.surfaces.deny.empty()) out << "  deny" << surfaces_text(policy.surfaces) << "\n";
  for (const auto& [kind, rule] : policy.hypervisor_surfaces) {
    out << "  deny to " << hypervisors::name(kind) << surfaces_text(rule) << "\n";
  }
  if (policy.most_fallback == broker::Fallback::kNone) out << "  no fallback\n";
  if (policy.least_isolation != broker::Isolation::kAny) out << "  at least " << name(policy.least_isolation) << "\n";
  if (!policy.group_members.empty()) out << "  audio and USB functions may be taken along\n";
}

void write(std::ostream& out, const broker::Request& request) {
  out << "  " << to_string(request.selector) << " for " << hypervisors::name(request.target.hypervisor);
  if (request.target.version) out << " " << request.target.version->to_string();
  if (request.fallback == broker::Fallback::kNone) out << ", no fallback";
  if (request.isolation != broker::Isolation::kAny) out << ", at least " << name(request.isolation);
  for (const auto& member : request.allowed_group_members) out << ", with " << member.to_string();
  if (request.allow_nvswitch) out << ", NVSwitch allowed";
  if (request.only_function) out << ", only " << request.only_function->to_string();
  if (request.only_mdev) out << ", only an mdev";
  out << ", mdev " << request.mdev_uuid.to_string() << "\n";
}

}  // namespace

std::string to_text(const World& world) {
  std::ostringstream out;
  out << "host\n";
  write(out, world.host);
  out << "held\n";
  for (const auto& hold : world.holds) {
    out << "  " << hold.leased.device << " of " << hold.leased.gpu.to_string() << " by " << hold.owner
        << (hold.kind == broker::HoldKind::kQuarantine ? ", quarantined"
            : hold.kind == broker::HoldKind::kForeign  ? ", another tool"
                                                       : "")
        << "\n";
  }
  out << "policy\n";
  write(out, world.policy);
  out << "requests\n";
  for (const auto& request : world.requests) write(out, request);
  return out.str();
}

std::string to_text(const broker::Candidate& candidate) {
  std::string text(candidate.surface ? hypervisors::name(*candidate.surface) : "-");
  text += " " + candidate.device + " " + (candidate.accepted() ? "accepted" : candidate.code) + ": " + candidate.slice;
  text += candidate.fact.empty() ? "" : ", " + candidate.fact;
  for (const auto& step : candidate.plan.steps) text += "\n    " + describe(step);
  for (const auto& device : candidate.plan.devices) text += "\n    takes " + device.device;
  return text + "\n";
}

std::string to_text(const Result<broker::Resolution>& resolution) {
  if (!resolution) return std::string(name(resolution.error().code)) + " " + resolution.error().fact + "\n";
  std::string text;
  for (const auto& candidate : resolution->candidates) text += to_text(candidate);
  return text;
}

}  // namespace slicebroker::properties
