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

// The default manages every GPU and allows everything.
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

}  // namespace slicebroker::broker
