// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include "broker/ledger/ledger.h"
#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using test::kGpu;
using test::mdev_lease;
using test::ok;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class AuditTest : public testing::Test {
 protected:
  Ledger open(const LedgerOptions& options = {.boot_id = "boot-7"}) const {
    return Ledger::open(directory(), options).value();
  }
  std::string directory() const { return fixture_.directory() + "/state"; }

  // Runs SQL on the file behind the ledger's back; what SQLite said, "" for nothing.
  std::string meddle(const std::string& sql) const {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open((directory() + "/ledger.db").c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message);
    const std::string said = message != nullptr ? message : "";
    sqlite3_free(message);
    sqlite3_close(database);
    return said;
  }

  // A lease with one step through its whole life: ten records with the ledger's own.
  std::int64_t live_one_life(Ledger& ledger) const {
    auto lease = mdev_lease();
    lease.tenant = "acme";
    lease.steps = {{vfio::DisableMig{kGpu}, {}, false, {}}};
    lease = test::begin(ledger, lease);
    const auto generation = lease.generation;
    EXPECT_TRUE(ok(ledger.set_step_state(generation, 0, StepState::kStarted)));
    EXPECT_TRUE(ok(ledger.set_step_state(generation, 0, StepState::kDone)));
    EXPECT_TRUE(ok(ledger.move(generation, LeaseState::kPreparing, LeaseState::kPrepared)));
    EXPECT_TRUE(ok(ledger.set_attached(generation, "", {})));
    lease.state = LeaseState::kAttached;
    EXPECT_TRUE(ok(ledger.claim(lease, {77, 88}, "detach")));
    EXPECT_TRUE(ok(ledger.set_step_state(generation, 0, StepState::kUndone)));
    EXPECT_TRUE(ok(ledger.end(generation, "detached")));
    return generation;
  }

  test::FixtureHost fixture_;
};

std::vector<std::string> events(const std::vector<AuditRecord>& records) {
  std::vector<std::string> texts;
  for (const auto& record : records) texts.push_back(record.event);
  return texts;
}

TEST_F(AuditTest, TellsTheLifeOfALease) {
  auto ledger = open();
  const auto generation = live_one_life(ledger);
  const auto records = ledger.audit({.generation = generation}).value();
  EXPECT_THAT(events(records), ElementsAre("lease.begun", "step.started", "step.done", "lease.state", "lease.state",
                                           "lease.state", "step.undone", "lease.ended"));
  for (const auto& record : records) {
    EXPECT_EQ(record.owner, "libvirt:web1");
    EXPECT_EQ(record.tenant, "acme");
    EXPECT_EQ(record.device, "mdev:" + test::kMdev);
    EXPECT_EQ(record.boot_id, "boot-7");
    EXPECT_EQ(record.uid, ::getuid());
    EXPECT_EQ(record.pid, ::getpid());
    EXPECT_THAT(record.time, testing::MatchesRegex("20..-..-..T..:..:..[.]...Z"));
  }
  EXPECT_THAT(records[1].detail, HasSubstr("0000:41:00.0"));
  EXPECT_EQ(records[5].detail, "attached -> releasing: detach");
  EXPECT_EQ(records[7].detail, "releasing -> released: detached");
}

TEST_F(AuditTest, FailedChangeLeavesNoRecord) {
  auto ledger = open();
  const auto generation = live_one_life(ledger);
  const auto before = ledger.audit({}).value().size();
  EXPECT_FALSE(ledger.end(generation, "again"));
  EXPECT_FALSE(ledger.move(generation, LeaseState::kPrepared, LeaseState::kAttached));
  EXPECT_FALSE(ledger.set_step_state(generation, 0, StepState::kDone));
  EXPECT_FALSE(ledger.begin(mdev_lease(), 4711));
  EXPECT_EQ(ledger.clear_quarantine("pci:0000:41:00.0").value(), false);
  EXPECT_THAT(ledger.audit({}).value(), SizeIs(before));
}

TEST_F(AuditTest, FiltersNarrow) {
  auto ledger = open();
  const auto first = live_one_life(ledger);
  live_one_life(ledger);
  ASSERT_TRUE(ok(ledger.add_quarantine({{"pci:0000:41:00.0", kGpu}, "OPERATOR", "", "", "uid 0"})));
  ASSERT_TRUE(ok(ledger.clear_quarantine("pci:0000:41:00.0")));
  EXPECT_THAT(ledger.audit({}).value(), SizeIs(19));
  EXPECT_THAT(ledger.audit({.generation = first}).value(), SizeIs(8));
  EXPECT_THAT(events(ledger.audit({.device = "pci:0000:41:00.0"}).value()),
              ElementsAre("quarantine.added", "quarantine.cleared"));
  EXPECT_THAT(ledger.audit({.device = "pci:0000:41:00"}).value(), SizeIs(0)) << "a whole key";
  EXPECT_THAT(events(ledger.audit({.newest = 2}).value()), ElementsAre("quarantine.added", "quarantine.cleared"));
  EXPECT_THAT(ledger.audit({.since = "2999"}).value(), SizeIs(0));
  EXPECT_THAT(ledger.audit({.since = "2020-01-01"}).value(), SizeIs(19));
}

TEST_F(AuditTest, RecordsAreOnlyAdded) {
  {
    auto ledger = open();
    live_one_life(ledger);
  }
  EXPECT_THAT(meddle("UPDATE audit SET detail = 'x' WHERE seq = 2"), HasSubstr("only added to"));
  EXPECT_THAT(meddle("DELETE FROM audit WHERE seq = 9"), HasSubstr("only added to"));
  EXPECT_THAT(meddle("DELETE FROM audit"), HasSubstr("only added to"));
  EXPECT_EQ(open().verify_audit("").value().faulty, std::nullopt);
}

TEST_F(AuditTest, TamperingIsFoundAtTheFirstRecordThatDoesNotFit) {
  struct Case {
    std::string name;
    std::string sql;
    std::int64_t faulty;
    std::string said;
  };
  const Case cases[] = {
      {"a text changed", "UPDATE audit SET detail = 'nothing' WHERE seq = 4", 4, "changed"},
      {"a tenant changed", "UPDATE audit SET tenant = 'other' WHERE seq = 2", 2, "changed"},
      {"text moved to the next member", "UPDATE audit SET owner = owner || tenant, tenant = '' WHERE seq = 5", 5,
       "changed"},
      {"a hash changed", "UPDATE audit SET hash = 'x' || hash WHERE seq = 6", 6, "changed"},
      {"one missing in the middle", "DELETE FROM audit WHERE seq = 5", 5, "missing"},
      {"one missing, the others moved up",
       "DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 "
       "WHERE seq > 5",
       5, "changed"},
      {"the first one missing", "DELETE FROM audit WHERE seq = 1", 1, "missing"},
      {"the end cut off", "DELETE FROM audit WHERE seq >= 8", 8, "cut off"},
      {"all gone", "DELETE FROM audit", 1, "cut off"},
      {"two changed places",
       "UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; "
       "UPDATE audit SET seq = 4 WHERE seq = -3",
       3, "another's place"},
      {"one added",
       "INSERT INTO audit SELECT 10, time, boot_id, uid, pid, generation, owner, tenant, device, event, "
       "detail, hash FROM audit WHERE seq = 9",
       10, "changed"},
      {"the head taken back with the end", "DELETE FROM audit WHERE seq >= 8; UPDATE audit_chain SET head_seq = 7", 7,
       "hash"},
      {"the ends gone", "DELETE FROM audit_chain", 0, "where the trail begins"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fixture_.remove("state");
    {
      auto ledger = open();
      live_one_life(ledger);
    }
    ASSERT_EQ(meddle("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted; " + c.sql), "");
    const auto ledger = open();
    const auto verdict = ledger.verify_audit("");
    ASSERT_TRUE(ok(verdict));
    EXPECT_EQ(verdict->faulty, c.faulty);
    EXPECT_THAT(verdict->fault, HasSubstr(c.said));
    EXPECT_THAT(ledger.find_damage().value(), SizeIs(1));
  }
}

// Whoever can write the file can write the whole trail anew; a head noted elsewhere tells.
TEST_F(AuditTest, NotedHeadTellsATrailThatWasWrittenAnew) {
  std::string noted, older;
  {
    auto ledger = open();
    live_one_life(ledger);
    older = ledger.verify_audit("").value().head;
    live_one_life(ledger);
    noted = ledger.verify_audit("").value().head;
    EXPECT_EQ(ledger.verify_audit(noted).value().noted_head, 17);
    EXPECT_EQ(ledger.verify_audit(older).value().noted_head, 9);
    EXPECT_EQ(ledger.verify_audit(std::string(64, '0')).value().noted_head, std::nullopt);
  }
  fixture_.remove("state");
  auto ledger = open();
  live_one_life(ledger);
  live_one_life(ledger);
  const auto verdict = ledger.verify_audit(noted).value();
  EXPECT_EQ(verdict.faulty, std::nullopt);
  EXPECT_EQ(verdict.noted_head, std::nullopt);
}

TEST_F(AuditTest, OldestRecordsAreForgottenAndTheRestStillVerifies) {
  auto ledger = open({.most_audit_records = 12});
  for (int i = 0; i < 4; ++i) live_one_life(ledger);
  const auto records = ledger.audit({}).value();
  ASSERT_THAT(records, SizeIs(12));
  const auto verdict = ledger.verify_audit("").value();
  EXPECT_EQ(verdict.faulty, std::nullopt) << verdict.fault;
  EXPECT_EQ(verdict.first, 22);
  EXPECT_EQ(verdict.last, 33);
  EXPECT_EQ(verdict.head, records.back().hash);
  ASSERT_EQ(meddle("DROP TRIGGER audit_is_not_deleted; DELETE FROM audit WHERE seq = 22"), "");
  EXPECT_EQ(ledger.verify_audit("").value().faulty, 22);
}

TEST(AuditHash, IsTheDocumentedOne) {
  AuditRecord record;
  record.seq = 1;
  record.time = "2025-11-20T10:00:00.000Z";
  record.event = "ledger.made";
  record.detail = "schema 2";
  // printf '0:1:124:2025-11-20T10:00:00.000Z0:1:01:01:00:0:0:11:ledger.made8:schema 2' | sha256sum
  EXPECT_EQ(audit_hash("", record), "970b4a1d356eae847bd983451df5a3aaa0ce6d6c9abe5218891d6f51006f7dcb");
}

}  // namespace
}  // namespace slicebroker::broker
