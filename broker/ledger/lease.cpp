// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/lease.h"

#include "broker/ledger/quarantine.h"

#include <array>
#include <utility>

namespace slicebroker::broker {
namespace {

constexpr std::array<std::pair<LeaseState, std::string_view>, 5> kLeaseStates{{
    {LeaseState::kPreparing, "preparing"},
    {LeaseState::kPrepared, "prepared"},
    {LeaseState::kAttached, "attached"},
    {LeaseState::kReleasing, "releasing"},
    {LeaseState::kReleased, "released"},
}};

constexpr std::array<std::pair<StepState, std::string_view>, 4> kStepStates{{
    {StepState::kPlanned, "planned"},
    {StepState::kStarted, "started"},
    {StepState::kDone, "done"},
    {StepState::kUndone, "undone"},
}};

constexpr std::array<std::pair<ResetState, std::string_view>, 4> kResetStates{{
    {ResetState::kPlanned, "planned"},
    {ResetState::kStarted, "started"},
    {ResetState::kDone, "done"},
    {ResetState::kFailed, "failed"},
}};

template <class Table, class State>
std::string_view name_in(const Table& table, State state) {
  for (const auto& [value, text] : table) {
    if (value == state) return text;
  }
  return {};
}

template <class Table>
auto parse_in(const Table& table, std::string_view text) {
  std::optional<typename Table::value_type::first_type> found;
  for (const auto& [value, known] : table) {
    if (known == text) found = value;
  }
  return found;
}

}  // namespace

std::string_view name(LeaseState state) {
  return name_in(kLeaseStates, state);
}
std::optional<LeaseState> parse_lease_state(std::string_view text) {
  return parse_in(kLeaseStates, text);
}
std::string_view name(StepState state) {
  return name_in(kStepStates, state);
}
std::optional<StepState> parse_step_state(std::string_view text) {
  return parse_in(kStepStates, text);
}

std::string_view name(ResetState state) {
  return name_in(kResetStates, state);
}
std::optional<ResetState> parse_reset_state(std::string_view text) {
  return parse_in(kResetStates, text);
}

std::vector<Hold> holds_of(const std::vector<Lease>& leases) {
  std::vector<Hold> holds;
  for (const auto& lease : leases) {
    for (const auto& device : lease.devices) holds.push_back({device, lease.generation, lease.owner()});
  }
  return holds;
}

Hold hold_of(const Quarantine& quarantine) {
  Hold hold{quarantine.device, 0, quarantine.by, HoldKind::kQuarantine, quarantine.code};
  if (!quarantine.detail.empty()) hold.detail += ": " + quarantine.detail;
  hold.detail += ", since " + quarantine.since;
  return hold;
}

}  // namespace slicebroker::broker
