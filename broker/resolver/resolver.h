// SPDX-License-Identifier: Apache-2.0
// Inventory + leases + policy + request -> a plan, or a reason for every candidate. Pure: no file system, no clock, no
// VMM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/policy/policy.h"
#include "broker/request/request.h"
#include "broker/resolver/reason.h"
#include "hypervisors/attachment.h"
#include "vfio/inventory.h"
#include "vfio/step.h"

namespace slicebroker::broker {

// One thing that a lease takes, so that nobody else may: "pci:0000:41:00.4", "mdev:<uuid>",
// "gpu-instance:0000:41:00.0/3", "any-instance:0000:41:00.0/19/0" (see device_key()).
struct LeasedDevice {
  std::string device;
  PciAddress gpu;  // the physical function it belongs to: leases of slices keep the whole GPU from being leased
  bool operator==(const LeasedDevice&) const = default;
};

std::string device_key(const PciAddress& function);                           // "pci:0000:41:00.4"
std::string device_key(const Uuid& mdev);                                     // "mdev:<uuid>"
std::string gpu_instance_key(const PciAddress& gpu, std::uint32_t instance);  // "gpu-instance:0000:41:00.0/3"
// The n-th lease of any GPU instance of a profile, which the driver picks: "any-instance:0000:41:00.0/19/n".
std::string any_instance_key(const PciAddress& gpu, std::uint32_t profile, std::size_t n);

// Why a device can't be had. All but a lease also keep the device's IOMMU group and its GPU's other uses away.
enum class HoldKind {
  kLease,       // an active lease has it
  kQuarantine,  // somebody has to look at it first
  kForeign,     // another tool owns it
};

constexpr std::int64_t kThisRequest = 0;  // generation of what an earlier selector of the same request takes

// A device that is held, as the resolver needs to know it.
struct Hold {
  LeasedDevice leased;
  std::int64_t generation = 0;  // of a lease
  std::string owner;            // "libvirt:web1"; of a foreign device the tool
  HoldKind kind = HoldKind::kLease;
  std::string detail = {};  // what a quarantine or the other tool's claim rests on: one clause
  std::string remedy = {};  // how the other tool lets go of it
};

// The ordered steps that make a candidate attachable, what the hypervisor is then told, and what the lease takes.
struct Plan {
  std::vector<vfio::Step> steps;
  hypervisors::Attachment attachment;  // its id is set when the lease has a number
  std::vector<LeasedDevice> devices;
};

// One (slice, surface, device) that was looked at, with exactly one verdict, which resolve() holds every part to: a
// reason, or without one a plan, and it could be granted.
struct Candidate {
  std::optional<hypervisors::Surface> surface;  // nullopt: there is none for the slice
  std::string device;                           // BDF of the function, or UUID of the mediated device
  std::string slice;                            // "MIG-...", "1g.10gb of 0000:41:00.0": what would be given
  Isolation isolation = Isolation::kHardware;
  const Reason* reason = nullptr;
  std::string code;  // reason's code, or the compatibility table's
  std::string fact;  // what was seen: one clause
  std::string remedy;
  Plan plan;         // where there is no reason
  std::string note;  // what is not sure of an accepted one, or to be done beside it; mostly empty

  bool accepted() const { return reason == nullptr; }
};

struct Resolution {
  // Slices, then whole GPUs that may stand in. Slices come accepted ones first, then held ones, which may be free
  // later, then those not surfaced, then refused ones; and within each of these in the order of the host: vendor VFs
  // before mediated devices, by PCI address, then by type. memory= puts before that: MIG-backed before time-sliced, and
  // of each the smaller framebuffer first, then types that run CUDA. The first accepted one is granted. So the answer
  // depends on the inventory, the holds and the request alone.
  std::vector<Candidate> candidates;

  const Candidate* granted() const;
};

// What other tools claim in the inventory counts as held, beside `holds` (see foreign.h).
// Errors: kNotFound where the selector names nothing that exists, with near misses as the hint (an unknown name is
// never a whole GPU), or kRefused HOST_NOT_ALL_READ where it may be in what could not be read; kRefused with NVML's
// reason where only NVML could tell. A refusal is no error: it is a Resolution in which nothing is granted. The policy's
// bounds hold whatever the request says: it may isolate more than the policy demands and not less, and where the policy
// allows no fallback a request for one sees it refused.
Result<Resolution> resolve(const vfio::Inventory& inventory, const std::vector<Hold>& holds, const Request& request,
                           const Policy& policy);

// The failure of a resolution in which nothing is granted: kHeld where a holder stands in the way, else kRefused; each
// candidate's reason is a cause.
Error refusal(const Resolution& resolution);

}  // namespace slicebroker::broker
