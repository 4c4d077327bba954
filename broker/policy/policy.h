// SPDX-License-Identifier: Apache-2.0
// What the operator allows: which GPUs are managed, which surfaces may be used, and the bounds that no request passes.
// A value; policy_file.h reads it. Everything here is pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/request/request.h"
#include "hypervisors/attachment.h"
#include "hypervisors/hypervisor.h"
#include "vfio/inventory.h"

namespace slicebroker::broker {

struct PciIds {  // "10de:20b5": vendor and device, as `list gpus` and lspci -n show them
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  bool operator==(const PciIds&) const = default;
};
struct GpuUuid {  // "GPU-<uuid>", in lower case behind the prefix
  std::string text;
  bool operator==(const GpuUuid&) const = default;
};
struct PciClass {            // "class:0403": base class and subclass
  std::uint16_t number = 0;  // the upper 16 of a class code's 24 bits
  bool operator==(const PciClass&) const = default;
};

using GpuMatch = std::variant<PciAddress, PciIds, GpuUuid>;
using MemberMatch = std::variant<PciAddress, PciIds, PciClass>;

std::optional<GpuMatch> parse_gpu_match(std::string_view text);
std::optional<MemberMatch> parse_member_match(std::string_view text);
std::string to_string(const GpuMatch& match);  // parsing it gives the same match
std::string to_string(const MemberMatch& match);

// Functions of a GPU's IOMMU group that may be taken from their host driver, beside those that a request names.
struct MemberRule {
  std::optional<std::vector<GpuMatch>> gpus;  // nullopt: of every GPU
  std::vector<MemberMatch> allow;
  bool operator==(const MemberRule&) const = default;
};

// A surface is allowed where `allow` is missing or has it, and `deny` has it not.
struct SurfaceRule {
  std::optional<std::set<hypervisors::Surface>> allow;
  std::set<hypervisors::Surface> deny;
  bool operator==(const SurfaceRule&) const = default;
};

// How a function has to be reset between a guest and whoever comes next.
enum class ResetDemand {
  kNone,
  kIfAble,    // of the function, where the kernel has a way to do that
  kFunction,  // of the function
  kBus,       // of all that is behind its bridge
  kAny,       // of the bus where that can be, else of the function
};

std::string_view name(ResetDemand demand);
std::optional<ResetDemand> parse_reset_demand(std::string_view text);
std::optional<ResetDemand> parse_gpu_reset(std::string_view text);  // what a policy may say: all but kIfAble
std::optional<ResetDemand> parse_vf_reset(std::string_view text);   // none or function: a VF has no bus of its own

// By address, or by vendor and device. Not by UUID: only the nvidia driver tells it.
using CardMatch = std::variant<PciAddress, PciIds>;
std::optional<CardMatch> parse_card_match(std::string_view text);
std::string to_string(const CardMatch& match);

struct Hygiene {
  ResetDemand gpu = ResetDemand::kAny;      // of what the surface gpu gives away
  ResetDemand vf = ResetDemand::kFunction;  // the same of the surface vf
  std::vector<CardMatch> exempt;            // never reset: some do not survive it. VFs go with their GPU.
  bool operator==(const Hygiene&) const = default;
};

// The default manages every GPU, allows everything, and resets what a guest gives back.
struct Policy {
  std::optional<std::vector<GpuMatch>> include;  // nullopt: every GPU
  std::vector<GpuMatch> exclude;                 // goes before include

  // Tools whose claims keep no device away, but for what VMs that run have.
  std::set<vfio::Claimant> use_claimed_by;

  // What a request that says nothing gets.
  Fallback default_fallback = Fallback::kGpu;
  Isolation default_isolation = Isolation::kAny;

  // What no request passes.
  Fallback most_fallback = Fallback::kGpu;
  Isolation least_isolation = Isolation::kAny;

  std::vector<MemberRule> group_members;
  SurfaceRule surfaces;                                                    // on every hypervisor
  std::map<hypervisors::HypervisorKind, SurfaceRule> hypervisor_surfaces;  // and beside it on this one
  Hygiene hygiene;

  bool operator==(const Policy&) const = default;
};

// Why the function's GPU is none of slicebroker's; nullopt: it is managed. A GPU whose UUID can't be told (it is not on
// the nvidia driver) is not managed where an exclusion by UUID may mean it.
std::optional<std::string> why_not_managed(const Policy& policy, const vfio::Inventory& inventory,
                                           const vfio::PciFunction& function);

// Which table of the policy denies the surface: "surfaces", "surfaces.libvirt"; nullopt: it is allowed.
std::optional<std::string> denied_by(const Policy& policy, hypervisors::HypervisorKind hypervisor,
                                     hypervisors::Surface surface);

// Whether the policy lets `member` be taken from its host driver together with the GPU of `function`. Another GPU is
// meant only where its address is named.
bool allows_group_member(const Policy& policy, const vfio::Inventory& inventory, const vfio::PciFunction& function,
                         const vfio::PciFunction& member);

struct DemandedReset {
  PciAddress function;
  ResetDemand demand = ResetDemand::kNone;
  bool operator==(const DemandedReset&) const = default;
};

// What has to be done to each function of an attachment when it comes back, GPUs first. What only comes along with a
// GPU (its audio, its USB controller) is reset where it can be. Empty for vGPUs: theirs goes with the step that made
// it.
std::vector<DemandedReset> demanded_resets(const Policy& policy, const vfio::Inventory& inventory,
                                           const hypervisors::Attachment& attachment);

}  // namespace slicebroker::broker
