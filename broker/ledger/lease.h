// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/resolver/resolver.h"
#include "hypervisors/attachment.h"
#include "hypervisors/hypervisor.h"
#include "vfio/host/holders.h"
#include "vfio/step.h"

namespace slicebroker::broker {

// preparing: steps run, the VMM has not been told. prepared: the host is ready; the VMM is being told, or a hook waits
// for its guest to start. attached: the guest has it. releasing: the VMM is asked for it back, steps are undone.
enum class LeaseState { kPreparing, kPrepared, kAttached, kReleasing, kReleased };

// Every way from one state to another; the ledger allows no other (docs/architecture.md shows this table).
struct Transition {
  LeaseState from;
  LeaseState to;
  std::string_view when;
};
inline constexpr std::array kTransitions{
    Transition{LeaseState::kPreparing, LeaseState::kPrepared, "every step is done"},
    Transition{LeaseState::kPreparing, LeaseState::kReleasing, "its broker died; another one undoes its steps"},
    Transition{LeaseState::kPreparing, LeaseState::kReleased, "a step failed and the host is restored, or a reboot"},
    Transition{LeaseState::kPrepared, LeaseState::kAttached, "the guest has the device"},
    Transition{LeaseState::kPrepared, LeaseState::kReleasing, "the VMM refused, or its guest never came"},
    Transition{LeaseState::kPrepared, LeaseState::kReleased, "a reboot"},
    Transition{LeaseState::kAttached, LeaseState::kReleasing, "detach, the guest's end, reconcile"},
    Transition{LeaseState::kAttached, LeaseState::kReleased, "a reboot"},
    Transition{LeaseState::kReleasing, LeaseState::kAttached, "the guest did not let go"},
    Transition{LeaseState::kReleasing, LeaseState::kReleasing, "another broker goes on with it"},
    Transition{LeaseState::kReleasing, LeaseState::kReleased, "its steps are undone, or a reboot"},
};

constexpr bool may_move(LeaseState from, LeaseState to) {
  for (const auto& transition : kTransitions) {
    if (transition.from == from && transition.to == to) return true;
  }
  return false;
}

std::string_view name(LeaseState state);
std::optional<LeaseState> parse_lease_state(std::string_view text);

// How far a step came. Only what was started is undone.
enum class StepState { kPlanned, kStarted, kDone, kUndone };

std::string_view name(StepState state);
std::optional<StepState> parse_step_state(std::string_view text);

// A step with what the host was like before it.
struct RecordedStep {
  vfio::Step step;
  vfio::Fields before;
  bool already_so = false;  // found as wanted: never applied, never undone
  StepState state = StepState::kPlanned;
};

// A process of slicebroker's that waits in the kernel for the answer to what was done for a lease.
struct LateWrite {
  vfio::ProcessIdentity process;
  std::string what;  // "write '0000:41:00.0' to /sys/bus/pci/drivers/nvidia/unbind"
  bool operator==(const LateWrite&) const = default;
};

// How far the reset of a function came, between a guest and whoever comes next.
enum class ResetState { kPlanned, kStarted, kDone, kFailed };

std::string_view name(ResetState state);
std::optional<ResetState> parse_reset_state(std::string_view text);

struct DeviceReset {
  PciAddress function;
  ResetDemand demand = ResetDemand::kNone;  // of the policy, when the lease was made
  ResetState state = ResetState::kPlanned;
  std::string methods = {};  // reset_method as it was before, once it is started
  std::string code = {};     // kFailed: RESET_FAILED, RESET_NOT_POSSIBLE
  std::string outcome = {};  // what was done ("function reset (flr)"), or why not
  bool operator==(const DeviceReset&) const = default;
};

// Who holds devices, and how they were made.
struct Lease {
  std::int64_t generation = 0;  // its number; never used twice
  LeaseState state = LeaseState::kPreparing;
  hypervisors::VmReference vm;
  std::optional<Uuid> vm_uuid;
  std::optional<vfio::ProcessIdentity> vmm;  // the VMM, where it is known
  std::string tenant;                        // on whose behalf, as attach was told; may be empty
  std::string selector;
  std::string slice;  // what was given, in words
  std::string boot_id;
  vfio::ProcessIdentity broker;  // the process that works on it; decides whether an intent is abandoned
  hypervisors::Attachment attachment;
  std::string guest_address;
  std::string created_at;  // UTC, ISO 8601
  std::string ended_at;    // the same; empty while it is active
  std::string note;        // why it ended
  std::vector<LeasedDevice> devices;
  std::vector<RecordedStep> steps;
  std::vector<DeviceReset> resets;     // in the ledger once a guest may have had the devices
  std::vector<LateWrite> late_writes;  // as recorded; whether they wait still, /proc tells

  std::string owner() const { return vm.to_string(); }
};

// What active leases hold, as the resolver takes it.
std::vector<Hold> holds_of(const std::vector<Lease>& leases);

}  // namespace slicebroker::broker
