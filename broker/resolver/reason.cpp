// SPDX-License-Identifier: Apache-2.0
#include "broker/resolver/reason.h"

#include <array>

namespace slicebroker::broker {
namespace reasons {

using enum ReasonClass;

const Reason kLeased{"LEASED", kHeld, "another VM holds a lease on it", "detach it from that VM, or ask for another"};
const Reason kSliceInUse{"SLICE_IN_USE", kHeld, "a vGPU that slicebroker did not make runs on the GPU instance",
                         "remove that vGPU with the tool that made it, or ask for another instance"};
const Reason kVfInUse{"VF_IN_USE", kHeld, "the virtual function already carries a vGPU",
                      "free it with the tool that made the vGPU, or ask for the type instead of this function"};
const Reason kHeldByProcess{"HELD_BY_PROCESS", kHeld, "a process has the device open",
                            "end the process named, then repeat"};
const Reason kGpuNotIdle{"GPU_NOT_IDLE", kHeld, "other slices of the GPU are in use",
                         "free what is named, or ask for a slice"};
const Reason kNoCapacity{"NO_CAPACITY", kHeld, "the driver offers no further vGPU of the type here",
                         "free a vGPU of the GPU, or make a GPU instance of the profile"};
const Reason kInstancesTaken{"GPU_INSTANCES_TAKEN", kHeld, "every GPU instance of the profile is leased or in use",
                             "free one of those named, or make another GPU instance of the profile"};
const Reason kMigModeOn{"MIG_MODE_ON", kRefused, "while MIG mode is on the driver offers no time-sliced vGPU",
                        "ask for a MIG-backed type, or switch MIG mode off: nvidia-smi -i GPU -mig 0"};
const Reason kMigModeOff{"MIG_MODE_OFF", kRefused, "while MIG mode is off the GPU has no GPU instance",
                         "switch MIG mode on and make GPU instances: nvidia-smi -i GPU -mig 1"};
const Reason kOtherSizeResident{
    "OTHER_SIZE_RESIDENT", kHeld,
    "a GPU that is not in mixed-size mode runs time-sliced vGPUs of one framebuffer size only",
    "ask for a type of the size named, or, when no vGPU runs: nvidia-smi vgpu -i GPU -shm 1"};
const Reason kComputeInstance{"COMPUTE_INSTANCE", kRefused,
                              "a vGPU takes a whole GPU instance, and this names one compute instance of several in it",
                              "ask for the whole GPU instance by its profile"};
const Reason kNoGpuInstance{"NO_GPU_INSTANCE", kRefused, "the GPU has no GPU instance of the profile",
                            "make one: nvidia-smi mig -cgi PROFILE -C"};
const Reason kMigNotSurfaced{"MIG_NOT_SURFACED", kNotSurfaced,
                             "the GPU instance has no virtual function or mediated device that could carry it",
                             "look whether nvidia-vgpu-mgr runs and what the kernel's log says of the VFs"};
const Reason kVfsNotEnabled{"VFS_NOT_ENABLED", kNotSurfaced, "the GPU's virtual functions are not enabled",
                            "enable them, and make the GPU instances again, which that wipes: "
                            "/usr/lib/nvidia/sriov-manage -e GPU"};
const Reason kVgpuDriverAbsent{"VGPU_DRIVER_ABSENT", kNotSurfaced,
                               "the GPU's driver knows no vGPU type: it is not NVIDIA's vGPU host driver",
                               "install NVIDIA's vGPU host driver"};
const Reason kNoVgpuType{"NO_VGPU_TYPE", kNotSurfaced, "no vGPU type is backed by the GPU instance's profile",
                         "use another profile"};
const Reason kIsolationTooLow{
    "ISOLATION_TOO_LOW", kRefused, "it isolates less than the request demands",
    "ask for a MIG-backed type or a whole GPU, or lower --isolation as far as the policy lets"};
const Reason kGroupNotViable{"GROUP_NOT_VIABLE", kRefused,
                             "other functions of its IOMMU group are on drivers of the host",
                             "name each of them with --allow-group-member to take it along"};
const Reason kIommuOff{"IOMMU_OFF", kRefused, "it has no IOMMU group",
                       "enable the IOMMU in the firmware and boot with intel_iommu=on or amd_iommu=on"};
const Reason kVfioPciNotLoaded{"VFIO_PCI_NOT_LOADED", kRefused, "the vfio-pci driver is not loaded",
                               "modprobe vfio-pci"};
const Reason kVfioDriverNotLoaded{"VFIO_DRIVER_NOT_LOADED", kRefused,
                                  "the VFIO driver made for the function is not loaded", "load it: modprobe DRIVER"};
const Reason kNotAGpu{"NOT_A_GPU", kRefused, "the PCI function is no GPU", "see: slicebroker list gpus"};
const Reason kNotAVf{"NOT_A_VF", kRefused, "the PCI function is no SR-IOV virtual function",
                     "use gpu= for a physical function"};
const Reason kVgpuTypeNotSet{"VGPU_TYPE_NOT_SET", kRefused, "the virtual function has no vGPU type yet",
                             "ask for the type: type=ID"};
const Reason kNotTheAgreedDevice{"NOT_THE_AGREED_DEVICE", kRefused,
                                 "the domain's XML names another device for this request",
                                 "make the XML anew: slicebroker xml --domain FILE"};
const Reason kHypervisorUnsupported{"COMPAT_UNSUPPORTED", kNotSurfaced, "the hypervisor can't attach this surface",
                                    "use another hypervisor"};
const Reason kMigLayoutUnknown{"MIG_LAYOUT_UNKNOWN", kRefused,
                               "without NVML the GPU's MIG layout can't be brought back",
                               "install NVIDIA's management library, or name it with --nvml"};
const Reason kNvswitchFabric{
    "NVSWITCH_FABRIC", kRefused,
    "the host's NVSwitches join its GPUs: a GPU taken alone needs its fabric partition activated, "
    "or its NVLinks disabled",
    "activate its partition (fmpm -a PARTITION), then repeat with --allow-nvswitch; or take a MIG "
    "slice"};
const Reason kMdevUuidTaken{"MDEV_UUID_TAKEN", kHeld, "a mediated device of the agreed UUID exists already",
                            "remove it with the tool that made it, or make the XML anew"};
// What the policy says is kRefused, not kNotSurfaced: the host could hand the slice over, its operator does not want it
// to, and a whole GPU in its place would go around that.
const Reason kNotManaged{"NOT_MANAGED", kRefused, "the policy does not put the GPU into slicebroker's hands",
                         "ask for a GPU that is managed (slicebroker list gpus), or have [gpus] in the policy changed"};
const Reason kSurfaceDenied{"SURFACE_DENIED", kRefused, "the policy does not let this surface be used",
                            "ask for what another surface can carry, or have [surfaces] in the policy changed"};
const Reason kFallbackDenied{"FALLBACK_DENIED", kRefused, "the policy lets no whole GPU stand in for a slice",
                             "ask for the whole GPU as such (gpu=), or have limits.fallback in the policy changed"};
const Reason kQuarantined{"QUARANTINED", kRefused, "somebody has to look at it before it is leased again",
                          "look at it, then: slicebroker quarantine clear DEVICE"};
const Reason kForeignOwner{"FOREIGN_OWNER", kHeld, "another tool's file says that it is its device",
                           "free it with the tool that owns it, or let slicebroker use it: gpus.use_claimed_by in the "
                           "policy"};
const Reason kDeviceSilent{"DEVICE_SILENT", kSilent, "the device, or what shares its GPU or group, does not answer",
                           "see what holds it (slicebroker list leases, quarantine list) and the kernel's log"};

}  // namespace reasons

std::span<const Reason* const> all_reasons() {
  using namespace reasons;
  static constexpr std::array kAll{&kLeased,
                                   &kSliceInUse,
                                   &kVfInUse,
                                   &kHeldByProcess,
                                   &kGpuNotIdle,
                                   &kNoCapacity,
                                   &kInstancesTaken,
                                   &kMigModeOn,
                                   &kMigModeOff,
                                   &kOtherSizeResident,
                                   &kComputeInstance,
                                   &kNoGpuInstance,
                                   &kMigNotSurfaced,
                                   &kVfsNotEnabled,
                                   &kVgpuDriverAbsent,
                                   &kNoVgpuType,
                                   &kIsolationTooLow,
                                   &kGroupNotViable,
                                   &kIommuOff,
                                   &kVfioPciNotLoaded,
                                   &kVfioDriverNotLoaded,
                                   &kNotAGpu,
                                   &kNotAVf,
                                   &kVgpuTypeNotSet,
                                   &kNotTheAgreedDevice,
                                   &kHypervisorUnsupported,
                                   &kMigLayoutUnknown,
                                   &kNvswitchFabric,
                                   &kMdevUuidTaken,
                                   &kNotManaged,
                                   &kSurfaceDenied,
                                   &kFallbackDenied,
                                   &kQuarantined,
                                   &kForeignOwner,
                                   &kDeviceSilent};
  return kAll;
}

}  // namespace slicebroker::broker
