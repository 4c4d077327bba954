// SPDX-License-Identifier: Apache-2.0
// A driver that offers none of a type, and what the state of the GPU says about why.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using vfio::Inventory;

template <class Host, class Change>
Host with(Host host, Change change) {
  change(host);
  return host;
}

constexpr std::uint32_t kSmall = 468;  // 4 GiB, time-sliced
constexpr std::uint32_t kLarge = 470;  // 8 GiB, time-sliced

void exhaust(Inventory& host) {
  for (auto& vf : host.vendor_vfs) vf.creatable.clear();
  for (auto& type : host.mdev_types) type.available = 0;
}

// MIG off, another time-sliced type, and no capacity for anything.
Inventory time_sliced(Inventory host) {
  switch_mig_off(host);
  host.nvidia->gpus[0].vgpu_types.push_back({kLarge, "GRID A100D-8C", {}, 8192});
  for (const auto& address : {kVf0, kVf1}) {
    if (!host.mdev_types.empty()) host.mdev_types.push_back({address, "nvidia-470", "GRID A100D-8C", "vfio-pci", 0});
  }
  exhaust(host);
  return host;
}

// Both 1g.10gb instances and the one of 3g.40gb: as many as there are VFs and one more.
std::vector<broker::Hold> any_instances(std::size_t count) {
  std::vector<broker::Hold> holds;
  for (std::size_t n = 0; n < count; ++n) {
    holds.push_back(hold(broker::any_instance_key(kGpu, 19, n), "libvirt:db2", static_cast<std::int64_t>(n) + 1));
  }
  return holds;
}

// A card before Ampere: several mediated devices on its physical function.
Inventory old_card(std::uint32_t available) {
  auto host = plain_gpu();
  host.mdev_types.push_back({kGpu, "nvidia-231", "GRID T4-2C", "vfio-pci", available});
  return host;
}

std::vector<std::string> both(const std::string& surface, const std::string& verdict) {
  return {surface + " 0000:41:00.4 " + verdict, surface + " 0000:41:00.5 " + verdict};
}

const std::vector<std::string> kGranted{"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"};

std::vector<ResolverCase> mode_cases() {
  return {
      {"time-sliced type while MIG is on",
       with(mdev_host(), exhaust),
       {},
       request("type=468"),
       both("mdev", "MIG_MODE_ON")},
      {"MIG-backed type while MIG is off",
       with(mdev_host(), switch_mig_off),
       {},
       request("type=699"),
       both("mdev", "MIG_MODE_OFF")},
      {"profile while MIG is off",
       with(vendor_host(), switch_mig_off),
       {},
       request("profile=1g.10gb"),
       {"- 0000:41:00.0 MIG_MODE_OFF"}},
      {"time-sliced type while MIG is off", with(vendor_host(), switch_mig_off), {}, request("type=468"), kGranted},
      {"another size by NVML",
       with(time_sliced(vendor_host()),
            [](Inventory& host) {
              host.nvidia->gpus[0].active_vgpus = {{kSmall, {}, {}}};
            }),
       {},
       request("type=470"),
       both("vendor-vf", "OTHER_SIZE_RESIDENT")},
      {"another size on a vendor VF",
       with(time_sliced(vendor_host()), [](Inventory& host) { vendor_vf_at(host, kVf0).current_type = kSmall; }),
       {},
       request("type=470"),
       {"vendor-vf 0000:41:00.4 VF_IN_USE", "vendor-vf 0000:41:00.5 OTHER_SIZE_RESIDENT"}},
      {"another size as an mdev",
       with(time_sliced(mdev_host()), [](Inventory& host) { add_mdev(host, kVf0, "nvidia-468", {}); }),
       {},
       request("type=470"),
       {"mdev 0000:41:00.4 VF_IN_USE", "mdev 0000:41:00.5 OTHER_SIZE_RESIDENT"}},
      {"another size in mixed-size mode",
       with(time_sliced(vendor_host()),
            [](Inventory& host) {
              host.nvidia->gpus[0].active_vgpus = {{kSmall, {}, {}}};
              host.nvidia->gpus[0].vgpu_heterogeneous = true;
            }),
       {},
       request("type=470"),
       both("vendor-vf", "NO_CAPACITY")},
      {"the same size",
       with(time_sliced(vendor_host()),
            [](Inventory& host) {
              host.nvidia->gpus[0].active_vgpus = {{kLarge, {}, {}}};
            }),
       {},
       request("type=470"),
       both("vendor-vf", "NO_CAPACITY")},
      {"no vGPU runs", time_sliced(vendor_host()), {}, request("type=470"), both("vendor-vf", "NO_CAPACITY")},
      {"nothing left, and no NVML to ask why",
       with(mdev_host(),
            [](Inventory& host) {
              exhaust(host);
              host.nvidia = std::nullopt;
            }),
       {},
       request("type=nvidia-468"),
       both("mdev", "NO_CAPACITY")},
      {"mdev types of another vendor", gvt_host(), {}, request("type=i915-GVTg_V5_4"), {"mdev 0000:00:02.0 granted"}},
      {"mdev type of another vendor, used up",
       gvt_host(),
       {},
       request("type=i915-GVTg_V5_8"),
       {"mdev 0000:00:02.0 NO_CAPACITY"}},
      {"mdev type of another vendor where hardware is demanded",
       gvt_host(),
       {},
       with(request("type=i915-GVTg_V5_4"), [](auto& r) { r.isolation = broker::Isolation::kHardware; }),
       {"mdev 0000:00:02.0 ISOLATION_TOO_LOW"}},
      {"last mdev of a physical function", old_card(1), {}, request("type=231"), {"mdev 0000:41:00.0 granted"}},
      {"last mdev of a physical function is about to be made",
       old_card(1),
       {hold("mdev:" + kMdev)},
       request("type=231"),
       {"mdev 0000:41:00.0 NO_CAPACITY"}},
      {"mdev of a lease is made already",
       with(old_card(1), [](Inventory& host) { add_mdev(host, kGpu, "nvidia-231", {}); }),
       {hold("mdev:" + kMdev)},
       request("type=231"),
       {"mdev 0000:41:00.0 granted"}},
  };
}

std::vector<ResolverCase> instance_cases() {
  const auto profile = request("profile=1g.10gb");
  const std::string instance3 = "gpu-instance:0000:41:00.0/3";
  const std::string instance5 = "gpu-instance:0000:41:00.0/5";
  const auto with_vgpu_on_5 = with(vendor_host(), [](Inventory& host) {
    host.nvidia->gpus[0].active_vgpus = {{699, 5, {}}};
  });
  return {
      {"profile, one of two instances is leased", vendor_host(), {hold(instance3)}, profile, kGranted},
      {"profile, both instances are leased",
       vendor_host(),
       {hold(instance3), hold(instance5)},
       profile,
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"profile, one is leased and one in use",
       with_vgpu_on_5,
       {hold(instance3)},
       profile,
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"MIG-backed type, both instances are taken",
       with_vgpu_on_5,
       {hold(instance3)},
       request("type=699"),
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"profile, one instance is promised", vendor_host(), any_instances(1), profile, kGranted},
      {"profile, both instances are promised", vendor_host(), any_instances(2), profile,
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"profile, one instance is promised and the other leased",
       vendor_host(),
       {hold(broker::any_instance_key(kGpu, 19, 0), "libvirt:a", 1), hold(instance5)},
       profile,
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"profile, the promised instance is on its VF by now",
       with(vendor_host(),
            [](Inventory& host) {
              vendor_vf_at(host, kVf0).current_type = 699;
              vendor_vf_at(host, kVf0).gpu_instance_id = 5;
            }),
       {hold(broker::any_instance_key(kGpu, 19, 0)), hold("pci:0000:41:00.4")},
       profile,
       {"vendor-vf 0000:41:00.5 granted", "vendor-vf 0000:41:00.4 LEASED"}},
      {"exact slice, both instances are promised", vendor_host(), any_instances(2), request(kMig3),
       both("vendor-vf", "GPU_INSTANCES_TAKEN")},
      {"promise of another profile", vendor_host(), any_instances(2), request("profile=3g.40gb"), kGranted},
      {"profile as a compute instance",
       vendor_host(),
       {},
       request("profile=1c.3g.40gb"),
       {"- 0000:41:00.0 COMPUTE_INSTANCE"}},
      {"MIG UUID of one compute instance of two",
       with(vendor_host(),
            [](Inventory& host) {
              auto& instance = host.nvidia->gpus[0].instances[0];
              instance.compute_instances.push_back({1, 100, {1, 1}, "MIG-00000000-0000-5000-8000-0000000000aa"});
            }),
       {},
       request(kMig1),
       {"- 0000:41:00.0 COMPUTE_INSTANCE"}},
      {"profile with NVIDIA's prefix in capitals", vendor_host(), {}, request("profile=MIG 1G.10GB"), kGranted},
      {"profile of a driver that names none",
       with(vendor_host(),
            [](Inventory& host) {
              for (auto& each : host.nvidia->gpus[0].profiles) each.name.clear();
            }),
       {},
       request("profile=1g.10gb"),
       kGranted},
      {"profile with media engines, of which there is no instance",
       with(vendor_host(),
            [](Inventory& host) {
              host.nvidia->gpus[0].profiles.push_back({20, "1g.10gb+me", 1, 1, 9728});
            }),
       {},
       request("profile=1g.10gb+me"),
       {"- 0000:41:00.0 NO_GPU_INSTANCE"}},
  };
}

}  // namespace

std::vector<ResolverCase> capacity_cases() {
  auto all = mode_cases();
  const auto more = instance_cases();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace slicebroker::test
