// SPDX-License-Identifier: Apache-2.0
#include "tests/properties/world.h"

#include <algorithm>
#include <set>

#include "vfio/nvidia/profile_name.h"

namespace slicebroker::properties {
namespace {

using broker::Fallback;
using broker::Hold;
using broker::Isolation;
using broker::LeasedDevice;
using broker::Policy;
using broker::Request;
using hypervisors::HypervisorKind;
using hypervisors::Surface;
using hypervisors::Version;
using vfio::Inventory;

constexpr const char* kNobody = "99999999-9999-4999-8999-999999999999";

template <class T>
const T& pick(const std::vector<T>& from, unsigned number) {
  return from[number % from.size()];
}

Uuid numbered_uuid(unsigned number) {
  return *Uuid::parse("22222222-2222-4222-8222-00000000000" + std::to_string(number % 10));
}

std::vector<PciAddress> gpus_of(const Inventory& host) {
  std::vector<PciAddress> gpus;
  for (const auto& function : host.functions) {
    if (is_gpu(function)) gpus.push_back(function.address);
  }
  return gpus;
}

broker::HoldKind kind_of(unsigned drawn) {
  if (drawn == 3) return broker::HoldKind::kQuarantine;
  return drawn == 4 ? broker::HoldKind::kForeign : broker::HoldKind::kLease;
}

// A ledger has each device once.
std::vector<Hold> make_holds(const WorldDraft& draft, const Inventory& host) {
  const auto devices = holdable(host);
  std::vector<Hold> holds;
  for (const auto& drawn : draft.holds) {
    const auto& device = pick(devices, drawn.device);
    const bool held = std::any_of(holds.begin(), holds.end(), [&](const Hold& hold) { return hold.leased == device; });
    if (held) continue;
    const auto generation = static_cast<std::int64_t>(holds.size() + 1);
    holds.push_back(
        {device, generation, "libvirt:vm" + std::to_string(generation), kind_of(drawn.kind), "for a reason"});
  }
  return holds;
}

broker::SurfaceRule rule_of(const std::vector<unsigned>& denied) {
  broker::SurfaceRule rule;
  for (const auto surface : denied) rule.deny.insert(static_cast<Surface>(surface));
  return rule;
}

Policy make_policy(const PolicyDraft& draft, const Inventory& host) {
  Policy policy;
  const auto gpus = gpus_of(host);
  if (draft.include != 0) {
    policy.include.emplace();
    for (std::size_t i = draft.include - 1; i < gpus.size(); ++i) policy.include->emplace_back(gpus[i]);
  }
  for (const auto drawn : draft.exclude) policy.exclude.emplace_back(pick(gpus, drawn));
  policy.surfaces = rule_of(draft.deny);
  if (!draft.deny_to_first.empty()) policy.hypervisor_surfaces[HypervisorKind::kLibvirt] = rule_of(draft.deny_to_first);
  if (draft.no_fallback) policy.most_fallback = Fallback::kNone;
  policy.least_isolation = static_cast<Isolation>(draft.least_isolation);
  if (draft.members) policy.group_members.push_back({{}, {broker::PciClass{0x0403}, broker::PciClass{0x0c03}}});
  return policy;
}

broker::Target target_of(unsigned drawn) {
  switch (drawn) {
    case 4: return {HypervisorKind::kLibvirt, Version{9, 0, 0}};
    case 5: return {HypervisorKind::kLibvirt, Version{3, 0, 0}};
    case 6: return {HypervisorKind::kCloudHypervisor, Version{53, 0, 0}};
    case 7: return {HypervisorKind::kCloudHypervisor, std::nullopt};
    default: return {HypervisorKind::kLibvirt, std::nullopt};
  }
}

void agree(Request& request, unsigned drawn, unsigned name, const Inventory& host) {
  switch (drawn) {
    case 28:
    case 29: request.only_function = pick(host.functions, name).address; break;
    case 30: request.only_mdev = true; break;
    case 31:
      if (!host.mdevs.empty()) request.mdev_uuid = host.mdevs.front().uuid;
      break;
    default: break;
  }
}

// Of the first kind, from the one drawn, of which the host has something; one name in eight is of nothing.
std::string pick_selector(const RequestDraft& draft, const Inventory& host) {
  constexpr unsigned kKinds = 7;
  for (unsigned kind = draft.kind; kind < draft.kind + kKinds; ++kind) {
    auto texts = selectors(host, kind % kKinds);
    if (draft.name % 8 == 7) return texts.back();
    texts.pop_back();
    if (!texts.empty()) return pick(texts, draft.name);
  }
  return std::string("MIG-") + kNobody;
}

Request make_request(const RequestDraft& draft, const Inventory& host, unsigned number) {
  Request request;
  request.selector = broker::parse_selector(pick_selector(draft, host)).value();
  request.target = target_of(draft.target);
  request.fallback = draft.no_fallback ? Fallback::kNone : Fallback::kGpu;
  request.isolation = static_cast<Isolation>(draft.isolation);
  for (const auto drawn : draft.members) request.allowed_group_members.insert(pick(host.functions, drawn).address);
  for (const auto& function : host.functions) {
    if (draft.all_members) request.allowed_group_members.insert(function.address);
  }
  request.allow_nvswitch = draft.allow_nvswitch;
  request.mdev_uuid = numbered_uuid(number);
  agree(request, draft.agreed, draft.name, host);
  return request;
}

void add_mig(const Inventory& host, std::vector<std::string>& texts) {
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    for (const auto& instance : gpu.instances) {
      for (const auto& compute : instance.compute_instances) texts.push_back(compute.mig_uuid);
    }
  }
  texts.push_back(std::string("MIG-") + kNobody);
}

void add_profiles(const Inventory& host, std::vector<std::string>& texts) {
  std::set<std::string> names;
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    for (const auto& profile : gpu.profiles) names.insert("profile=" + profile_name(gpu, profile));
  }
  texts.assign(names.begin(), names.end());
  if (!texts.empty()) texts.push_back("profile=1c." + texts.back().substr(8));
  texts.emplace_back("profile=9g.9gb");
}

void add_types(const Inventory& host, std::vector<std::string>& texts) {
  std::set<std::string> types;
  for (const auto& type : host.mdev_types) types.insert({"type=" + type.id, "type=" + type.name});
  for (const auto& vf : host.vendor_vfs) {
    for (const auto& type : vf.creatable) types.insert({"type=nvidia-" + std::to_string(type.id), "type=" + type.name});
  }
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    for (const auto& type : gpu.vgpu_types) types.insert("type=" + type.name);
  }
  texts.assign(types.begin(), types.end());
  texts.emplace_back("type=nvidia-9999");
}

void add_functions(const Inventory& host, std::vector<std::string>& texts) {
  for (const auto& function : host.functions) {
    if (function.physical_function) texts.push_back("vf=" + function.address.to_string());
  }
  if (!texts.empty()) texts.push_back("vf=" + host.functions.front().address.to_string());
  texts.emplace_back("vf=0000:fe:00.1");
}

void add_gpus(const Inventory& host, std::vector<std::string>& texts) {
  for (const auto& function : host.functions) {
    if (is_gpu(function)) texts.push_back("gpu=" + function.address.to_string());
  }
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    texts.push_back("gpu=" + gpu.uuid);
  }
  texts.push_back("gpu=" + host.functions.back().address.to_string());
  texts.emplace_back("gpu=0000:fe:00.0");
}

}  // namespace

std::vector<LeasedDevice> holdable(const Inventory& host) {
  std::vector<LeasedDevice> devices;
  for (const auto& function : host.functions) {
    devices.push_back({broker::device_key(function.address), gpu_of(function)});
  }
  for (const auto& mdev : host.mdevs) devices.push_back({broker::device_key(mdev.uuid), host.gpu_of(*mdev.parent)});
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    for (const auto& instance : gpu.instances) {
      devices.push_back({broker::gpu_instance_key(gpu.address, instance.id), gpu.address});
      devices.push_back({broker::any_instance_key(gpu.address, instance.profile_id, 0), gpu.address});
    }
  }
  unsigned number = 5;  // a mediated device that its lease has not made yet
  for (const auto& type : host.mdev_types) {
    if (number < 10) devices.push_back({broker::device_key(numbered_uuid(number++)), host.gpu_of(type.parent)});
  }
  return devices;
}

std::vector<std::string> selectors(const Inventory& host, unsigned kind) {
  std::vector<std::string> texts;
  switch (kind) {
    case 0: add_mig(host, texts); break;
    case 1: add_profiles(host, texts); break;
    case 2: add_types(host, texts); break;
    case 3: return {"memory=10GiB", "memory=1GiB", "memory=4GiB", "memory=30GiB", "memory=80GiB", "memory=500GiB"};
    case 4:
      for (const auto& mdev : host.mdevs) texts.push_back("mdev=" + mdev.uuid.to_string());
      texts.push_back(std::string("mdev=") + kNobody);
      break;
    case 5: add_functions(host, texts); break;
    default: add_gpus(host, texts); break;
  }
  return texts;
}

World make_world(const WorldDraft& draft) {
  World world;
  world.host = make_host(draft.host);
  world.holds = make_holds(draft, world.host);
  world.policy = make_policy(draft.policy, world.host);
  for (const auto& drawn : draft.requests) {
    world.requests.push_back(make_request(drawn, world.host, static_cast<unsigned>(world.requests.size())));
  }
  return world;
}

}  // namespace slicebroker::properties
