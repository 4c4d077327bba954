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
const Reason kNoGpuInstance{"NO_GPU_INSTANCE", kRefused, "the GPU has no GPU instance of the profile",
                            "make one: nvidia-smi mig -cgi PROFILE -C"};
const Reason kMigNotSurfaced{"MIG_NOT_SURFACED", kNotSurfaced,
                             "the GPU instance has no virtual function or mediated device that could carry it",
                             "install NVIDIA's vGPU host driver and enable VFs"};
const Reason kNoVgpuType{"NO_VGPU_TYPE", kNotSurfaced, "no vGPU type is backed by the GPU instance's profile",
                         "use another profile"};
const Reason kIsolationTooLow{"ISOLATION_TOO_LOW", kRefused, "it isolates less than the request demands",
                              "ask for a MIG-backed type or a whole GPU, or lower --isolation"};
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
const Reason kMdevUuidTaken{"MDEV_UUID_TAKEN", kHeld, "a mediated device of the agreed UUID exists already",
                            "remove it with the tool that made it, or make the XML anew"};

}  // namespace reasons

std::span<const Reason* const> all_reasons() {
  using namespace reasons;
  static constexpr std::array kAll{&kLeased,
                                   &kSliceInUse,
                                   &kVfInUse,
                                   &kHeldByProcess,
                                   &kGpuNotIdle,
                                   &kNoCapacity,
                                   &kNoGpuInstance,
                                   &kMigNotSurfaced,
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
                                   &kMdevUuidTaken};
  return kAll;
}

}  // namespace slicebroker::broker
