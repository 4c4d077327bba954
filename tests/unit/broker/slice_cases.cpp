// SPDX-License-Identifier: Apache-2.0
// Slices that are wanted by MIG UUID, profile or vGPU type, on hosts that surface them.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Fallback;
using broker::Isolation;
using vfio::Inventory;

template <class Host, class Change>
Host with(Host host, Change change) {
  change(host);
  return host;
}

void exhaust(Inventory& host) {
  for (auto& vf : host.vendor_vfs) vf.creatable.clear();
}

}  // namespace

std::vector<ResolverCase> slice_cases() {
  const std::string instance3 = "gpu-instance:0000:41:00.0/3";
  return {
      {"exact slice on a vendor VF",
       vendor_host(),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"exact slice by its legacy name",
       vendor_host(),
       {},
       request("MIG-" + kGpuUuid + "/3/0"),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"exact slice as an mdev",
       mdev_host(),
       {},
       request(kMig3),
       {"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"}},
      {"first VF carries a vGPU of others",
       with(vendor_host(), [](Inventory& host) { vendor_vf_at(host, kVf0).current_type = 468; }),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 VF_IN_USE"}},
      {"first VF carries an mdev of others",
       with(mdev_host(), [](Inventory& host) { add_mdev(host, kVf0, "nvidia-468", {}); }),
       {},
       request(kMig3),
       {"mdev 0000:41:00.5 granted", "mdev 0000:41:00.4 VF_IN_USE"}},
      {"first VF is leased",
       vendor_host(),
       {hold("pci:0000:41:00.4")},
       request(kMig3),
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 LEASED"}},
      {"first VF is held by a process",
       with(vendor_host(),
            [](Inventory& host) {
              host.holders = {{4711, "qemu", "/dev/vfio/40"}};
            }),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 HELD_BY_PROCESS"}},
      {"slice is leased",
       vendor_host(),
       {hold(instance3)},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 LEASED", "vendor-vf 0000:41:00.5 LEASED"}},
      {"slice is leased, another one of its profile is not",
       vendor_host(),
       {hold(instance3)},
       request(kMig5),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"mdev of others runs on the slice",
       with(mdev_host(), [](Inventory& host) { add_mdev(host, kVf0, "nvidia-699", 3); }),
       {},
       request(kMig3),
       {"mdev 0000:41:00.4 SLICE_IN_USE", "mdev 0000:41:00.5 SLICE_IN_USE"}},
      {"mdev of a lease runs on the slice",
       with(mdev_host(), [](Inventory& host) { add_mdev(host, kVf0, "nvidia-699", 3); }),
       {hold("mdev:" + kMdev)},
       request(kMig3),
       {"mdev 0000:41:00.4 LEASED", "mdev 0000:41:00.5 LEASED"}},
      {"vGPU of others runs on the slice",
       with(vendor_host(),
            [](Inventory& host) {
              vendor_vf_at(host, kVf1).current_type = 699;
              vendor_vf_at(host, kVf1).gpu_instance_id = 3;
            }),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 SLICE_IN_USE", "vendor-vf 0000:41:00.5 SLICE_IN_USE"}},
      {"only NVML knows of the vGPU on the slice",
       with(vendor_host(),
            [](Inventory& host) {
              host.nvidia->gpus[0].active_vgpus = {{699, 3, {}}};
            }),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 SLICE_IN_USE", "vendor-vf 0000:41:00.5 SLICE_IN_USE"}},
      {"vGPU on another GPU's instance of the same number",
       with(vendor_host(),
            [](Inventory& host) {
              add(host, pci(kOtherGpu, {.iommu_group = 20}));
              add_mdev(host, kOtherGpu, "nvidia-1", 3);
            }),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"whole GPU is leased",
       vendor_host(),
       {hold("pci:0000:41:00.0")},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 LEASED", "vendor-vf 0000:41:00.5 LEASED"}},
      {"no capacity",
       with(vendor_host(), exhaust),
       {},
       request(kMig3),
       {"vendor-vf 0000:41:00.4 NO_CAPACITY", "vendor-vf 0000:41:00.5 NO_CAPACITY"}},
      {"no capacity for an mdev",
       with(mdev_host(), [](Inventory& host) { set_available(host, "nvidia-699", 0); }),
       {},
       request(kMig3),
       {"mdev 0000:41:00.4 NO_CAPACITY", "mdev 0000:41:00.5 NO_CAPACITY"}},
      {"profile",
       vendor_host(),
       {},
       request("profile=1g.10gb"),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"profile without an instance",
       vendor_host(),
       {},
       request("profile=2g.20gb"),
       {"- 0000:41:00.0 NO_GPU_INSTANCE"}},
      {"type",
       vendor_host(),
       {},
       request("type=nvidia-699"),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"type of which only one VF has any left",
       with(vendor_host(), [](Inventory& host) { vendor_vf_at(host, kVf0).creatable.clear(); }),
       {},
       request("type=699"),
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 NO_CAPACITY"}},
      {"MIG-backed type without an instance of its profile",
       with(vendor_host(),
            [](Inventory& host) {
              exhaust(host);
              host.nvidia->gpus[0].instances.clear();
            }),
       {},
       request("type=699"),
       {"vendor-vf 0000:41:00.4 NO_GPU_INSTANCE", "vendor-vf 0000:41:00.5 NO_GPU_INSTANCE"}},
      {"time-sliced type",
       mdev_host(),
       {},
       request("type=nvidia-468"),
       {"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"}},
      {"time-sliced type where hardware is demanded",
       mdev_host(),
       {},
       with(request("type=nvidia-468"), [](auto& r) { r.isolation = Isolation::kHardware; }),
       {"mdev 0000:41:00.4 ISOLATION_TOO_LOW", "mdev 0000:41:00.5 ISOLATION_TOO_LOW"}},
      {"MIG-backed type where hardware is demanded",
       mdev_host(),
       {},
       with(request("type=nvidia-699"), [](auto& r) { r.isolation = Isolation::kHardware; }),
       {"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"}},
      {"agreed VF",
       vendor_host(),
       {},
       with(request(kMig3), [](auto& r) { r.only_function = kVf1; }),
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 NOT_THE_AGREED_DEVICE"}},
      {"agreed VF is leased",
       vendor_host(),
       {hold("pci:0000:41:00.5")},
       with(request(kMig3), [](auto& r) { r.only_function = kVf1; }),
       {"vendor-vf 0000:41:00.5 LEASED", "vendor-vf 0000:41:00.4 NOT_THE_AGREED_DEVICE"}},
      {"agreed VF, and the host makes mdevs now",
       mdev_host(),
       {},
       with(request(kMig3), [](auto& r) { r.only_function = kVf1; }),
       {"mdev 0000:41:00.4 NOT_THE_AGREED_DEVICE", "mdev 0000:41:00.5 NOT_THE_AGREED_DEVICE",
        "gpu 0000:41:00.0 NOT_THE_AGREED_DEVICE"}},
      {"agreed mdev",
       mdev_host(),
       {},
       with(request(kMig3), [](auto& r) { r.only_mdev = true; }),
       {"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"}},
      {"agreed mdev whose UUID another VM has leased",
       mdev_host(),
       {hold("mdev:" + kFreshMdev)},
       with(request(kMig3), [](auto& r) { r.only_mdev = true; }),
       {"mdev 0000:41:00.4 LEASED", "mdev 0000:41:00.5 LEASED"}},
      {"agreed mdev whose UUID somebody has made meanwhile",
       with(mdev_host(),
            [](Inventory& host) {
              add_mdev(host, kVf1, "nvidia-468", {});
              host.mdevs.back().uuid = *Uuid::parse(kFreshMdev);
            }),
       {},
       with(request(kMig3), [](auto& r) { r.only_mdev = true; }),
       {"mdev 0000:41:00.4 MDEV_UUID_TAKEN", "mdev 0000:41:00.5 VF_IN_USE"}},
      {"agreed mdev, and the host has vendor VFs now",
       vendor_host(),
       {},
       with(request(kMig3), [](auto& r) { r.only_mdev = true; }),
       {"vendor-vf 0000:41:00.4 NOT_THE_AGREED_DEVICE", "vendor-vf 0000:41:00.5 NOT_THE_AGREED_DEVICE"}},
  };
}

std::vector<ResolverCase> resolver_cases() {
  auto all = slice_cases();
  for (auto& more : {fallback_cases(), group_cases(), existing_cases(), variant_cases(), by_name_cases(),
                     capacity_cases(), memory_cases(), policy_cases(), foreign_cases()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace slicebroker::test
