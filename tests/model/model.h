// SPDX-License-Identifier: Apache-2.0
// The life of leases as a small machine whose every state can be visited: two brokers, a VM each, and one or two
// devices of which a lease takes one by one write to the host. A broker does one verb and ends, or dies, between any
// two of its steps; a step is what nothing else comes into: a transaction of the ledger, a write to the host, a
// question to a VMM.
//
// Not in it: several steps of a lease, what other programs do, a VMM that carries out what a caller asked for after
// that caller's end, and steps that fail for no reason but their own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "broker/ledger/lease.h"

namespace slicebroker::model {

using broker::LeaseState;
using broker::StepState;

constexpr unsigned kBrokers = 2;
constexpr unsigned kMostDevices = 2;
constexpr unsigned kMostLeases = 3;
constexpr std::uint8_t kNone = 0;  // leases and VMs count from 1

// What a broker is about to do.
enum class Next : std::uint8_t {
  kNothing,  // there is no such process
  // attach
  kBegin,
  kStart,
  kApply,
  kDone,
  kPrepared,
  kTell,
  kAttached,
  kUndoFailed,  // the write failed: the lease ends without a claim
  kGiveUp,      // the VMM refused
  // detach, and what reconcile does about a lease
  kClaimForDetach,
  kAsk,
  kMoveBack,  // the guest keeps it
  kJudge,
  kClaimToAttach,  // the guest has it and the ledger says that it is being released
  kRecordAttached,
  kClaimToGiveBack,
  kCheckLetGo,
  kUndo,
  kMarkUndone,
  kLift,
  kEnd,
  kEndVoid,  // the same for a lease of an earlier boot
  // a write that is not answered
  kNoteLate,
  kQuarantine,
};

struct Broker {
  Next next = Next::kNothing;
  std::uint8_t device = 0;
  std::uint8_t lease = kNone;
  // What it saw when it looked: whether the ledger's revision is still that, the lease's state, and whether the lease
  // is still in the same process's hands.
  bool fresh = false;
  LeaseState seen = LeaseState::kPreparing;
  std::uint8_t seen_slot = 0;
  bool seen_holder = false;
  bool operator==(const Broker&) const = default;
};

struct Lease {
  LeaseState state = LeaseState::kReleased;
  StepState step = StepState::kPlanned;
  std::uint8_t device = 0;
  std::uint8_t vm = kNone;
  std::uint8_t slot = 0;  // which broker's process works on it, and whether that still runs: pid and start time
  bool live = false;
  bool this_boot = true;
  bool late = false;  // a late write is recorded
  bool operator==(const Lease&) const = default;
};

struct Device {
  std::uint8_t made_for = kNone;  // the lease whose step made it
  std::uint8_t guest = kNone;     // the VM that has it
  std::uint8_t late_for = kNone;  // a write for that lease waits in the kernel
  bool late_undo = false;         // which takes it away, rather than makes it
  std::uint8_t quarantine = kNone;
  bool operator==(const Device&) const = default;
};

struct State {
  std::array<Broker, kBrokers> brokers{};
  std::array<Lease, kMostLeases> leases{};
  std::array<Device, kMostDevices> devices{};
  std::uint8_t begun = 0;  // leases so far
  bool operator==(const State&) const = default;
};

// The rules that the code follows; each can be switched off to see what it is for.
struct Rules {
  bool revision = true;             // begin() refuses what was decided on an older ledger
  bool unique_device = true;        // begin() refuses a device of another active lease
  bool intent_first = true;         // the lease is written before the host
  bool mark_started = true;         // the step is marked as started before its write
  bool ask_guest = true;            // nothing is undone while a guest has it
  bool undo_first = true;           // a lease ends when its steps are undone
  bool live_hands = true;           // a lease that a live broker works on is left alone
  bool claim_by_start_time = true;  // a pid that was used again is another process
  bool claim_to_attach = true;      // who records that a guest has kept it claims the lease first
  bool wait_for_late = true;        // nothing is settled while a write of its may still happen
  bool lift_first = true;           // a quarantine goes before its lease
  bool stale_is_nobodys = true;     // a release by the number of an ended lease does nothing
};

struct Bounds {
  unsigned devices = 1;  // of two, each broker wants its own
  unsigned leases = kMostLeases;
  bool calm = false;  // no reboots, no silence
};

// The ways that leases went from one state to another.
class Moves {
 public:
  void insert(LeaseState from, LeaseState to) { went_[index(from)][index(to)] = true; }
  bool contains(LeaseState from, LeaseState to) const { return went_[index(from)][index(to)]; }

 private:
  static constexpr std::size_t kStates = 5;
  static std::size_t index(LeaseState state) { return static_cast<std::size_t>(state); }
  std::array<std::array<bool, kStates>, kStates> went_{};
};

struct Successor {
  std::string what;
  State state;
};

class Machine {
 public:
  Machine(const Bounds& bounds, const Rules& rules) : bounds_(bounds), rules_(rules) {}

  // Everything that may happen next. Ways that lease states go are added to `moves`.
  std::vector<Successor> successors(const State& state, Moves& moves) const;

  // What is wrong with a state; empty: nothing.
  std::string violation(const State& state) const;

  // The same of a state in which no broker runs, after one `reconcile` without an incident.
  std::string recovery_violation(const State& state) const;

 private:
  State reconcile(State state) const;

  Bounds bounds_;
  Rules rules_;
};

std::string to_text(const State& state);

}  // namespace slicebroker::model
