// SPDX-License-Identifier: Apache-2.0
// Devices that another tool's files name.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Policy;
using broker::Request;
using vfio::Claim;
using vfio::Claimant;
using vfio::Inventory;

constexpr PciAddress kOtherVf{0, 0xc4, 0, 4};

using Device = std::variant<PciAddress, Uuid>;

Claim claim(Claimant claimant, const Device& device, const std::string& owner = {}) {
  Claim made;
  made.claimant = claimant;
  made.device = device;
  made.owner = owner.empty() ? std::string(vfio::name(claimant)) : owner;
  made.source = "/etc/a-file";
  made.fact = "says so";
  made.remedy = "tell the tool";
  return made;
}

Claim mdevctl_claim(const std::string& uuid, const PciAddress& parent) {
  auto made = claim(Claimant::kMdevctl, Uuid::parse(uuid).value());
  made.parent = parent;
  return made;
}

Claim domain_claim(const Device& device, const std::string& domain, bool in_use = false) {
  auto made = claim(Claimant::kLibvirt, device, "libvirt:" + domain);
  made.in_use = in_use;
  return made;
}

Inventory claimed(Inventory host, std::vector<Claim> claims) {
  host.claims = std::move(claims);
  return host;
}

// The GPU with a companion that speaks VFIO in its IOMMU group.
Inventory with_audio() {
  auto host = plain_gpu();
  add(host, pci(kAudio, {.class_code = 0x040300, .driver = "vfio-pci", .iommu_group = 13, .vfio_devices = {"vfio3"}}));
  return host;
}

// The GPU with another one, whose VF is somewhere else, in its IOMMU group.
Inventory with_second_gpu() {
  auto host = plain_gpu();
  add(host, pci(kOtherGpu, {.driver = "nvidia", .iommu_group = 13}));
  auto vf = pci(kOtherVf, {.driver = "nvidia", .iommu_group = 50});
  vf.physical_function = kOtherGpu;
  add(host, std::move(vf));
  return host;
}

Inventory with_mdev() {
  auto host = mdev_host();
  add_mdev(host, kVf0, "nvidia-699", 3);
  return host;
}

Request by(const std::string& vm, const std::string& selector) {
  auto made = request(selector);
  made.vm = vm;
  return made;
}

Policy using_claimed_by(std::set<Claimant> claimants) {
  Policy policy;
  policy.use_claimed_by = std::move(claimants);
  return policy;
}

}  // namespace

std::vector<ResolverCase> foreign_cases() {
  const std::vector<std::string> gpu_granted{"gpu 0000:41:00.0 granted"};
  const std::vector<std::string> gpu_foreign{"gpu 0000:41:00.0 FOREIGN_OWNER"};
  const std::vector<std::string> mdev_granted{"mdev " + kMdev + " granted"};
  const std::vector<std::string> mdev_foreign{"mdev " + kMdev + " FOREIGN_OWNER"};
  const std::vector<std::string> vf_foreign{"vendor-vf 0000:41:00.4 FOREIGN_OWNER"};
  const auto gpu = request("gpu=41:00.0");
  const auto mdev = request("mdev=" + kMdev);
  const auto pinned = claim(Claimant::kDriverctl, kGpu);
  const auto defined = mdevctl_claim(kMdev, kVf0);
  return {
      {"GPU that driverctl pins", claimed(plain_gpu(), {pinned}), {}, gpu, gpu_foreign},
      {"GPU that driverctl pins, with the policy's leave",
       claimed(plain_gpu(), {pinned}),
       {},
       gpu,
       gpu_granted,
       using_claimed_by({Claimant::kDriverctl})},
      {"leave for another tool is none",
       claimed(plain_gpu(), {pinned}),
       {},
       gpu,
       gpu_foreign,
       using_claimed_by({Claimant::kMdevctl, Claimant::kLibvirt, Claimant::kProxmox})},
      {"other GPU that driverctl pins",
       claimed(plain_gpu(), {claim(Claimant::kDriverctl, kOtherGpu)}),
       {},
       gpu,
       gpu_granted},
      {"companion that driverctl pins",
       claimed(with_audio(), {claim(Claimant::kDriverctl, kAudio)}),
       {},
       gpu,
       gpu_foreign},
      {"GPU beside one whose VF a domain has",
       claimed(with_second_gpu(), {domain_claim(kOtherVf, "db2")}),
       {},
       gpu,
       gpu_foreign},
      {"GPU whose VF a domain has", claimed(vendor_host(), {domain_claim(kVf1, "db2")}), {}, gpu, gpu_foreign},
      {"GPU of whose parts mdevctl defines one that is not made",
       claimed(mdev_host(), {defined}),
       {},
       gpu,
       gpu_foreign},
      {"mdev that mdevctl defines", claimed(with_mdev(), {defined}), {}, mdev, mdev_foreign},
      {"mdev that nobody defines", with_mdev(), {}, mdev, mdev_granted},
      {"mdev that mdevctl defines, with the policy's leave",
       claimed(with_mdev(), {defined}),
       {},
       mdev,
       mdev_granted,
       using_claimed_by({Claimant::kMdevctl})},
      {"mdev that mdevctl defines and that is not made", claimed(mdev_host(), {defined}), {}, mdev, mdev_foreign},
      {"mdev that mdevctl defines for a parent that is gone",
       claimed(with_mdev(), {mdevctl_claim(kMdev, kOtherGpu)}),
       {},
       mdev,
       mdev_foreign},
      {"VF that mdevctl keeps for an mdev that is not made",
       claimed(mdev_host(), {defined}),
       {},
       request(kMig3),
       {"mdev 0000:41:00.5 granted", "mdev 0000:41:00.4 FOREIGN_OWNER"}},
      {"VF of a domain that is defined",
       claimed(vendor_host(), {domain_claim(kVf0, "db2")}),
       {},
       request("vf=41:00.4"),
       vf_foreign},
      {"VF of the very domain that asks",
       claimed(vendor_host(), {domain_claim(kVf0, "web1")}),
       {},
       by("libvirt:web1", kMig3),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"}},
      {"domain's device, which the policy lets be used",
       claimed(plain_gpu(), {domain_claim(kGpu, "db2")}),
       {},
       gpu,
       gpu_granted,
       using_claimed_by({Claimant::kLibvirt})},
      {"device of a domain that runs, whatever the policy lets be used",
       claimed(plain_gpu(), {domain_claim(kGpu, "db2", true)}),
       {},
       gpu,
       gpu_foreign,
       using_claimed_by({Claimant::kLibvirt})},
      {"device that a lease gave to the domain",
       claimed(plain_gpu(), {domain_claim(kGpu, "db2", true)}),
       {hold(broker::device_key(kGpu), "libvirt:db2")},
       gpu,
       {"gpu 0000:41:00.0 LEASED"}},
      {"slices of a GPU that a lease gave one of to the domain",
       claimed(vendor_host(), {domain_claim(kVf0, "db2", true)}),
       {hold(broker::device_key(kVf0), "libvirt:db2")},
       gpu,
       {"gpu 0000:41:00.0 GPU_NOT_IDLE"}},
      {"fallback does not go around a claim",
       claimed(mig_gpu(), {domain_claim(kGpu, "db2")}),
       {},
       request(kMig3),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 FOREIGN_OWNER"}},
      {"GPU that a Proxmox VM is given",
       claimed(plain_gpu(), {claim(Claimant::kProxmox, kGpu, "Proxmox VM 101")}),
       {},
       gpu,
       gpu_foreign},
  };
}

}  // namespace slicebroker::test
