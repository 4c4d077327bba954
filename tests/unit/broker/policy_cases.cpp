// SPDX-License-Identifier: Apache-2.0
// What the policy does to candidates: GPUs that are not managed, surfaces that are denied, and its bounds.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Fallback;
using broker::Isolation;
using broker::Policy;
using broker::Request;
using hypervisors::HypervisorKind;
using hypervisors::Surface;
using vfio::Inventory;

template <class Value, class Change>
Value with(Value value, Change change) {
  change(value);
  return value;
}

broker::GpuMatch gpu(std::string_view text) {
  return broker::parse_gpu_match(text).value();
}

Policy including(std::vector<broker::GpuMatch> gpus) {
  Policy policy;
  policy.include = std::move(gpus);
  return policy;
}

Policy excluding(std::vector<broker::GpuMatch> gpus) {
  Policy policy;
  policy.exclude = std::move(gpus);
  return policy;
}

Policy denying(std::set<Surface> surfaces) {
  Policy policy;
  policy.surfaces.deny = std::move(surfaces);
  return policy;
}

Policy denying_on(HypervisorKind hypervisor, std::set<Surface> surfaces) {
  Policy policy;
  policy.hypervisor_surfaces[hypervisor].deny = std::move(surfaces);
  return policy;
}

Policy without_fallback() {
  Policy policy;
  policy.most_fallback = Fallback::kNone;
  return policy;
}

Policy isolating(Isolation least) {
  Policy policy;
  policy.least_isolation = least;
  return policy;
}

Policy taking_along(const char* member, std::optional<std::vector<broker::GpuMatch>> gpus = std::nullopt) {
  Policy policy;
  policy.group_members.push_back({std::move(gpus), {broker::parse_member_match(member).value()}});
  return policy;
}

// The GPU with its audio function, on the host's driver, in one group.
Inventory with_audio() {
  return with(plain_gpu(), [](Inventory& host) {
    add(host, pci(kAudio, {.class_code = 0x040300, .driver = "snd_hda_intel", .iommu_group = 13}));
  });
}

// Two GPUs in one group.
Inventory with_second_gpu() {
  return with(plain_gpu(), [](Inventory& host) {
    add(host, pci(kOtherGpu, {.driver = std::nullopt, .iommu_group = 13, .vfio_devices = {"vfio1"}}));
  });
}

// The GPU is off the nvidia driver, which would tell its UUID.
Inventory gpu_on_vfio() {
  return with(plain_gpu(), [](Inventory& host) {
    host.nvidia->gpus.clear();
    auto& function = function_at(host, kGpu);
    function.driver = "vfio-pci";
    function.vfio_devices = {"vfio0"};
  });
}

Request on_cloud_hypervisor(const std::string& selector) {
  return request_for(selector, HypervisorKind::kCloudHypervisor, std::nullopt);
}

std::vector<ResolverCase> managed_cases() {
  const std::vector<std::string> granted{"gpu 0000:41:00.0 granted"};
  const std::vector<std::string> not_managed{"gpu 0000:41:00.0 NOT_MANAGED"};
  const std::vector<std::string> vfs_not_managed{"vendor-vf 0000:41:00.4 NOT_MANAGED",
                                                 "vendor-vf 0000:41:00.5 NOT_MANAGED"};
  const auto whole = request("gpu=41:00.0");
  return {
      {"included by address", plain_gpu(), {}, whole, granted, including({gpu("41:00.0")})},
      {"included by ids", plain_gpu(), {}, whole, not_managed, including({gpu("1002:740f")})},
      {"included by UUID", mig_gpu(), {}, whole, granted, including({gpu(kGpuUuid)})},
      {"nothing included", plain_gpu(), {}, whole, not_managed, including({})},
      {"excluded by address", plain_gpu(), {}, whole, not_managed, excluding({gpu("41:00.0")})},
      {"excluded by UUID", mig_gpu(), {}, whole, not_managed, excluding({gpu(kGpuUuid)})},
      {"another is excluded", plain_gpu(), {}, whole, granted, excluding({gpu("c4:00.0")})},
      {"exclusion goes before inclusion",
       plain_gpu(),
       {},
       whole,
       not_managed,
       with(including({gpu("41:00.0")}), [](Policy& policy) { policy.exclude = {gpu("41:00.0")}; })},
      {"GPU without UUID may be the excluded one", gpu_on_vfio(), {}, whole, not_managed, excluding({gpu(kGpuUuid)})},
      {"GPU without UUID is not the included one", gpu_on_vfio(), {}, whole, not_managed, including({gpu(kGpuUuid)})},
      {"slice of a GPU that is not managed, nor the GPU for it",
       vendor_host(),
       {},
       request(kMig3),
       vfs_not_managed,
       excluding({gpu("41:00.0")})},
      {"unsurfaced slice of a GPU that is not managed",
       mig_gpu(),
       {},
       request(kMig3),
       {"- 0000:41:00.0 NOT_MANAGED"},
       excluding({gpu("41:00.0")})},
      {"VF that exists",
       vendor_host(),
       {},
       request("vf=41:00.4"),
       {"vendor-vf 0000:41:00.4 NOT_MANAGED"},
       excluding({gpu("41:00.0")})},
      {"another GPU of the group is not managed",
       with_second_gpu(),
       {},
       whole,
       not_managed,
       excluding({gpu("c4:00.0")})},
  };
}

std::vector<ResolverCase> surface_cases() {
  const std::vector<std::string> both_denied{"vendor-vf 0000:41:00.4 SURFACE_DENIED",
                                             "vendor-vf 0000:41:00.5 SURFACE_DENIED"};
  const std::vector<std::string> both_offered{"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"};
  const std::vector<std::string> needs_qemu{"vendor-vf 0000:41:00.4 COMPAT_VGPU_NEEDS_QEMU",
                                            "vendor-vf 0000:41:00.5 COMPAT_VGPU_NEEDS_QEMU",
                                            "gpu 0000:41:00.0 granted"};
  return {
      {"no whole GPU around a denied surface",
       vendor_host(),
       {},
       request(kMig3),
       both_denied,
       denying({Surface::kVendorVf})},
      {"another surface is denied", vendor_host(), {}, request(kMig3), both_offered, denying({Surface::kMdev})},
      {"surface is not among the allowed",
       vendor_host(),
       {},
       request(kMig3),
       both_denied,
       with(Policy{},
            [](Policy& policy) {
              policy.surfaces.allow = {Surface::kMdev, Surface::kGpu};
            })},
      {"denied on this hypervisor",
       vendor_host(),
       {},
       request(kMig3),
       both_denied,
       denying_on(HypervisorKind::kLibvirt, {Surface::kVendorVf})},
      {"denied on another hypervisor",
       vendor_host(),
       {},
       request(kMig3),
       both_offered,
       denying_on(HypervisorKind::kCloudHypervisor, {Surface::kVendorVf})},
      {"denial of what the hypervisor can't do is none",
       vendor_host(),
       {},
       on_cloud_hypervisor(kMig3),
       needs_qemu,
       denying({Surface::kVendorVf})},
      {"no whole GPU with so much memory around a denied surface",
       vendor_host(),
       {},
       request("memory=40GiB"),
       both_denied,
       denying({Surface::kVendorVf})},
      {"whole GPU is denied, asked for",
       plain_gpu(),
       {},
       request("gpu=41:00.0"),
       {"gpu 0000:41:00.0 SURFACE_DENIED"},
       denying({Surface::kGpu})},
      {"whole GPU is denied, standing in",
       mig_gpu(),
       {},
       request(kMig3),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 SURFACE_DENIED"},
       denying({Surface::kGpu})},
  };
}

std::vector<ResolverCase> bound_cases() {
  const std::vector<std::string> unsurfaced{"- 0000:41:00.0 VFS_NOT_ENABLED"};
  const std::vector<std::string> granted{"gpu 0000:41:00.0 granted"};
  const std::vector<std::string> not_viable{"gpu 0000:41:00.0 GROUP_NOT_VIABLE"};
  const auto whole = request("gpu=41:00.0");
  const auto time_sliced = request("type=nvidia-468");
  return {
      {"fallback that the policy does not let be",
       mig_gpu(),
       {},
       request(kMig3),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "gpu 0000:41:00.0 FALLBACK_DENIED"},
       without_fallback()},
      {"no fallback was asked for",
       mig_gpu(),
       {},
       with(request(kMig3), [](Request& made) { made.fallback = Fallback::kNone; }),
       unsurfaced,
       without_fallback()},
      {"whole GPU with so much memory is a fallback",
       vendor_host(),
       {},
       request("memory=40GiB"),
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible", "gpu 0000:41:00.0 FALLBACK_DENIED"},
       without_fallback()},
      {"whole GPU asked for is no fallback", plain_gpu(), {}, whole, granted, without_fallback()},
      {"isolation below the floor",
       vendor_host(),
       {},
       time_sliced,
       {"vendor-vf 0000:41:00.4 ISOLATION_TOO_LOW", "vendor-vf 0000:41:00.5 ISOLATION_TOO_LOW"},
       isolating(Isolation::kHardware)},
      {"isolation at the floor",
       vendor_host(),
       {},
       time_sliced,
       {"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"},
       isolating(Isolation::kTimeSliced)},
      {"request raises the floor",
       vendor_host(),
       {},
       with(time_sliced, [](Request& made) { made.isolation = Isolation::kHardware; }),
       {"vendor-vf 0000:41:00.4 ISOLATION_TOO_LOW", "vendor-vf 0000:41:00.5 ISOLATION_TOO_LOW"},
       isolating(Isolation::kTimeSliced)},
      {"member allowed by address", with_audio(), {}, whole, granted, taking_along("41:00.1")},
      {"member allowed by class", with_audio(), {}, whole, granted, taking_along("class:0403")},
      {"member of another class", with_audio(), {}, whole, not_viable, taking_along("class:0c03")},
      {"member of this GPU's group", with_audio(), {}, whole, granted, taking_along("class:0403", {{gpu("41:00.0")}})},
      {"member of another GPU's group",
       with_audio(),
       {},
       whole,
       not_viable,
       taking_along("class:0403", {{gpu("c4:00.0")}})},
      {"another GPU is not meant by its class", with_second_gpu(), {}, whole, not_viable, taking_along("class:0302")},
      {"another GPU is meant by its address", with_second_gpu(), {}, whole, granted, taking_along("c4:00.0")},
  };
}

}  // namespace

std::vector<ResolverCase> policy_cases() {
  auto cases = managed_cases();
  for (auto& more : {surface_cases(), bound_cases()}) cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

}  // namespace slicebroker::test
