// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>

#include "tests/model/explorer.h"

namespace slicebroker::model {
namespace {

constexpr Bounds kOneDevice{1, 2}, kThreeLeases{1, 3}, kTwoDevices{2, 2, true};

std::string to_text(const std::vector<std::string>& trace) {
  std::string text;
  for (const auto& line : trace) text += "  " + line + "\n";
  return text;
}

class Model : public testing::TestWithParam<Bounds> {};

INSTANTIATE_TEST_SUITE_P(Devices, Model, testing::Values(kOneDevice, kThreeLeases, kTwoDevices), [](const auto& test) {
  return "Of" + std::to_string(test.param.devices) + "And" + std::to_string(test.param.leases);
});

TEST_P(Model, HoldsInEveryState) {
  const auto begin = std::chrono::steady_clock::now();
  const auto found = explore(GetParam(), Rules{});
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%u devices, %u leases: %zu states, %zu edges, %.1f s\n", GetParam().devices, GetParam().leases,
              found.states, found.edges, time.count());
  EXPECT_EQ(found.violation, "") << to_text(found.trace);
}

TEST(ModelAndCode, GoTheSameWays) {
  const auto found = explore(kOneDevice, Rules{});
  using enum LeaseState;
  for (const auto from : {kPreparing, kPrepared, kAttached, kReleasing, kReleased}) {
    for (const auto to : {kPreparing, kPrepared, kAttached, kReleasing, kReleased}) {
      EXPECT_EQ(found.moves.contains(from, to), broker::may_move(from, to)) << name(from) << " -> " << name(to);
    }
  }
}

struct Mutant {
  const char* name;
  void (*spoil)(Rules&);
  const char* violation;  // empty: another rule is enough
};

void PrintTo(const Mutant& mutant, std::ostream* out) {
  *out << mutant.name;
}

constexpr const char* kUnrecorded = "the host was changed and no lease says so";
constexpr const char* kTakenAway = "a device was taken away that is leased and given";

const Mutant kMutants[] = {
    {"RevisionIsNotChecked", [](Rules& r) { r.revision = false; }, ""},
    {"DevicesAreNotUnique", [](Rules& r) { r.unique_device = false; }, ""},
    {"NeitherRevisionNorDevice", [](Rules& r) { r.revision = r.unique_device = false; },
     "a device is in two active leases"},
    {"IntentAfterTheWrite", [](Rules& r) { r.intent_first = false; }, kUnrecorded},
    {"StepIsNotMarkedAsStarted", [](Rules& r) { r.mark_started = false; }, kUnrecorded},
    {"GuestIsNotAsked", [](Rules& r) { r.ask_guest = false; }, "a guest's device was taken away"},
    {"LeaseEndsBeforeTheUndo", [](Rules& r) { r.undo_first = false; },
     "reconcile leaves a quarantine that it could lift"},
    {"LiveBrokersLeaseIsTaken", [](Rules& r) { r.live_hands = false; }, kUnrecorded},
    {"PidAloneIsTheBroker", [](Rules& r) { r.claim_by_start_time = false; }, kTakenAway},
    {"AttachedAgainWithoutAClaim", [](Rules& r) { r.claim_to_attach = false; }, kTakenAway},
    {"LateWriteIsNotWaitedFor", [](Rules& r) { r.wait_for_late = false; }, kUnrecorded},
    {"QuarantineGoesAfterItsLease", [](Rules& r) { r.lift_first = false; },
     "reconcile leaves a quarantine that it could lift"},
    {"EndedLeaseIsReleased", [](Rules& r) { r.stale_is_nobodys = false; }, kTakenAway},
};

class Mutants : public testing::TestWithParam<Mutant> {};

INSTANTIATE_TEST_SUITE_P(Rules, Mutants, testing::ValuesIn(kMutants),
                         [](const auto& test) { return std::string(test.param.name); });

// That the explorer can fail, and what each rule is for.
TEST_P(Mutants, AreFound) {
  Rules rules;
  GetParam().spoil(rules);
  const auto found = explore(kOneDevice, rules);
  EXPECT_EQ(found.violation, GetParam().violation) << to_text(found.trace);
  std::printf("%zu states, %zu edges; %s\n%s", found.states, found.edges, found.violation.c_str(),
              to_text(found.trace).c_str());
}

}  // namespace
}  // namespace slicebroker::model
