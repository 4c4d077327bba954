// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy.h"

#include <algorithm>

#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using vfio::Inventory;
using vfio::PciFunction;

constexpr std::string_view kGpuPrefix = "GPU-";
constexpr std::string_view kClassPrefix = "class:";

std::string hex4(std::uint16_t number) {
  std::string text;
  for (int shift = 12; shift >= 0; shift -= 4) text += "0123456789abcdef"[(number >> shift) & 0xf];
  return text;
}

// Four digits exactly, as lspci and sysfs write them: "de" is more likely half of something than 00de.
std::optional<std::uint16_t> parse_hex4(std::string_view text) {
  return text.size() == 4 ? parse_number<std::uint16_t>(text, 16) : std::nullopt;
}

std::optional<PciIds> parse_ids(std::string_view text) {
  const auto parts = split(text, ':');
  if (parts.size() != 2) return std::nullopt;
  const auto vendor = parse_hex4(parts[0]);
  const auto device = parse_hex4(parts[1]);
  if (!vendor || !device) return std::nullopt;
  return PciIds{*vendor, *device};
}

const PciFunction& gpu_function(const Inventory& inventory, const PciFunction& function) {
  const auto* gpu = inventory.find_function(inventory.gpu_of(function.address));
  return gpu != nullptr ? *gpu : function;
}

// Empty: it can't be told.
std::string uuid_of(const Inventory& inventory, const PciFunction& gpu) {
  const auto* nvidia = inventory.find_nvidia_gpu(gpu.address);
  return nvidia != nullptr ? lower(nvidia->uuid) : std::string{};
}

bool has_ids(const PciFunction& function, const PciIds& ids) {
  return function.vendor == ids.vendor && function.device == ids.device;
}

bool matches(const GpuMatch& match, const Inventory& inventory, const PciFunction& gpu) {
  if (const auto* address = std::get_if<PciAddress>(&match)) return gpu.address == *address;
  if (const auto* ids = std::get_if<PciIds>(&match)) return has_ids(gpu, *ids);
  return lower(std::get<GpuUuid>(match).text) == uuid_of(inventory, gpu);
}

bool any_matches(const std::vector<GpuMatch>& list, const Inventory& inventory, const PciFunction& gpu) {
  return std::any_of(list.begin(), list.end(), [&](const GpuMatch& match) { return matches(match, inventory, gpu); });
}

// Only NVIDIA's GPUs have such a UUID, and only the nvidia driver tells it: off that driver the GPU could be the one
// that is meant, unless another GPU shows that UUID.
bool may_be(const GpuMatch& match, const Inventory& inventory, const PciFunction& gpu) {
  const auto* uuid = std::get_if<GpuUuid>(&match);
  if (uuid == nullptr || gpu.vendor != vfio::kVendorNvidia || !uuid_of(inventory, gpu).empty()) return false;
  if (!inventory.nvidia) return true;
  const auto& known = inventory.nvidia->gpus;
  return std::none_of(known.begin(), known.end(),
                      [&](const auto& other) { return lower(other.uuid) == lower(uuid->text); });
}

bool denies(const SurfaceRule& rule, Surface surface) {
  return rule.deny.contains(surface) || (rule.allow && !rule.allow->contains(surface));
}

constexpr std::pair<ResetDemand, std::string_view> kResetDemands[] = {{ResetDemand::kNone, "none"},
                                                                      {ResetDemand::kIfAble, "if-able"},
                                                                      {ResetDemand::kFunction, "function"},
                                                                      {ResetDemand::kBus, "bus"},
                                                                      {ResetDemand::kAny, "any"}};

bool is_exempt(const Hygiene& hygiene, const Inventory& inventory, const PciFunction& function) {
  const auto& gpu = gpu_function(inventory, function);
  return std::any_of(hygiene.exempt.begin(), hygiene.exempt.end(), [&](const CardMatch& match) {
    if (const auto* address = std::get_if<PciAddress>(&match)) {
      return function.address == *address || gpu.address == *address;
    }
    const auto& ids = std::get<PciIds>(match);
    return has_ids(function, ids) || has_ids(gpu, ids);
  });
}

bool matches(const MemberMatch& match, const PciFunction& member) {
  if (const auto* address = std::get_if<PciAddress>(&match)) return member.address == *address;
  if (is_gpu(member)) return false;
  if (const auto* ids = std::get_if<PciIds>(&match)) return has_ids(member, *ids);
  return member.class_code >> 8 == std::get<PciClass>(match).number;
}

}  // namespace

std::optional<GpuMatch> parse_gpu_match(std::string_view text) {
  if (const auto address = PciAddress::parse(text)) return *address;
  if (const auto ids = parse_ids(text)) return *ids;
  if (lower(text.substr(0, kGpuPrefix.size())) != lower(kGpuPrefix)) return std::nullopt;
  const auto uuid = Uuid::parse(text.substr(kGpuPrefix.size()));
  if (!uuid) return std::nullopt;
  return GpuUuid{std::string(kGpuPrefix) + uuid->to_string()};
}

std::optional<MemberMatch> parse_member_match(std::string_view text) {
  if (const auto address = PciAddress::parse(text)) return *address;
  if (text.starts_with(kClassPrefix)) {
    const auto number = parse_hex4(text.substr(kClassPrefix.size()));
    if (!number) return std::nullopt;
    return PciClass{*number};
  }
  if (const auto ids = parse_ids(text)) return *ids;
  return std::nullopt;
}

std::string to_string(const GpuMatch& match) {
  if (const auto* address = std::get_if<PciAddress>(&match)) return address->to_string();
  if (const auto* ids = std::get_if<PciIds>(&match)) return hex4(ids->vendor) + ":" + hex4(ids->device);
  return std::get<GpuUuid>(match).text;
}

std::string to_string(const MemberMatch& match) {
  if (const auto* address = std::get_if<PciAddress>(&match)) return address->to_string();
  if (const auto* ids = std::get_if<PciIds>(&match)) return hex4(ids->vendor) + ":" + hex4(ids->device);
  return std::string(kClassPrefix) + hex4(std::get<PciClass>(match).number);
}

std::string_view name(ResetDemand demand) {
  for (const auto& [value, text] : kResetDemands) {
    if (value == demand) return text;
  }
  return {};
}

std::optional<ResetDemand> parse_reset_demand(std::string_view text) {
  for (const auto& [value, known] : kResetDemands) {
    if (known == text) return value;
  }
  return std::nullopt;
}

std::optional<ResetDemand> parse_gpu_reset(std::string_view text) {
  const auto demand = parse_reset_demand(text);
  return demand == ResetDemand::kIfAble ? std::nullopt : demand;
}

std::optional<ResetDemand> parse_vf_reset(std::string_view text) {
  const auto demand = parse_reset_demand(text);
  return demand == ResetDemand::kNone || demand == ResetDemand::kFunction ? demand : std::nullopt;
}

std::optional<CardMatch> parse_card_match(std::string_view text) {
  if (const auto address = PciAddress::parse(text)) return *address;
  if (const auto ids = parse_ids(text)) return *ids;
  return std::nullopt;
}

std::string to_string(const CardMatch& match) {
  if (const auto* address = std::get_if<PciAddress>(&match)) return address->to_string();
  const auto& ids = std::get<PciIds>(match);
  return hex4(ids.vendor) + ":" + hex4(ids.device);
}

std::vector<DemandedReset> demanded_resets(const Policy& policy, const Inventory& inventory,
                                           const hypervisors::Attachment& attachment) {
  const bool whole = attachment.surface == Surface::kGpu;
  if ((!whole && attachment.surface != Surface::kVf) || !attachment.function) return {};
  const auto demand = whole ? policy.hygiene.gpu : policy.hygiene.vf;
  std::vector<DemandedReset> demanded;
  std::vector<PciAddress> functions{*attachment.function};
  functions.insert(functions.end(), attachment.companions.begin(), attachment.companions.end());
  bool card_is_exempt = false;
  for (const auto& address : functions) {
    const auto* function = inventory.find_function(address);
    const bool leads = address == *attachment.function;
    const bool is_another_gpu = !leads && function != nullptr && is_gpu(*function);
    const bool exempt = function != nullptr && is_exempt(policy.hygiene, inventory, *function);
    // What comes along with a card that does not survive a reset is left alone with it.
    card_is_exempt = leads ? exempt : card_is_exempt;
    if (exempt || (card_is_exempt && !is_another_gpu) || demand == ResetDemand::kNone) {
      demanded.push_back({address, ResetDemand::kNone});
    } else {
      demanded.push_back({address, leads || is_another_gpu ? demand : ResetDemand::kIfAble});
    }
  }
  std::stable_partition(demanded.begin(), demanded.end(),
                        [](const DemandedReset& reset) { return reset.demand != ResetDemand::kIfAble; });
  return demanded;
}

std::optional<std::string> why_not_managed(const Policy& policy, const Inventory& inventory,
                                           const PciFunction& function) {
  const auto& gpu = gpu_function(inventory, function);
  const std::string address = gpu.address.to_string();
  for (const auto& match : policy.exclude) {
    if (matches(match, inventory, gpu)) return "the policy's gpus.exclude has " + to_string(match);
    if (may_be(match, inventory, gpu)) {
      return "the policy's gpus.exclude has " + to_string(match) + ", and GPU " + address + " shows no UUID";
    }
  }
  if (!policy.include || any_matches(*policy.include, inventory, gpu)) return std::nullopt;
  return "the policy's gpus.include does not have GPU " + address;
}

std::optional<std::string> denied_by(const Policy& policy, hypervisors::HypervisorKind hypervisor, Surface surface) {
  if (denies(policy.surfaces, surface)) return "surfaces";
  const auto rule = policy.hypervisor_surfaces.find(hypervisor);
  if (rule == policy.hypervisor_surfaces.end() || !denies(rule->second, surface)) return std::nullopt;
  return "surfaces." + std::string(hypervisors::name(hypervisor));
}

bool allows_group_member(const Policy& policy, const Inventory& inventory, const PciFunction& function,
                         const PciFunction& member) {
  const auto& gpu = gpu_function(inventory, function);
  return std::any_of(policy.group_members.begin(), policy.group_members.end(), [&](const MemberRule& rule) {
    return (!rule.gpus || any_matches(*rule.gpus, inventory, gpu)) &&
           std::any_of(rule.allow.begin(), rule.allow.end(),
                       [&](const MemberMatch& match) { return matches(match, member); });
  });
}

}  // namespace slicebroker::broker
