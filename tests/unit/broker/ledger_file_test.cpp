// SPDX-License-Identifier: Apache-2.0
// The ledger as a file: what is made, and what is left as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "broker/ledger/ledger.h"
#include "broker/ledger/record.h"
#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::ok;
using testing::IsEmpty;

class LedgerFileTest : public testing::Test {
 protected:
  std::string directory() const { return fixture_.directory() + "/state"; }
  mode_t mode_of(const std::string& path) const {
    struct stat status {};
    EXPECT_EQ(::stat((fixture_.directory() + "/" + path).c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }
  void execute(const std::string& sql) const {
    fixture_.make_directory("state");
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((directory() + "/ledger.db").c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
    sqlite3_close(database);
  }

  test::FixtureHost fixture_;
};

TEST_F(LedgerFileTest, IsForItsOwnerOnly) {
  const auto mask = ::umask(0);
  const auto ledger = Ledger::open(directory() + "/deeper");
  ::umask(mask);
  ASSERT_TRUE(ok(ledger));
  EXPECT_EQ(mode_of("state/deeper"), 0700U);
  EXPECT_EQ(mode_of("state/deeper/ledger.db"), 0600U);
}

TEST_F(LedgerFileTest, DirectoryThatIsThereKeepsItsMode) {
  fixture_.make_directory("state");
  ASSERT_EQ(::chmod(directory().c_str(), 0755), 0);
  ASSERT_TRUE(ok(Ledger::open(directory())));
  EXPECT_EQ(mode_of("state"), 0755U);
}

TEST_F(LedgerFileTest, DirectoryThatCantBeMadeIsAnError) {
  fixture_.write("state", "a file");
  const auto before = fixture_.snapshot();
  for (const auto& path : {directory(), directory() + "/below"}) {
    SCOPED_TRACE(path);
    EXPECT_TRUE(fails(Ledger::open(path), ErrorCode::kFailed, "LEDGER_UNUSABLE"));
  }
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(LedgerFileTest, FileThatIsNoLedgerIsLeftAsItIs) {
  struct Case {
    std::string name;
    std::string text;
  };
  const Case cases[] = {
      {"text", "this is a list of things to buy\n"},
      {"binary", std::string(4096, '\xa5')},
      {"torn header", std::string("SQLite format 3\0", 16) + std::string(8192, '\0')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fixture_.remove("state");
    fixture_.write("state/ledger.db", c.text);
    const auto before = fixture_.snapshot();
    const auto ledger = Ledger::open(directory());
    ASSERT_TRUE(fails(ledger, ErrorCode::kFailed, "LEDGER_UNUSABLE"));
    EXPECT_TRUE(test::mentions(ledger.error(), "ledger.db")) << to_text(ledger.error());
    EXPECT_FALSE(ledger.error().hint.empty());
    EXPECT_TRUE(fails(Ledger::open_for_reading(directory()), ErrorCode::kFailed, "LEDGER_UNUSABLE"));
    EXPECT_TRUE(fixture_.is_as(before));
  }
}

TEST_F(LedgerFileTest, DatabaseOfAnotherProgramIsLeftAsItIs) {
  execute("CREATE TABLE cookies(name TEXT); INSERT INTO cookies VALUES('a')");
  const auto before = fixture_.snapshot();
  EXPECT_TRUE(fails(Ledger::open(directory()), ErrorCode::kFailed, "LEDGER_UNUSABLE"));
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(LedgerFileTest, LedgerOfANewerVersionIsLeftAsItIs) {
  execute("CREATE TABLE lease(generation INTEGER); PRAGMA user_version = 3; PRAGMA application_id = 0x736c6272");
  const auto before = fixture_.snapshot();
  const auto ledger = Ledger::open(directory());
  ASSERT_TRUE(fails(ledger, ErrorCode::kFailed, "LEDGER_UNUSABLE"));
  EXPECT_TRUE(test::mentions(ledger.error(), "version 3")) << to_text(ledger.error());
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(LedgerFileTest, ReadingWhereThereIsNoneMakesNothing) {
  const auto before = fixture_.snapshot();
  const auto ledger = Ledger::open_for_reading(directory());
  ASSERT_TRUE(ok(ledger));
  const auto view = ledger->read();
  ASSERT_TRUE(ok(view));
  EXPECT_THAT(view->leases, IsEmpty());
  EXPECT_TRUE(fixture_.is_as(before));
}

TEST_F(LedgerFileTest, ReadingSeesWhatWasWritten) {
  auto ledger = Ledger::open(directory()).value();
  test::begin(ledger, test::mdev_lease());
  EXPECT_THAT(Ledger::open_for_reading(directory()).value().read().value().leases, testing::SizeIs(1));
}

TEST_F(LedgerFileTest, GarbledRecordIsAnErrorAndLeftAsItIs) {
  struct Case {
    std::string name;
    std::string sql;
  };
  const Case cases[] = {
      {"attachment", "UPDATE lease SET attachment = '{'"},
      {"attachment without a device", "UPDATE lease SET attachment = '{\"id\":\"x\",\"surface\":\"mdev\"}'"},
      {"attachment of an unknown surface",
       "UPDATE lease SET attachment = '{\"surface\":\"usb\",\"function\":\"0000:41:00.0\"}'"},
      {"step of an unknown kind", "UPDATE step SET kind = 'reset-gpu'"},
      {"step's fields", "UPDATE step SET fields = '[]'"},
      {"step's fields with a number", "UPDATE step SET fields = '{\"gpu\":1}'"},
      {"what a step saw", "UPDATE step SET before = 'null'"},
      {"GPU of a device", "UPDATE lease_device SET gpu = 'x'"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fixture_.remove("state");
    {
      auto ledger = Ledger::open(directory()).value();
      auto lease = test::mdev_lease();
      lease.steps = {{vfio::DisableMig{test::kGpu}, {{"mig_mode", "on"}}, false, {}}};
      test::begin(ledger, lease);
    }
    execute(c.sql);
    const auto read = Ledger::open(directory()).value().read();
    EXPECT_TRUE(fails(read, ErrorCode::kFailed, "MALFORMED_RECORD"));
    execute("DELETE FROM step WHERE 0");  // still a database that can be looked into
  }
}

TEST(Record, AttachmentsAndFieldsReadBack) {
  using hypervisors::Attachment;
  using hypervisors::Surface;
  const Attachment attachments[] = {
      {"slicebroker-1", Surface::kMdev, Uuid::parse(test::kMdev), {}, {}},
      {"slicebroker-2", Surface::kVendorVf, {}, test::kVf0, {}},
      {"slicebroker-3", Surface::kVf, {}, test::kVf0, {}},
      {"slicebroker-4", Surface::kGpu, {}, test::kGpu, {test::kAudio, test::kVf0}},
  };
  for (const auto& attachment : attachments) {
    SCOPED_TRACE(attachment.id);
    const auto read = parse_attachment(attachment_text(attachment));
    ASSERT_TRUE(ok(read));
    EXPECT_TRUE(*read == attachment);
  }
  const vfio::Fields fields{{"a", ""}, {"b", "\"\\\n\t{}"}, {"Ü", "ß"}};
  EXPECT_EQ(parse_fields(fields_text(fields)).value(), fields);
  EXPECT_EQ(parse_fields(fields_text({})).value(), vfio::Fields{});
}

TEST(Record, TextThatIsNoRecordIsMalformed) {
  for (const char* text : {"", "x", "[]", "1", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}", "{"}) {
    SCOPED_TRACE(text);
    EXPECT_TRUE(fails(parse_fields(text), ErrorCode::kFailed, "MALFORMED_RECORD"));
    EXPECT_TRUE(fails(parse_attachment(text), ErrorCode::kFailed, "MALFORMED_RECORD"));
  }
}

// A driver_override is bytes to the kernel; what undo writes back must be what was there.
TEST(Record, BytesThatAreNoUtf8ReadBackAsTheyWere) {
  const vfio::Fields fields{{"driver_override", "\xff\xfe"}};
  const auto read = parse_fields(fields_text(fields));
  ASSERT_TRUE(ok(read));
  EXPECT_EQ(*read, fields);
}

}  // namespace
}  // namespace slicebroker::broker
