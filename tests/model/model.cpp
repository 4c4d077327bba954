// SPDX-License-Identifier: Apache-2.0
#include "tests/model/model.h"

#include <algorithm>

namespace slicebroker::model {
namespace {

bool is_active(const Lease& lease) {
  return lease.state != LeaseState::kReleased;
}

// Whether the next step depends on how the broker saw the lease.
bool decides(Next next) {
  return next == Next::kClaimForDetach || next == Next::kJudge || next == Next::kClaimToAttach ||
         next == Next::kClaimToGiveBack;
}

// One state on its way to another, and the calls of the ledger and the host by their effects.
class Change {
 public:
  Change(const State& from, const Rules& rules, Moves& moves) : state(from), rules_(rules), moves_(moves) {}

  Lease& lease(std::uint8_t number) { return state.leases[number - 1U]; }
  Device& device_of(std::uint8_t number) { return state.devices[lease(number).device]; }

  void bump_revision() {
    for (auto& broker : state.brokers) broker.fresh = false;
  }

  // Whoever saw the lease before its holder changed has seen another one.
  void hand_to(std::uint8_t number, std::uint8_t slot) {
    lease(number).slot = slot;
    lease(number).live = true;
    for (std::uint8_t other = 0; other < kBrokers; ++other) {
      if (other != slot && state.brokers[other].lease == number) state.brokers[other].seen_holder = false;
    }
  }

  bool move(std::uint8_t number, LeaseState from, LeaseState to) {
    if (lease(number).state != from) return false;
    moves_.insert(from, to);
    lease(number).state = to;
    return true;
  }

  bool begin(std::uint8_t slot) {
    auto& broker = state.brokers[slot];
    const auto taken = [&](const Lease& other) { return is_active(other) && other.device == broker.device; };
    if (rules_.revision && !broker.fresh) return false;
    if (rules_.unique_device && std::any_of(state.leases.begin(), state.leases.end(), taken)) return false;
    if (state.devices[broker.device].quarantine != kNone) return false;
    broker.lease = ++state.begun;
    lease(broker.lease) = {
        LeaseState::kPreparing, StepState::kPlanned, broker.device, vm_of(slot), slot, true, true, false};
    bump_revision();
    return true;
  }

  bool claim(std::uint8_t slot) {
    const auto& broker = state.brokers[slot];
    const auto& claimed = lease(broker.lease);
    const bool same = rules_.claim_by_start_time ? broker.seen_holder : broker.seen_slot == claimed.slot;
    if (!same || !move(broker.lease, broker.seen, LeaseState::kReleasing)) return false;
    hand_to(broker.lease, slot);
    return true;
  }

  bool end(std::uint8_t number) {
    if (!is_active(lease(number))) return false;
    move(number, lease(number).state, LeaseState::kReleased);
    bump_revision();
    return true;
  }

  // A step knows what it made by what it is like, not by who made it.
  void undo(std::uint8_t number) { device_of(number).made_for = kNone; }

  bool to_be_undone(std::uint8_t number) {
    return lease(number).step == StepState::kStarted || lease(number).step == StepState::kDone;
  }

  void exit(std::uint8_t slot) {
    state.brokers[slot] = {};
    for (auto& lease : state.leases) {
      if (lease.slot == slot) lease.live = false;
    }
  }

  // What nothing depends on any more is the same in every state.
  void forget() {
    for (auto& broker : state.brokers) {
      if (!decides(broker.next)) {
        broker.seen = LeaseState::kPreparing;
        broker.seen_slot = 0;
        broker.seen_holder = false;
      }
      if (broker.next != Next::kBegin) broker.fresh = false;
      if (rules_.claim_by_start_time) broker.seen_slot = 0;
    }
    for (auto& lease : state.leases) {
      if (!is_active(lease)) lease = {.device = lease.device, .vm = lease.vm};
      if (!lease.live && rules_.claim_by_start_time) lease.slot = 0;
    }
  }

  static std::uint8_t vm_of(std::uint8_t slot) { return slot + 1; }

  State state;

 private:
  const Rules& rules_;
  Moves& moves_;
};

class Walk {
 public:
  Walk(const State& from, const Bounds& bounds, const Rules& rules, Moves& moves)
      : from_(from), bounds_(bounds), rules_(rules), moves_(moves) {}

  std::vector<Successor> take() && { return std::move(successors_); }

  void of_broker(std::uint8_t slot) {
    const auto& broker = from_.brokers[slot];
    if (broker.next == Next::kNothing) return of_new_process(slot);
    reach(slot, "dies", [&](Change& change) { change.exit(slot); });
    of_attach(slot, broker);
    of_release(slot, broker);
  }

  void of_world() {
    for (std::uint8_t d = 0; d < bounds_.devices; ++d) of_device(d);
    if (bounds_.calm) return;
    add("the host reboots", [&](Change& change) {
      for (std::uint8_t slot = 0; slot < kBrokers; ++slot) change.exit(slot);
      for (auto& device : change.state.devices) device = {kNone, kNone, kNone, false, device.quarantine};
      for (auto& lease : change.state.leases) lease.this_boot = lease.this_boot && !is_active(lease);
    });
  }

 private:
  template <class Do>
  void add(std::string what, const Do& act) {
    Change change(from_, rules_, moves_);
    act(change);
    change.forget();
    successors_.push_back({std::move(what), change.state});
  }

  template <class Do>
  void reach(std::uint8_t slot, const std::string& what, const Do& act) {
    add("broker " + std::to_string(slot + 1) + ": " + what, act);
  }

  // A step whose call to the ledger may be refused, which ends the broker; so does the last one.
  template <class Do>
  void call(std::uint8_t slot, const std::string& what, Next next, const Do& act) {
    reach(slot, what, [&](Change& change) {
      if (act(change) && next != Next::kNothing) {
        change.state.brokers[slot].next = next;
      } else {
        change.exit(slot);
      }
    });
  }

  void of_device(std::uint8_t d) {
    const auto& device = from_.devices[d];
    const std::string name = "device " + std::to_string(d + 1);
    if (device.guest != kNone) add(name + ": its guest ends", [&](Change& c) { c.state.devices[d].guest = kNone; });
    if (device.late_for == kNone) return;
    add(name + ": the late write happens", [&](Change& change) {
      auto& now = change.state.devices[d];
      if (now.late_undo ? now.guest == kNone : now.made_for == kNone)
        now.made_for = now.late_undo ? kNone : now.late_for;
      now.late_for = kNone;
    });
    add(name + ": the late write fails", [&](Change& change) { change.state.devices[d].late_for = kNone; });
  }

  // A process begins a verb, and looks.
  void of_new_process(std::uint8_t slot) {
    if (from_.begun < bounds_.leases) {
      for (std::uint8_t d = 0; d < bounds_.devices; ++d) {
        const bool own = bounds_.devices == 1 || d == slot;
        if (!own || !looks_free(d)) continue;
        reach(slot, "attach: device " + std::to_string(d + 1) + " is free", [&](Change& change) {
          change.state.brokers[slot] = {rules_.intent_first ? Next::kBegin : Next::kApply, d, kNone, true};
        });
      }
    }
    for (std::uint8_t number = 1; number <= from_.begun; ++number) look_at_lease(slot, number);
  }

  bool looks_free(std::uint8_t d) const {
    const auto& device = from_.devices[d];
    return device.made_for == kNone && device.guest == kNone && device.quarantine == kNone &&
           std::none_of(from_.leases.begin(), from_.leases.end(),
                        [&](const Lease& lease) { return is_active(lease) && lease.device == d; });
  }

  void look_at_lease(std::uint8_t slot, std::uint8_t number) {
    const auto& lease = from_.leases[number - 1U];
    const auto saw = [&](const std::string& verb, Next next) {
      reach(slot, verb + " lease " + std::to_string(number), [&](Change& change) {
        change.state.brokers[slot] = {next, lease.device, number, true, lease.state, lease.slot, true};
      });
    };
    const bool own = lease.vm == Change::vm_of(slot);
    if (!is_active(lease)) {
      if (own && !rules_.stale_is_nobodys) saw("detach the ended", Next::kUndo);
      return;
    }
    if (in_live_hands(lease, slot)) return;
    if (!lease.this_boot) return saw("reconcile", rules_.lift_first ? Next::kLift : Next::kEndVoid);
    if (rules_.wait_for_late && waits_for_write(lease)) return;
    if (own) saw("detach", Next::kClaimForDetach);
    saw("reconcile", Next::kJudge);
  }

  bool in_live_hands(const Lease& lease, std::uint8_t slot) const {
    return rules_.live_hands && lease.state != LeaseState::kAttached && lease.live && lease.slot != slot;
  }

  // A write that nobody recorded may be any lease's that was being written.
  bool waits_for_write(const Lease& lease) const {
    const auto& device = from_.devices[lease.device];
    if (device.late_for == kNone) return false;
    const bool may_be_written =
        lease.step == StepState::kStarted || (lease.step == StepState::kDone && lease.state == LeaseState::kReleasing);
    return lease.late || may_be_written;
  }

  void of_attach(std::uint8_t slot, const Broker& broker) {
    const auto number = broker.lease;
    const auto mark = [&](StepState step) {
      return [=](Change& change) {
        if (!is_active(change.lease(number))) return false;
        change.lease(number).step = step;
        return true;
      };
    };
    switch (broker.next) {
      case Next::kBegin:
        call(slot, "begin", rules_.intent_first ? (rules_.mark_started ? Next::kStart : Next::kApply) : Next::kDone,
             [&](Change& change) { return change.begin(slot); });
        break;
      case Next::kStart: call(slot, "step is started", Next::kApply, mark(StepState::kStarted)); break;
      case Next::kApply: apply(slot, broker); break;
      case Next::kDone: call(slot, "step is done", Next::kPrepared, mark(StepState::kDone)); break;
      case Next::kPrepared:
        call(slot, "prepared", Next::kTell,
             [&](Change& c) { return c.move(number, LeaseState::kPreparing, LeaseState::kPrepared); });
        break;
      case Next::kTell: tell(slot, number); break;
      case Next::kAttached:
        call(slot, "attached", Next::kNothing,
             [&](Change& c) { return c.move(number, LeaseState::kPrepared, LeaseState::kAttached); });
        break;
      case Next::kUndoFailed: call(slot, "nothing was made: undone", Next::kLift, mark(StepState::kUndone)); break;
      case Next::kNoteLate:
        call(slot, "the late write is recorded", Next::kQuarantine, [&](Change& change) {
          change.lease(number).late = true;
          return is_active(change.lease(number));
        });
        break;
      case Next::kQuarantine:
        reach(slot, "quarantine", [&](Change& change) {
          auto& quarantine = change.device_of(number).quarantine;
          if (quarantine == kNone) quarantine = number;
          change.bump_revision();
          change.exit(slot);
        });
        break;
      default: break;
    }
  }

  void apply(std::uint8_t slot, const Broker& broker) {
    const auto& device = from_.devices[broker.device];
    const auto number = rules_.intent_first ? broker.lease : static_cast<std::uint8_t>(from_.begun + 1);
    if (device.made_for == kNone && device.late_for == kNone) {
      reach(slot, "write", [&](Change& change) {
        change.state.devices[broker.device].made_for = number;
        change.state.brokers[slot].next = rules_.intent_first ? Next::kDone : Next::kBegin;
      });
    }
    reach(slot, "write, and it fails", [&](Change& change) {
      if (rules_.intent_first) change.state.brokers[slot].next = Next::kUndoFailed;
      if (!rules_.intent_first) change.exit(slot);
    });
    if (!rules_.intent_first || device.late_for != kNone) return;
    silent(slot, broker.device, number, false);
  }

  // The broker that waits may die meanwhile, and leave a write that nobody has recorded.
  void silent(std::uint8_t slot, std::uint8_t d, std::uint8_t number, bool undo) {
    if (bounds_.calm) return;
    reach(slot, undo ? "undo, and the kernel is silent" : "write, and the kernel is silent", [&](Change& change) {
      change.state.devices[d].late_for = number;
      change.state.devices[d].late_undo = undo;
      change.state.brokers[slot].next = Next::kNoteLate;
    });
  }

  void tell(std::uint8_t slot, std::uint8_t number) {
    const auto& lease = from_.leases[number - 1U];
    const auto& device = from_.devices[lease.device];
    if (device.made_for != kNone && device.guest == kNone) {
      reach(slot, "the VMM takes it", [&](Change& change) {
        change.device_of(number).guest = lease.vm;
        change.state.brokers[slot].next = Next::kAttached;
      });
    }
    reach(slot, "the VMM refuses it", [&](Change& change) {
      auto& broker = change.state.brokers[slot];
      broker.next = Next::kClaimToGiveBack;
      broker.seen = LeaseState::kPrepared;
      broker.seen_slot = slot;
      broker.seen_holder = true;
    });
    reach(slot, "the VMM is silent", [&](Change& change) { change.exit(slot); });
  }

  void of_release(std::uint8_t slot, const Broker& broker) {
    const auto number = broker.lease;
    switch (broker.next) {
      case Next::kClaimForDetach: call(slot, "claim", Next::kAsk, [&](Change& c) { return c.claim(slot); }); break;
      case Next::kAsk: ask(slot, number); break;
      case Next::kMoveBack:
        call(slot, "attached again", Next::kNothing,
             [&](Change& c) { return c.move(number, LeaseState::kReleasing, LeaseState::kAttached); });
        break;
      case Next::kJudge: judge(slot, broker); break;
      case Next::kClaimToAttach: call(slot, "claim", Next::kMoveBack, [&](Change& c) { return c.claim(slot); }); break;
      case Next::kRecordAttached:
        call(slot, "record it as attached", Next::kNothing,
             [&](Change& c) { return c.move(number, LeaseState::kPrepared, LeaseState::kAttached); });
        break;
      case Next::kClaimToGiveBack:
        call(slot, "claim", Next::kCheckLetGo, [&](Change& c) { return c.claim(slot); });
        break;
      case Next::kCheckLetGo: check_let_go(slot, number); break;
      case Next::kUndo: undo(slot, broker); break;
      case Next::kMarkUndone:
        call(slot, "step is undone", after_undo(), [&](Change& change) {
          change.lease(number).step = StepState::kUndone;
          return is_active(change.lease(number)) || !rules_.undo_first;
        });
        break;
      case Next::kLift: lift(slot, number); break;
      case Next::kEnd: end(slot, number); break;
      case Next::kEndVoid:
        call(slot, "the lease is void", Next::kLift, [&](Change& change) { return change.end(number); });
        break;
      default: break;
    }
  }

  Next before_end() const { return rules_.lift_first ? Next::kLift : Next::kEnd; }
  Next after_undo() const { return rules_.undo_first ? before_end() : Next::kNothing; }

  void ask(std::uint8_t slot, std::uint8_t number) {
    const auto& lease = from_.leases[number - 1U];
    const bool has = from_.devices[lease.device].guest == lease.vm;
    reach(slot, has ? "the guest lets go" : "the guest has not got it", [&](Change& change) {
      if (has) change.device_of(number).guest = kNone;
      change.state.brokers[slot].next = Next::kCheckLetGo;
    });
    if (!has) return;
    reach(slot, "the guest keeps it", [&](Change& c) { c.state.brokers[slot].next = Next::kMoveBack; });
    if (!rules_.ask_guest) {
      reach(slot, "the guest is not asked", [&](Change& c) { c.state.brokers[slot].next = Next::kCheckLetGo; });
    }
  }

  void judge(std::uint8_t slot, const Broker& broker) {
    const auto& lease = from_.leases[broker.lease - 1U];
    const bool has = from_.devices[lease.device].guest == lease.vm;
    reach(slot, has ? "its guest has it" : "no guest has it", [&](Change& change) {
      auto& next = change.state.brokers[slot].next;
      if (broker.seen == LeaseState::kPreparing || !has) {
        next = Next::kClaimToGiveBack;
      } else if (broker.seen == LeaseState::kPrepared) {
        next = Next::kRecordAttached;
      } else if (broker.seen == LeaseState::kReleasing) {
        next = rules_.claim_to_attach ? Next::kClaimToAttach : Next::kMoveBack;
      } else {
        change.exit(slot);
      }
    });
  }

  void check_let_go(std::uint8_t slot, std::uint8_t number) {
    const bool held = rules_.ask_guest && from_.devices[from_.leases[number - 1U].device].guest != kNone;
    reach(slot, held ? "a process still has it open" : "nobody has it open", [&](Change& change) {
      if (held) return change.exit(slot);
      const bool any = change.to_be_undone(number);
      change.state.brokers[slot].next = any && rules_.undo_first ? Next::kUndo : before_end();
    });
  }

  // What is as before already is not written; else steps look for holders once more, at that moment.
  void undo(std::uint8_t slot, const Broker& broker) {
    const auto& device = from_.devices[broker.device];
    const auto number = broker.lease;
    const bool held = rules_.ask_guest && device.guest != kNone;
    if (device.made_for == kNone || (!held && device.late_for == kNone)) {
      reach(slot, "undo", [&](Change& change) {
        change.undo(number);
        if (!is_active(change.lease(number))) return change.exit(slot);
        change.state.brokers[slot].next = Next::kMarkUndone;
      });
    }
    if (device.made_for == kNone) return;
    if (!held && device.late_for == kNone) silent(slot, broker.device, number, true);
    reach(slot, "undo, and it fails", [&](Change& change) { change.exit(slot); });
  }

  void lift(std::uint8_t slot, std::uint8_t number) {
    call(slot, "lift the lease's quarantine", rules_.lift_first ? Next::kEnd : Next::kNothing, [&](Change& change) {
      auto& device = change.device_of(number);
      if (device.quarantine == number && device.made_for == kNone) {
        device.quarantine = kNone;
        change.bump_revision();
      }
      return true;
    });
  }

  void end(std::uint8_t slot, std::uint8_t number) {
    const Next next = !rules_.undo_first ? Next::kUndo : rules_.lift_first ? Next::kNothing : Next::kLift;
    call(slot, "the lease ends", next, [&](Change& change) { return change.end(number); });
  }

  const State& from_;
  const Bounds& bounds_;
  const Rules& rules_;
  Moves& moves_;
  std::vector<Successor> successors_;
};

}  // namespace

std::vector<Successor> Machine::successors(const State& state, Moves& moves) const {
  Walk walk(state, bounds_, rules_, moves);
  for (std::uint8_t slot = 0; slot < kBrokers; ++slot) walk.of_broker(slot);
  walk.of_world();
  return std::move(walk).take();
}

std::string Machine::violation(const State& state) const {
  std::array<std::uint8_t, kMostDevices> leased{};
  for (std::uint8_t number = 1; number <= state.begun; ++number) {
    const auto& lease = state.leases[number - 1U];
    if (!is_active(lease)) continue;
    if (leased[lease.device] != kNone) return "a device is in two active leases";
    leased[lease.device] = number;
    const bool given = lease.state == LeaseState::kPrepared || lease.state == LeaseState::kAttached;
    if (given && lease.this_boot && state.devices[lease.device].made_for != number) {
      return "a device was taken away that is leased and given";
    }
  }
  for (std::uint8_t d = 0; d < bounds_.devices; ++d) {
    const auto& device = state.devices[d];
    const auto* const lease = leased[d] == kNone ? nullptr : &state.leases[leased[d] - 1U];
    const bool recorded = device.made_for == leased[d] && lease != nullptr && lease->this_boot &&
                          (lease->step == StepState::kStarted || lease->step == StepState::kDone);
    if (device.made_for != kNone && !recorded) return "the host was changed and no lease says so";
    if (device.guest != kNone && (lease == nullptr || lease->vm != device.guest))
      return "a guest has what it has no lease on";
    if (device.guest != kNone && device.made_for == kNone) return "a guest's device was taken away";
  }
  return "";
}

// Of what may happen, the first that the broker does itself and that does not fail.
State Machine::reconcile(State state) const {
  Moves moves;
  const auto goes_well = [](const std::string& what) {
    return what.starts_with("broker 1: ") && !what.ends_with("dies") && !what.ends_with("fails") &&
           !what.ends_with("silent");
  };
  for (std::uint8_t number = 1; number <= state.begun; ++number) {
    const auto begins = "broker 1: reconcile lease " + std::to_string(number);
    for (bool runs = true; runs;) {
      const bool idle = state.brokers[0].next == Next::kNothing;
      const auto all = successors(state, moves);
      const auto next = std::find_if(all.begin(), all.end(), [&](const Successor& successor) {
        return idle ? successor.what == begins : goes_well(successor.what);
      });
      if (next != all.end()) state = next->state;
      runs = next != all.end() && state.brokers[0].next != Next::kNothing;
    }
  }
  return state;
}

std::string Machine::recovery_violation(const State& state) const {
  if (state.brokers[0].next != Next::kNothing || state.brokers[1].next != Next::kNothing) return "";
  for (const auto& device : state.devices) {
    if (device.late_for != kNone) return "";  // it waits for that
  }
  const auto now = reconcile(state);
  for (std::uint8_t number = 1; number <= state.begun; ++number) {
    const auto& lease = now.leases[number - 1U];
    if (!is_active(lease)) continue;
    if (lease.state != LeaseState::kAttached) return "reconcile leaves a lease as it was";
    if (now.devices[lease.device].guest != lease.vm) return "reconcile leaves a lease that no guest has";
  }
  for (const auto& device : now.devices) {
    if (device.guest == kNone && device.made_for != kNone) return "reconcile leaves the host changed";
    if (device.quarantine != kNone) return "reconcile leaves a quarantine that it could lift";
  }
  if (reconcile(now) != now) return "a second reconcile has something to do";
  return violation(now);
}

std::string to_text(const State& state) {
  std::string text;
  for (std::uint8_t number = 1; number <= state.begun; ++number) {
    const auto& lease = state.leases[number - 1U];
    text += "lease " + std::to_string(number) + " on " + std::to_string(lease.device + 1) + " for VM " +
            std::to_string(lease.vm) + " " + std::string(name(lease.state)) + ", step " +
            std::string(name(lease.step)) + "; ";
  }
  for (unsigned d = 0; d < kMostDevices; ++d) {
    const auto& device = state.devices[d];
    if (device == Device{}) continue;
    text += "device " + std::to_string(d + 1) + " made for " + std::to_string(device.made_for) + ", with VM " +
            std::to_string(device.guest) + ", quarantined for " + std::to_string(device.quarantine) + "; ";
  }
  return text;
}

}  // namespace slicebroker::model
