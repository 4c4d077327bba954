// SPDX-License-Identifier: Apache-2.0
// Devices that exist and are taken as they are: mdev= and vf=.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Isolation;
using broker::Request;
using vfio::Inventory;

template <class Host, class Change>
Host with(Host host, Change change) {
  change(host);
  return host;
}

Inventory with_mdev(std::optional<std::uint32_t> gpu_instance) {
  return with(mdev_host(), [&](Inventory& host) { add_mdev(host, kVf0, "nvidia-699", gpu_instance); });
}

Inventory with_vgpu(std::optional<std::uint32_t> gpu_instance) {
  return with(vendor_host(), [&](Inventory& host) {
    vendor_vf_at(host, kVf0).current_type = 699;
    vendor_vf_at(host, kVf0).gpu_instance_id = gpu_instance;
  });
}

Request hardware(Request request) {
  request.isolation = Isolation::kHardware;
  return request;
}

Request on_cloud_hypervisor(const std::string& selector) {
  return request_for(selector, hypervisors::HypervisorKind::kCloudHypervisor, hypervisors::Version{53, 0, 0});
}

}  // namespace

std::vector<ResolverCase> existing_cases() {
  const auto mdev = request("mdev=" + kMdev);
  const auto vf = request("vf=41:00.4");
  const auto says = [](const std::string& device, const std::string& verdict) {
    return std::vector<std::string>{device + " " + verdict};
  };
  const std::string mdev_line = "mdev " + kMdev;
  const std::string vf_line = "vendor-vf 0000:41:00.4";
  return {
      {"mdev", with_mdev({}), {}, mdev, says(mdev_line, "granted")},
      {"mdev, MIG-backed, where hardware is demanded", with_mdev(3), {}, hardware(mdev), says(mdev_line, "granted")},
      {"mdev, time-sliced, where hardware is demanded",
       with_mdev({}),
       {},
       hardware(mdev),
       says(mdev_line, "ISOLATION_TOO_LOW")},
      {"mdev that is not the one in the XML",
       with_mdev({}),
       {},
       with(mdev, [](Request& r) { r.only_mdev = true; }),
       says(mdev_line, "NOT_THE_AGREED_DEVICE")},
      {"mdev where the XML has a function",
       with_mdev({}),
       {},
       with(mdev, [](Request& r) { r.only_function = kVf0; }),
       says(mdev_line, "NOT_THE_AGREED_DEVICE")},
      {"mdev that is the one in the XML",
       with_mdev({}),
       {},
       with(mdev,
            [](Request& r) {
              r.only_mdev = true;
              r.mdev_uuid = *Uuid::parse(kMdev);
            }),
       says(mdev_line, "granted")},
      {"VF that is not the one in the XML",
       with_vgpu({}),
       {},
       with(vf, [](Request& r) { r.only_function = kVf1; }),
       says(vf_line, "NOT_THE_AGREED_DEVICE")},
      {"VF that is the one in the XML",
       with_vgpu({}),
       {},
       with(vf, [](Request& r) { r.only_function = kVf0; }),
       says(vf_line, "granted")},
      {"mdev on Cloud Hypervisor",
       with_mdev({}),
       {},
       on_cloud_hypervisor("mdev=" + kMdev),
       says(mdev_line, "COMPAT_VGPU_NEEDS_QEMU")},
      {"mdev of another vendor on Cloud Hypervisor",
       with(with_mdev({}), [](Inventory& host) { function_at(host, kVf0).vendor = 0x8086; }),
       {},
       on_cloud_hypervisor("mdev=" + kMdev),
       says(mdev_line, "COMPAT_MDEV_UNPROVEN")},
      {"mdev is leased", with_mdev({}), {hold("mdev:" + kMdev)}, mdev, says(mdev_line, "LEASED")},
      {"mdev of a GPU that is leased whole",
       with_mdev({}),
       {hold("pci:0000:41:00.0")},
       mdev,
       says(mdev_line, "LEASED")},
      {"mdev is open",
       with(with_mdev({}),
            [](Inventory& host) {
              host.holders = {{815, "qemu", "/dev/vfio/77"}};
            }),
       {},
       mdev,
       says(mdev_line, "HELD_BY_PROCESS")},
      {"mdev is open (iommufd)",
       with(with_mdev({}),
            [](Inventory& host) {
              host.holders = {{815, "qemu", "/dev/vfio/devices/vfio77"}};
            }),
       {},
       mdev,
       says(mdev_line, "HELD_BY_PROCESS")},
      {"mdev whose parent is no PCI function",
       with(with_mdev({}), [](Inventory& host) { host.mdevs[0].parent = std::nullopt; }),
       {},
       mdev,
       says(mdev_line, "NOT_A_GPU")},
      {"vendor VF with a vGPU", with_vgpu(3), {}, hardware(vf), says(vf_line, "granted")},
      {"vendor VF with a time-sliced vGPU where hardware is demanded",
       with_vgpu({}),
       {},
       hardware(vf),
       says(vf_line, "ISOLATION_TOO_LOW")},
      {"vendor VF without a vGPU", vendor_host(), {}, vf, says(vf_line, "VGPU_TYPE_NOT_SET")},
      {"vendor VF on Cloud Hypervisor",
       with_vgpu({}),
       {},
       on_cloud_hypervisor("vf=41:00.4"),
       says(vf_line, "COMPAT_VGPU_NEEDS_QEMU")},
      {"vendor VF is leased", with_vgpu({}), {hold("pci:0000:41:00.4")}, vf, says(vf_line, "LEASED")},
      {"vendor VF of a GPU that is leased whole",
       with_vgpu({}),
       {hold("pci:0000:41:00.0")},
       vf,
       says(vf_line, "LEASED")},
      {"vendor VF is open",
       with(with_vgpu({}),
            [](Inventory& host) {
              host.holders = {{815, "qemu", "/dev/vfio/devices/vfio4"}};
            }),
       {},
       vf,
       says(vf_line, "HELD_BY_PROCESS")},
      {"VF whose driver makes mdevs", mdev_host(), {}, vf, says("vf 0000:41:00.4", "VGPU_TYPE_NOT_SET")},
  };
}

}  // namespace slicebroker::test
