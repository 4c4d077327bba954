// SPDX-License-Identifier: Apache-2.0
// Slices that exist and can't be surfaced: what stands in for them, and when nothing may.
#include "hypervisors/hypervisor.h"
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Fallback;
using broker::Isolation;
using broker::Request;
using hypervisors::HypervisorKind;
using hypervisors::Version;
using vfio::Inventory;

constexpr Version kOldLibvirt{9, 0, 0};
constexpr Version kCloudHypervisor53{53, 0, 0};

Request on_cloud_hypervisor(const std::string& selector) {
  return request_for(selector, HypervisorKind::kCloudHypervisor, kCloudHypervisor53);
}

Request on_old_libvirt(const std::string& selector) {
  return request_for(selector, HypervisorKind::kLibvirt, kOldLibvirt);
}

Request without_fallback(Request request) {
  request.fallback = Fallback::kNone;
  return request;
}

Request at_least(Isolation isolation, Request request) {
  request.isolation = isolation;
  return request;
}

template <class Change>
Inventory with(Inventory host, Change change) {
  change(host);
  return host;
}

// No vGPU type is backed by 1g.10gb: a graphics profile, or a driver too old for the card.
Inventory without_types_of_1g() {
  return with(vendor_host(), [](Inventory& host) {
    std::erase_if(host.nvidia->gpus[0].vgpu_types, [](const auto& type) { return type.gpu_instance_profile_id == 19; });
    for (auto& vf : host.vendor_vfs)
      std::erase_if(vf.creatable, [](const auto& t) { return t.id == 698 || t.id == 699; });
  });
}

}  // namespace

std::vector<ResolverCase> fallback_cases() {
  const std::string needs_qemu_0 = "vendor-vf 0000:41:00.4 COMPAT_VGPU_NEEDS_QEMU";
  const std::string needs_qemu_1 = "vendor-vf 0000:41:00.5 COMPAT_VGPU_NEEDS_QEMU";
  const std::string too_old_0 = "vendor-vf 0000:41:00.4 COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT";
  const std::string too_old_1 = "vendor-vf 0000:41:00.5 COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT";
  return {
      {"VFs are off", mig_gpu(), {}, request(kMig3), {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 granted"}},
      {"VFs without a vGPU driver",
       mig_gpu_with_vfs(),
       {},
       request(kMig3),
       {"- 0000:41:00.0 MIG_NOT_SURFACED", "gpu 0000:41:00.0 granted"}},
      {"driver without vGPUs",
       with(mig_gpu(), [](Inventory& host) { host.nvidia->gpus[0].vgpu_types.clear(); }),
       {},
       request(kMig3),
       {"- 0000:41:00.0 VGPU_DRIVER_ABSENT", "gpu 0000:41:00.0 granted"}},
      {"type while the VFs are off",
       mig_gpu(),
       {},
       request("type=GRID A100D-4C"),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 granted"}},
      {"time-sliced type while the VFs are off, where hardware is demanded: the GPU isolates more",
       mig_gpu(),
       {},
       at_least(Isolation::kHardware, request("type=GRID A100D-4C")),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 granted"}},
      {"profile that can't be surfaced",
       mig_gpu(),
       {},
       request("profile=1g.10gb"),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 granted"}},
      {"no type for the profile",
       without_types_of_1g(),
       {},
       request(kMig3),
       {"- 0000:41:00.0 NO_VGPU_TYPE", "gpu 0000:41:00.0 granted"}},
      {"Cloud Hypervisor and vendor VFs",
       vendor_host(),
       {},
       on_cloud_hypervisor(kMig3),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 granted"}},
      {"Cloud Hypervisor and mdevs",
       mdev_host(),
       {},
       on_cloud_hypervisor("type=nvidia-468"),
       {"mdev 0000:41:00.4 COMPAT_VGPU_NEEDS_QEMU", "mdev 0000:41:00.5 COMPAT_VGPU_NEEDS_QEMU",
        "gpu 0000:41:00.0 granted"}},
      {"Cloud Hypervisor of unknown version",
       vendor_host(),
       {},
       request_for(kMig3, HypervisorKind::kCloudHypervisor, std::nullopt),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 granted"}},
      {"old libvirt and vendor VFs",
       vendor_host(),
       {},
       on_old_libvirt(kMig3),
       {too_old_0, too_old_1, "gpu 0000:41:00.0 granted"}},
      {"old libvirt and mdevs, which it knows",
       mdev_host(),
       {},
       on_old_libvirt(kMig3),
       {"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"}},
      {"libvirt of unknown version is the newest",
       vendor_host(),
       {},
       request_for(kMig3, HypervisorKind::kLibvirt, std::nullopt),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"whole GPU isolates more than was demanded",
       vendor_host(),
       {},
       at_least(Isolation::kHardware, on_cloud_hypervisor(kMig3)),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 granted"}},
      {"no fallback where the policy has none",
       vendor_host(),
       {},
       without_fallback(on_cloud_hypervisor(kMig3)),
       {needs_qemu_0, needs_qemu_1}},
      {"no fallback where the policy has none, on any hypervisor",
       mig_gpu(),
       {},
       without_fallback(request(kMig3)),
       {"- 0000:41:00.0 VFS_NOT_ENABLED"}},
      {"no fallback around another lease of the GPU",
       vendor_host(),
       {hold("gpu-instance:0000:41:00.0/5")},
       on_cloud_hypervisor(kMig3),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 GPU_NOT_IDLE"}},
      {"no fallback around a vGPU of others",
       with(vendor_host(), [](Inventory& host) { vendor_vf_at(host, kVf1).current_type = 468; }),
       {},
       on_cloud_hypervisor(kMig3),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 GPU_NOT_IDLE"}},
      {"no fallback around a process",
       with(vendor_host(),
            [](Inventory& host) {
              host.holders = {{815, "python3", "/dev/nvidia0"}};
            }),
       {},
       on_cloud_hypervisor(kMig3),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 HELD_BY_PROCESS"}},
      {"no fallback around a VMM that has a VF open",
       with(mig_gpu_with_vfs(),
            [](Inventory& host) {
              host.holders = {{815, "qemu", "/dev/vfio/41"}};
            }),
       {},
       request(kMig3),
       {"- 0000:41:00.0 MIG_NOT_SURFACED", "gpu 0000:41:00.0 HELD_BY_PROCESS"}},
      {"no fallback where an mdev was agreed",
       mig_gpu(),
       {},
       [] {
         auto r = request(kMig3);
         r.only_mdev = true;
         return r;
       }(),
       {"- 0000:41:00.0 VFS_NOT_ENABLED"}},
      {"fallback to the GPU that was agreed",
       mig_gpu(),
       {},
       [] {
         auto r = request(kMig3);
         r.only_function = kGpu;
         return r;
       }(),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 granted"}},
      {"fallback to another GPU than was agreed",
       mig_gpu(),
       {},
       [] {
         auto r = request(kMig3);
         r.only_function = kOtherGpu;
         return r;
       }(),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 NOT_THE_AGREED_DEVICE"}},
      {"slice on Cloud Hypervisor, GPU on the NVSwitch fabric",
       with(vendor_host(), [](Inventory& host) { add_nvswitch(host); }),
       {},
       on_cloud_hypervisor(kMig3),
       {needs_qemu_0, needs_qemu_1, "gpu 0000:41:00.0 NVSWITCH_FABRIC"}},
      {"every GPU of the profile is a fallback",
       with(mig_gpu(),
            [](Inventory& host) {
              auto other = host.nvidia->gpus[0];
              other.address = kOtherGpu;
              host.nvidia->gpus.push_back(other);
              add(host, pci(kOtherGpu, {.iommu_group = 20}));
            }),
       {hold("pci:0000:41:00.0")},
       request("profile=1g.10gb"),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "- 0000:c4:00.0 MIG_NOT_SURFACED", "gpu 0000:41:00.0 LEASED",
        "gpu 0000:c4:00.0 granted"}},
  };
}

}  // namespace slicebroker::test
