// SPDX-License-Identifier: Apache-2.0
// What the ledger does not let happen: states that do not follow, leases on quarantined devices, growth without end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "broker/ledger/ledger.h"
#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::kGpu;
using test::kVf0;
using test::mdev_lease;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

constexpr LeaseState kStates[] = {LeaseState::kPreparing, LeaseState::kPrepared, LeaseState::kAttached,
                                  LeaseState::kReleasing, LeaseState::kReleased};

class LedgerFenceTest : public testing::Test {
 protected:
  Ledger open(const LedgerOptions& options = {}) const { return Ledger::open(directory(), options).value(); }
  std::string directory() const { return fixture_.directory() + "/state"; }

  test::FixtureHost fixture_;
};

TEST(Transitions, AreThoseOfTheArchitecturePage) {
  std::vector<std::string> coded;
  for (const auto& t : kTransitions) {
    coded.push_back("| `" + std::string(name(t.from)) + "` | `" + std::string(name(t.to)) + "` | " +
                    std::string(t.when) + " |");
  }
  std::ifstream page(SOURCE_DIR "/docs/architecture.md");
  std::vector<std::string> documented;
  for (std::string line; std::getline(page, line);) {
    for (const auto state : kStates) {
      if (line.starts_with("| `" + std::string(name(state)) + "` |")) documented.push_back(line);
    }
  }
  EXPECT_EQ(documented, coded);
}

TEST(Transitions, EveryStateIsReachedAndOnlyReleasedIsTheEnd) {
  for (const auto from : kStates) {
    SCOPED_TRACE(name(from));
    EXPECT_FALSE(may_move(LeaseState::kReleased, from));
    EXPECT_EQ(may_move(from, LeaseState::kReleased), from != LeaseState::kReleased);
    EXPECT_FALSE(may_move(from, LeaseState::kPreparing));
  }
}

// Every pair: what the table has works once and is stale then, all else ends the program.
TEST_F(LedgerFenceTest, MoveFollowsTheTable) {
  for (const auto from : kStates) {
    for (const auto to : kStates) {
      SCOPED_TRACE(std::string(name(from)) + " -> " + std::string(name(to)));
      auto ledger = open();
      if (!may_move(from, to)) {
        EXPECT_DEATH((void)ledger.move(1, from, to), "bug: a lease can't go from " + std::string(name(from)));
        continue;
      }
      const auto generation = test::begin_in(ledger, mdev_lease(), from).generation;
      if (to != LeaseState::kReleased) {
        EXPECT_TRUE(ok(ledger.move(generation, from, to)));
        if (from != to) {
          EXPECT_TRUE(fails(ledger.move(generation, from, to), ErrorCode::kFailed, "STALE_LEASE"));
        }
      }
      EXPECT_TRUE(ok(ledger.end(generation, "")));
    }
  }
}

TEST_F(LedgerFenceTest, EndedLeaseIsFoundWithItsTenantOwnerAndEnd) {
  auto ledger = open();
  auto lease = mdev_lease();
  lease.tenant = "acme & söhne";
  lease.vm_uuid = Uuid::parse("99999999-0000-4000-8000-000000000001");
  lease.vmm = vfio::ProcessIdentity{815, 4711};
  const auto generation = test::begin(ledger, lease).generation;
  EXPECT_EQ(ledger.find(generation).value()->ended_at, "");
  ASSERT_TRUE(ok(ledger.end(generation, "detached")));
  const auto found = open().find(generation);
  ASSERT_TRUE(ok(found));
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->state, LeaseState::kReleased);
  EXPECT_EQ((*found)->tenant, lease.tenant);
  EXPECT_EQ((*found)->vm_uuid, lease.vm_uuid);
  EXPECT_EQ((*found)->vmm, lease.vmm);
  EXPECT_EQ((*found)->owner(), "libvirt:web1");
  EXPECT_EQ((*found)->note, "detached");
  EXPECT_THAT((*found)->ended_at, testing::MatchesRegex("20..-..-..T..:..:..Z"));
  EXPECT_EQ(ledger.find(generation + 1).value(), std::nullopt);
}

TEST_F(LedgerFenceTest, QuarantinedDeviceBeginsNoLeaseWhateverTheResolverThought) {
  struct Case {
    std::string name;
    std::string device;
    bool refused;
  };
  const Case cases[] = {
      {"the device", "mdev:" + test::kMdev, true},
      {"its GPU", device_key(kGpu), true},
      {"another device", device_key(kVf0), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto ledger = open();
    const Quarantine quarantine{{c.device, kGpu}, "WEDGED", "it hangs", "", "uid 0"};
    EXPECT_EQ(ledger.add_quarantine(quarantine).value(), true);
    const auto begun = ledger.begin(mdev_lease(), ledger.read().value().revision);
    if (c.refused) {
      ASSERT_TRUE(fails(begun, ErrorCode::kRefused, "QUARANTINED"));
      EXPECT_TRUE(test::mentions(begun.error(), "slicebroker quarantine clear " + c.device));
      EXPECT_THAT(ledger.read().value().leases, IsEmpty());
    } else {
      ASSERT_TRUE(ok(begun));
      ASSERT_TRUE(ok(ledger.end(begun->generation, "")));
    }
    EXPECT_EQ(ledger.clear_quarantine(c.device).value(), true);
  }
}

TEST_F(LedgerFenceTest, QuarantineStaysUntilItIsClearedAndMakesANewRevision) {
  const Quarantine quarantine{{"mdev:" + test::kMdev, kGpu}, "WEDGED", "it hangs", "", "uid 0"};
  const auto before = open().read().value().revision;
  EXPECT_EQ(open().add_quarantine(quarantine).value(), true);
  EXPECT_EQ(open().add_quarantine({quarantine.device, "OPERATOR", "again", "", "uid 1"}).value(), false);
  const auto view = open().read().value();
  EXPECT_GT(view.revision, before);
  ASSERT_THAT(view.quarantines, SizeIs(1));
  EXPECT_EQ(view.quarantines[0].device, quarantine.device);
  EXPECT_EQ(view.quarantines[0].code, "WEDGED") << "the first reason stays";
  EXPECT_EQ(view.quarantines[0].by, "uid 0");
  EXPECT_THAT(view.quarantines[0].since, testing::MatchesRegex("20..-..-..T..:..:..Z"));
  const auto holds = holds_of(view);
  ASSERT_THAT(holds, SizeIs(1));
  EXPECT_EQ(holds[0].kind, HoldKind::kQuarantine);
  EXPECT_THAT(holds[0].detail, testing::HasSubstr("it hangs"));
  EXPECT_EQ(open().clear_quarantine(quarantine.device.device).value(), true);
  EXPECT_EQ(open().clear_quarantine(quarantine.device.device).value(), false);
  EXPECT_THAT(open().read().value().quarantines, IsEmpty());
}

TEST_F(LedgerFenceTest, OldestEndedLeasesAreForgottenAndActiveOnesNever) {
  auto ledger = open({.most_ended_leases = 3});
  auto kept = mdev_lease("db2");
  kept.devices = {{"pci:0000:c4:00.0", test::kOtherGpu}};
  const auto active = test::begin(ledger, kept).generation;
  std::vector<std::int64_t> ended;
  for (int i = 0; i < 5; ++i) {
    auto lease = mdev_lease();
    lease.steps = {{vfio::DisableMig{kGpu}, {}, false, {}}};
    ended.push_back(test::begin(ledger, lease).generation);
    ASSERT_TRUE(ok(ledger.end(ended.back(), "")));
  }
  for (std::size_t i = 0; i < ended.size(); ++i) {
    EXPECT_EQ(ledger.find(ended[i]).value().has_value(), i >= 2) << i;
  }
  EXPECT_TRUE(ledger.find(active).value().has_value());
  EXPECT_THAT(ledger.find_damage().value(), IsEmpty()) << "their devices and steps went with them";
}

}  // namespace
}  // namespace slicebroker::broker
