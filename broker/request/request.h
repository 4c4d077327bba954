// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "broker/request/selector.h"
#include "hypervisors/hypervisor.h"

namespace slicebroker::broker {

// What may stand in for a slice that exists and can't be surfaced.
enum class Fallback { kNone, kGpu };

// The least isolation that a request accepts. Ordered: a later one isolates more.
enum class Isolation { kAny, kTimeSliced, kHardware };

std::optional<Fallback> parse_fallback(std::string_view text);    // "none", "gpu"
std::optional<Isolation> parse_isolation(std::string_view text);  // "any", "time-sliced", "hardware"
std::string_view name(Isolation isolation);

// Who is to attach it: decides which surfaces are possible at all.
struct Target {
  hypervisors::HypervisorKind hypervisor = hypervisors::HypervisorKind::kLibvirt;
  std::optional<hypervisors::Version> version;  // nullopt: not known, judged as the newest
};

// One device that is wanted.
struct Request {
  Selector selector;
  Target target;
  Fallback fallback = Fallback::kGpu;
  Isolation isolation = Isolation::kAny;
  std::set<PciAddress> allowed_group_members;  // companions on a host driver that may be taken along
  bool allow_nvswitch = false;                 // a whole GPU of an NVSwitch fabric: its partition is seen to
  Uuid mdev_uuid;                              // the UUID of a mediated device, should one have to be made
  std::optional<PciAddress> only_function;     // agreed before: only this function will do
  bool only_mdev = false;                      // agreed before: only a mediated device of mdev_uuid will do
  std::string vm;                              // whose it is to be, "libvirt:web1"; empty: nobody's yet
};

}  // namespace slicebroker::broker
