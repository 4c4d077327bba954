// SPDX-License-Identifier: Apache-2.0
// A whole function with its IOMMU group on vfio-pci or a variant of it: the surfaces gpu and vf.
#include <algorithm>
#include <utility>

#include "broker/resolver/context.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using vfio::PciFunction;

constexpr std::string_view kVfioPci = "vfio-pci";

// The driver that a function is handed over on, and whether it is there to be bound.
struct VfioDriver {
  std::string name;
  bool loaded;
};

VfioDriver vfio_driver_of(const Context& context, const PciFunction& function) {
  const auto* variant = context.inventory.find_vfio_variant(function.address);
  if (variant != nullptr) return {variant->driver, variant->loaded};
  return {std::string(kVfioPci), context.inventory.vfio_pci_loaded};
}

// pci-stub keeps a companion away from everybody as it is. A driver that speaks VFIO stays, unless it is plain vfio-pci
// where one was made for the function.
bool must_bind(const Context& context, const PciFunction& function) {
  if (function.driver == "pci-stub") return false;
  if (function.vfio_devices.empty()) return true;
  return function.driver == kVfioPci && vfio_driver_of(context, function).name != kVfioPci;
}

// The first function whose VFIO driver is wanted and not loaded; nullptr: all are there.
const PciFunction* find_unloaded(const Context& context, const PciFunction& function,
                                 const std::vector<const PciFunction*>& companions) {
  auto all = companions;
  all.insert(all.begin(), &function);
  const auto at = std::find_if(all.begin(), all.end(), [&](const PciFunction* member) {
    return must_bind(context, *member) && !vfio_driver_of(context, *member).loaded;
  });
  return at == all.end() ? nullptr : *at;
}

Candidate reject_unloaded(const Context& context, const PciFunction& function, Candidate candidate) {
  const auto driver = vfio_driver_of(context, function).name;
  if (driver == kVfioPci) {
    return rejected(std::move(candidate), reasons::kVfioPciNotLoaded, "there is no /sys/bus/pci/drivers/vfio-pci");
  }
  candidate = rejected(std::move(candidate), reasons::kVfioDriverNotLoaded,
                       "vfio-pci can't stand in for " + driver + ", which is made for " + function.address.to_string());
  candidate.remedy = "modprobe " + driver;
  return candidate;
}

// A companion may be taken along when nobody uses it: no driver, a driver that speaks VFIO, or pci-stub, which only
// keeps others away. Another GPU is somebody's device even without a driver.
bool free_to_take(const PciFunction& companion) {
  if (is_gpu(companion)) return false;
  return !companion.driver || !companion.vfio_devices.empty() || companion.driver == "pci-stub";
}

std::string blockers_text(const Context& context, const PciFunction& function,
                          const std::vector<const PciFunction*>& companions) {
  std::vector<std::string> texts;
  for (const auto* companion : companions) {
    if (free_to_take(*companion) || context.request.allowed_group_members.contains(companion->address)) continue;
    if (allows_group_member(context.policy, context.inventory, function, *companion)) continue;
    texts.push_back(companion->address.to_string() + " is " +
                    (companion->driver ? "on " + *companion->driver : std::string("another GPU")));
  }
  return join(texts, ", ");
}

// vGPUs that only NVML knows of: more run than sysfs shows.
bool has_hidden_vgpu(const Context& context, const PciFunction& function) {
  const auto* gpu = context.inventory.find_nvidia_gpu(function.address);
  if (gpu == nullptr) return false;
  const auto ours = [&](const PciAddress& address) { return context.inventory.gpu_of(address) == function.address; };
  const auto& mdevs = context.inventory.mdevs;
  const auto& vfs = context.inventory.vendor_vfs;
  const auto shown =
      std::count_if(mdevs.begin(), mdevs.end(), [&](const auto& mdev) { return mdev.parent && ours(*mdev.parent); }) +
      std::count_if(vfs.begin(), vfs.end(), [&](const auto& vf) { return vf.current_type != 0 && ours(vf.address); });
  return std::cmp_greater(gpu->active_vgpus.size(), shown);
}

// Everything of this GPU that is in use: leases of its slices, vGPUs of others on its VFs.
std::string slices_in_use(const Context& context, const PciFunction& function) {
  std::vector<std::string> texts;
  for (const auto& hold : context.holds) {
    if (hold.kind != HoldKind::kLease) continue;
    if (hold.leased.gpu != function.address || hold.leased.device == device_key(function.address)) continue;
    const std::string text = hold.owner + " holds a slice of it by lease " + std::to_string(hold.generation);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  const auto ours = [&](const PciAddress& address) { return context.inventory.gpu_of(address) == function.address; };
  for (const auto& mdev : context.inventory.mdevs) {
    if (mdev.parent && ours(*mdev.parent) && context.hold_on(device_key(mdev.uuid)) == nullptr) {
      texts.push_back("mediated device " + mdev.uuid.to_string() + " exists");
    }
  }
  for (const auto& vf : context.inventory.vendor_vfs) {
    if (vf.current_type != 0 && ours(vf.address) && context.hold_on(device_key(vf.address)) == nullptr) {
      texts.push_back("VF " + vf.address.to_string() + " carries vGPU type " + std::to_string(vf.current_type));
    }
  }
  if (has_hidden_vgpu(context, function)) texts.push_back("NVML lists a vGPU on it that sysfs does not show");
  return join(texts, ", ");
}

// What a GPU has that goes along with another of its group: it is bound away from its driver as it is, and that would
// end all of this. An unbind with live VFs crashes hosts (xenopsd PR 689).
std::string companion_in_use(const Context& context, const PciFunction& companion) {
  if (!is_gpu(companion) || !must_bind(context, companion)) return "";
  std::vector<std::string> texts;
  if (auto in_use = slices_in_use(context, companion); !in_use.empty()) texts.push_back(std::move(in_use));
  if (companion.vf_count > 0) texts.push_back("it has " + std::to_string(companion.vf_count) + " virtual functions");
  const auto* gpu = context.inventory.find_nvidia_gpu(companion.address);
  if (gpu != nullptr && gpu->mig_mode == vfio::nvidia::MigMode::kOn) texts.emplace_back("its MIG mode is on");
  if (texts.empty()) return "";
  return companion.address.to_string() + " of its IOMMU group: " + join(texts, ", ");
}

// A handover destroys GPU instances; what was not recorded can't come back.
const PciFunction* find_unknown_layout(const Context& context, const PciFunction& function,
                                       const std::vector<const PciFunction*>& companions) {
  const auto is_unknown = [&](const PciFunction* member) {
    return is_gpu(*member) && member->driver == "nvidia" &&
           context.inventory.find_nvidia_gpu(member->address) == nullptr;
  };
  if (is_unknown(&function)) return &function;
  const auto at = std::find_if(companions.begin(), companions.end(), is_unknown);
  return at == companions.end() ? nullptr : *at;
}

std::string companions_in_use(const Context& context, const std::vector<const PciFunction*>& companions) {
  std::vector<std::string> texts;
  for (const auto* companion : companions) {
    if (auto in_use = companion_in_use(context, *companion); !in_use.empty()) texts.push_back(std::move(in_use));
  }
  return join(texts, "; ");
}

// Its own VFs go when it does; in its group they are where ports lack ACS.
std::vector<const PciFunction*> companions_of(const Context& context, const PciFunction& function, Surface surface) {
  auto companions = context.inventory.group_companions(function);
  if (surface == Surface::kGpu) {
    std::erase_if(companions, [&](const auto* companion) { return companion->physical_function == function.address; });
  }
  return companions;
}

bool is_nvswitch(const PciFunction& function) {
  return function.vendor == vfio::kVendorNvidia && function.class_code >> 8 == 0x0680;  // nvidia.md 7
}

// NVSwitches that the host runs, which then is their fabric manager's business; on vfio-pci they are a service VM's.
std::string fabric_text(const Context& context) {
  std::vector<std::string> texts;
  for (const auto& other : context.inventory.functions) {
    if (is_nvswitch(other) && other.driver && other.vfio_devices.empty() && other.driver != "pci-stub") {
      texts.push_back(other.address.to_string() + " is on " + *other.driver);
    }
  }
  return join(texts, ", ");
}

// Assumption: every NVIDIA GPU of a host with NVSwitches is joined to them (HGX boards are so built; sysfs does not
// say), and the partition of one GPU has to be active before its VM starts (nvidia.md 5.7, from the fabric manager's
// guide; nothing of it was tried on hardware). MIG slices don't use NVLink, so they are not concerned.
bool on_fabric(const PciFunction& function, Surface surface) {
  return surface == Surface::kGpu && function.vendor == vfio::kVendorNvidia;
}

// Mixed-size mode is the driver's state: it ends with the unbind (nvidia.md 2.3), and no step sets it again.
bool loses_mixed_sizes(const Context& context, const PciFunction& function) {
  const auto* gpu = context.inventory.find_nvidia_gpu(function.address);
  return gpu != nullptr && function.driver == "nvidia" && gpu->vgpu_heterogeneous.value_or(false);
}

std::string no_gpu_text(const PciFunction& function) {
  if (function.physical_function) return "it is a virtual function of " + function.physical_function->to_string();
  return is_nvswitch(function) ? "it is an NVSwitch" : "its PCI class is no display or accelerator class";
}

std::vector<vfio::Holder> holders_of_all(const Context& context, const PciFunction& function,
                                         const std::vector<const PciFunction*>& companions) {
  auto holders = context.inventory.holders_of(function);
  const auto add = [&](const PciFunction& other) {
    for (auto& holder : context.inventory.holders_of(other)) {
      if (std::find(holders.begin(), holders.end(), holder) == holders.end()) holders.push_back(std::move(holder));
    }
  };
  for (const auto* companion : companions) add(*companion);
  for (const auto& address : function.virtual_functions) {
    if (const auto* vf = context.inventory.find_function(address)) add(*vf);
  }
  return holders;
}

// In this order: undone backwards, the driver comes back first, then MIG mode, then the VFs, and the GPU instances
// last, since enabling VFs wipes them (nvidia.md 3.3).
std::vector<vfio::Step> steps_for(const Context& context, const PciFunction& function,
                                  const std::vector<const PciFunction*>& companions) {
  std::vector<vfio::Step> steps;
  const auto* gpu = context.inventory.find_nvidia_gpu(function.address);
  if (gpu != nullptr && !gpu->instances.empty()) steps.push_back(vfio::DestroyGpuInstances{function.address});
  if (function.vf_count > 0) steps.push_back(vfio::DisableVfs{function.address});
  if (gpu != nullptr && gpu->mig_mode == vfio::nvidia::MigMode::kOn)
    steps.push_back(vfio::DisableMig{function.address});
  const auto bind = [&](const PciFunction& other) {
    if (must_bind(context, other)) {
      steps.push_back(vfio::BindDriver{other.address, vfio_driver_of(context, other).name});
    }
  };
  for (const auto* companion : companions) bind(*companion);
  bind(function);
  return steps;
}

Plan plan_for(const Context& context, const PciFunction& function, Surface surface,
              const std::vector<const PciFunction*>& companions) {
  Plan plan;
  plan.steps = steps_for(context, function, companions);
  plan.attachment.surface = surface;
  plan.attachment.function = function.address;
  plan.devices.push_back({device_key(function.address), gpu_of(function)});
  for (const auto* companion : companions) {
    // libvirt takes only what speaks VFIO for a companion; pci-stub keeps its function safe without being told.
    if (companion->driver != "pci-stub") plan.attachment.companions.push_back(companion->address);
    plan.devices.push_back({device_key(companion->address), gpu_of(*companion)});
  }
  return plan;
}

}  // namespace

Candidate resolve_group(const Context& context, const PciFunction& function, Surface surface) {
  Candidate candidate;
  candidate.surface = surface;
  candidate.device = function.address.to_string();
  candidate.slice = surface == Surface::kGpu ? "the whole GPU" : "the virtual function";
  // How a vendor's VF shares the engine is not told by sysfs; the lower isolation is assumed.
  candidate.isolation = surface == Surface::kGpu ? Isolation::kHardware : Isolation::kTimeSliced;
  const auto companions = companions_of(context, function, surface);

  if (function.class_code == 0) {
    if (auto silence = silence_text(context, function, surface)) {
      return rejected(candidate, reasons::kDeviceSilent, *std::move(silence));
    }
  }
  if (surface == Surface::kGpu && !is_gpu(function)) {
    return rejected(candidate, reasons::kNotAGpu, no_gpu_text(function));
  }
  if (!check_permitted(context, function, candidate)) return candidate;
  if (candidate.isolation < context.request.isolation) {
    return rejected(candidate, reasons::kIsolationTooLow, "a virtual function counts as time-sliced");
  }
  if (context.request.only_mdev ||
      (context.request.only_function && context.request.only_function != function.address)) {
    return rejected(candidate, reasons::kNotTheAgreedDevice, "the XML does not name this function");
  }
  for (const auto& address : {function.address, gpu_of(function)}) {
    if (const auto* hold = context.hold_on(device_key(address))) return leased(candidate, *hold);
  }
  for (const auto* companion : companions) {
    if (const auto* hold = context.hold_on(device_key(companion->address))) return leased(candidate, *hold);
    if (const auto* hold = context.fence_on_part_of(companion->address)) return leased(candidate, *hold);
  }
  if (const auto* hold = context.fence_on_part_of(function.address)) return leased(candidate, *hold);
  if (const auto in_use = slices_in_use(context, function); !in_use.empty()) {
    return rejected(candidate, reasons::kGpuNotIdle, in_use);
  }
  if (const auto in_use = companions_in_use(context, companions); !in_use.empty()) {
    return rejected(candidate, reasons::kGpuNotIdle, in_use);
  }
  if (const auto holders = holders_of_all(context, function, companions); !holders.empty()) {
    return rejected(candidate, reasons::kHeldByProcess, holder_text(holders));
  }
  if (!function.iommu_group) return rejected(candidate, reasons::kIommuOff, "sysfs shows no iommu_group link");
  if (const auto blockers = blockers_text(context, function, companions); !blockers.empty()) {
    return rejected(candidate, reasons::kGroupNotViable,
                    "IOMMU group " + std::to_string(*function.iommu_group) + ": " + blockers);
  }
  if (const auto fabric = fabric_text(context); on_fabric(function, surface) && !fabric.empty()) {
    if (!context.request.allow_nvswitch) return rejected(candidate, reasons::kNvswitchFabric, fabric);
    candidate.note = "its fabric partition must be active before the VM starts: fmpm -a PARTITION";
  }
  if (const auto* unknown = find_unknown_layout(context, function, companions)) {
    const auto& error = context.inventory.nvml_error;
    if (error && error->code == ErrorCode::kNoAnswer) {
      return rejected(candidate, reasons::kDeviceSilent, "NVML does not answer, which alone tells its MIG layout");
    }
    return rejected(candidate, reasons::kMigLayoutUnknown,
                    "NVML does not tell of " + (unknown == &function ? "this GPU" : unknown->address.to_string()));
  }
  if (const auto* unloaded = find_unloaded(context, function, companions)) {
    return reject_unloaded(context, *unloaded, std::move(candidate));
  }
  if (loses_mixed_sizes(context, function)) {
    candidate.note += std::string(candidate.note.empty() ? "" : "; ") +
                      "its mixed-size mode is off when it comes back: nvidia-smi vgpu -i " + candidate.device +
                      " -shm 1";
  }
  candidate.plan = plan_for(context, function, surface, companions);
  return candidate;
}

}  // namespace slicebroker::broker
