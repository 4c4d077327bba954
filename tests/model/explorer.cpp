// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer.h"

#include <algorithm>
#include <unordered_map>

namespace slicebroker::model {
namespace {

struct Hash {
  std::size_t operator()(const State& state) const {
    std::uint64_t hash = 0xcbf29ce484222325;
    const auto add = [&](auto... values) {
      ((hash = (hash ^ static_cast<std::uint64_t>(values)) * 0x100000001b3), ...);
    };
    for (const auto& b : state.brokers) {
      add(b.next, b.device, b.lease, b.fresh, b.seen, b.seen_slot, b.seen_holder);
    }
    for (const auto& l : state.leases) add(l.state, l.step, l.device, l.vm, l.slot, l.live, l.this_boot, l.late);
    for (const auto& d : state.devices) add(d.made_for, d.guest, d.late_for, d.late_undo, d.quarantine);
    add(state.begun);
    return hash;
  }
};

struct Node {
  const State* state;
  std::size_t parent;
  std::string what;
};

std::vector<std::string> trace_to(const std::vector<Node>& nodes, std::size_t at) {
  std::vector<std::string> trace;
  for (; at != 0; at = nodes[at].parent) trace.push_back(nodes[at].what + "  [" + to_text(*nodes[at].state) + "]");
  std::reverse(trace.begin(), trace.end());
  return trace;
}

}  // namespace

Exploration explore(const Bounds& bounds, const Rules& rules) {
  const Machine machine(bounds, rules);
  Exploration found;
  std::unordered_map<State, std::size_t, Hash> known;
  std::vector<Node> nodes;
  const auto visit = [&](const State& state, std::size_t parent, const std::string& what) {
    const auto [at, is_new] = known.try_emplace(state, nodes.size());
    if (is_new) nodes.push_back({&at->first, parent, what});
  };
  visit(State{}, 0, "");
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const State& state = *nodes[i].state;
    found.violation = machine.violation(state);
    if (found.violation.empty()) found.violation = machine.recovery_violation(state);
    if (!found.violation.empty()) {
      found.trace = trace_to(nodes, i);
      break;
    }
    for (const auto& next : machine.successors(state, found.moves)) {
      ++found.edges;
      visit(next.state, i, next.what);
    }
  }
  found.states = nodes.size();
  return found;
}

}  // namespace slicebroker::model
