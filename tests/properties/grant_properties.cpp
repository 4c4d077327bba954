// SPDX-License-Identifier: Apache-2.0
// What holds of everything that the resolver would give.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/properties/answer.h"

namespace slicebroker::properties {
namespace {

using broker::Candidate;
using hypervisors::Surface;
using vfio::PciFunction;

bool is_held(const World& world, const std::string& device) {
  return std::any_of(world.holds.begin(), world.holds.end(),
                     [&](const auto& hold) { return hold.leased.device == device; });
}

bool any_held_of(const World& world, const PciAddress& gpu) {
  return std::any_of(world.holds.begin(), world.holds.end(), [&](const auto& hold) { return hold.leased.gpu == gpu; });
}

// The functions that leave the host with a candidate: what is attached, and its IOMMU group where that goes to VFIO.
std::vector<const PciFunction*> functions_of(const World& world, const Candidate& candidate) {
  std::vector<const PciFunction*> functions;
  const auto& attached = candidate.plan.attachment.function;
  if (!attached) return functions;
  functions.push_back(world.host.find_function(*attached));
  if (candidate.surface == Surface::kVendorVf) return functions;
  for (const auto* companion : world.host.group_companions(*functions.front())) {
    if (companion->physical_function != attached) functions.push_back(companion);  // gone by then
  }
  return functions;
}

// The parent of what a candidate attaches, or that itself.
const PciFunction* function_of(const World& world, const Candidate& candidate) {
  const auto& attachment = candidate.plan.attachment;
  if (attachment.function) return world.host.find_function(*attachment.function);
  if (const auto* mdev = world.host.find_mdev(*attachment.mdev)) return world.host.find_function(*mdev->parent);
  return world.host.find_function(std::get<vfio::CreateMdev>(candidate.plan.steps.front()).parent);
}

bool takes(const Candidate& candidate, const std::string& device) {
  const auto& devices = candidate.plan.devices;
  return std::any_of(devices.begin(), devices.end(), [&](const auto& leased) { return leased.device == device; });
}

RC_GTEST_PROP(Grant, GivesNothingThatIsHeld, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    for (const auto& device : candidate.plan.devices) {
      RC_ASSERT(!is_held(world, device.device));
      RC_ASSERT(!is_held(world, broker::device_key(device.gpu)));
    }
    for (const auto* function : functions_of(world, candidate)) {
      RC_ASSERT(!is_held(world, broker::device_key(function->address)));
      if (is_gpu(*function)) RC_ASSERT(!any_held_of(world, function->address));
    }
  });
}

RC_GTEST_PROP(Grant, GivesNothingThatAProcessHasOpen, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    if (const auto& mdev = candidate.plan.attachment.mdev) {
      const auto* device = world.host.find_mdev(*mdev);
      RC_ASSERT((device == nullptr || world.host.holders_of(*device).empty()));
    }
    for (const auto* function : functions_of(world, candidate)) {
      RC_ASSERT(world.host.holders_of(*function).empty());
      for (const auto& vf : function->virtual_functions) {
        RC_ASSERT(world.host.holders_of(*world.host.find_function(vf)).empty());
      }
    }
  });
}

// A GPU that goes away with its group carries no vGPU of anybody's.
RC_GTEST_PROP(Grant, TakesNoGpuFromUnderAVgpu, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    for (const auto* function : functions_of(world, candidate)) {
      if (!is_gpu(*function)) continue;
      for (const auto& mdev : world.host.mdevs) RC_ASSERT(world.host.gpu_of(*mdev.parent) != function->address);
      for (const auto& vf : world.host.vendor_vfs) {
        RC_ASSERT((vf.current_type == 0U || world.host.gpu_of(vf.address) != function->address));
      }
      const auto* gpu = world.host.find_nvidia_gpu(function->address);
      RC_ASSERT((gpu == nullptr || gpu->active_vgpus.empty()));
    }
  });
}

// An unbind from nvidia ends the GPU instances, and only NVML tells which to make again.
RC_GTEST_PROP(Grant, TakesNoGpuOfUnknownLayout, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    for (const auto* function : functions_of(world, candidate)) {
      const bool may_have_instances = is_gpu(*function) && function->driver == "nvidia";
      const auto* gpu = world.host.find_nvidia_gpu(function->address);
      RC_ASSERT((!may_have_instances || gpu != nullptr));
      RC_ASSERT((gpu == nullptr || gpu->instances.empty() || function->address == candidate.plan.attachment.function));
    }
  });
}

// A VF ends with its PF's driver, and a PF with live VFs must not change hands.
RC_GTEST_PROP(Grant, TouchesNoVfThatIsGone, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    std::set<PciAddress> without_vfs;
    for (const auto& step : candidate.plan.steps) {
      if (const auto* disable = std::get_if<vfio::DisableVfs>(&step)) without_vfs.insert(disable->physical_function);
      const auto* bind = std::get_if<vfio::BindDriver>(&step);
      if (bind == nullptr) continue;
      const auto* function = world.host.find_function(bind->function);
      RC_ASSERT(!function->physical_function || !without_vfs.contains(*function->physical_function));
      RC_ASSERT((function->vf_count == 0 || without_vfs.contains(function->address)));
    }
  });
}

void check_policy(const World& world) {
  for_accepted(world, [&](const Candidate& candidate) {
    const auto* function = function_of(world, candidate);
    RC_ASSERT(!why_not_managed(world.policy, world.host, *function));
    RC_ASSERT(!denied_by(world.policy, world.request().target.hypervisor, *candidate.surface));
    for (const auto* taken : functions_of(world, candidate)) {
      const auto* gpu = world.host.find_function(gpu_of(*taken));
      if (is_gpu(*gpu)) RC_ASSERT(!why_not_managed(world.policy, world.host, *gpu));
      const bool free = !taken->driver || !taken->vfio_devices.empty() || taken->driver == "pci-stub";
      RC_ASSERT((taken == function || (free && !is_gpu(*taken)) ||
                 world.request().allowed_group_members.contains(taken->address) ||
                 allows_group_member(world.policy, world.host, *function, *taken)));
    }
  });
}

RC_GTEST_PROP(Grant, KeepsToThePolicy, (const WorldDraft& draft)) {
  check_policy(make_world(draft));
}

// Idle GPUs that go together or not at all, of which the policy may have some excluded: rare where all is by chance.
RC_GTEST_PROP(Grant, KeepsToThePolicyInASharedGroup, (WorldDraft draft)) {
  constexpr unsigned kWholeGpu = 6;
  for (auto& gpu : draft.host.gpus) {
    gpu.in_group_before = true;
    gpu.mig = gpu.hidden_vgpu = false;
    gpu.vfs = 0;
    gpu.vgpus.clear();
  }
  draft.host.holders.clear();
  draft.holds.clear();
  draft.requests.front().kind = kWholeGpu;
  draft.requests.front().all_members = true;
  check_policy(make_world(draft));
}

RC_GTEST_PROP(Grant, NeverIsolatesLessThanAsked, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    RC_ASSERT(candidate.isolation >= world.request().isolation);
    RC_ASSERT(candidate.isolation >= world.policy.least_isolation);
  });
}

RC_GTEST_PROP(Grant, PlansWhatTheLeaseTakes, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    for (const auto& step : candidate.plan.steps) {
      if (const auto* create = std::get_if<vfio::CreateMdev>(&step)) {
        const auto* parent = world.host.find_function(create->parent);
        RC_ASSERT(takes(candidate, broker::device_key(create->uuid)));
        RC_ASSERT((!parent->physical_function || takes(candidate, broker::device_key(create->parent))));
        RC_ASSERT(candidate.plan.devices.front().gpu == gpu_of(*parent));
      } else {
        const auto fields = vfio::fields(step);
        for (const auto* key : {"function", "vf", "physical_function", "gpu"}) {
          if (!fields.contains(key)) continue;
          RC_ASSERT(takes(candidate, broker::device_key(*PciAddress::parse(fields.at(key)))));
        }
      }
    }
    for (const auto* function : functions_of(world, candidate)) {
      RC_ASSERT(takes(candidate, broker::device_key(function->address)));
    }
    for (const auto& companion : candidate.plan.attachment.companions) {
      RC_ASSERT(takes(candidate, broker::device_key(companion)));
    }
  });
}

// What the domain's XML names is what its guest gets at start, so nothing else may be leased for it.
RC_GTEST_PROP(Grant, GivesOnlyTheAgreedDevice, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  for_accepted(world, [&](const Candidate& candidate) {
    const auto& attachment = candidate.plan.attachment;
    const auto& request = world.request();
    RC_ASSERT((!request.only_function || attachment.function == request.only_function));
    RC_ASSERT((!request.only_mdev || attachment.mdev == request.mdev_uuid));
  });
}

// Several requests, each planned with what those before it take.
RC_GTEST_PROP(Grant, SharesNothingAmongRequests, (const WorldDraft& draft)) {
  auto world = make_world(draft);
  std::set<std::string> taken;
  std::set<PciAddress> whole, sliced;  // GPUs
  unsigned granted_ones = 0;
  for (const auto& request : world.requests) {
    const auto resolution = broker::resolve(world.host, world.holds, request, world.policy);
    const auto* granted = resolution ? resolution->granted() : nullptr;
    if (granted == nullptr) continue;
    ++granted_ones;
    RC_LOG(to_text(*granted));
    for (const auto& device : granted->plan.devices) {
      RC_ASSERT(taken.insert(device.device).second);
      (granted->surface == Surface::kGpu ? whole : sliced).insert(device.gpu);
      world.holds.push_back({device, broker::kThisRequest, "libvirt:this"});
    }
    for (const auto& gpu : whole) RC_ASSERT(!sliced.contains(gpu));
  }
  RC_TAG(std::to_string(granted_ones) + " granted");
}

}  // namespace
}  // namespace slicebroker::properties
