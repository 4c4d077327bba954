// SPDX-License-Identifier: Apache-2.0
// Ledgers in every bad state: refused with the file named and left as it is, and the host untouched.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "broker/ledger/schema.h"
#include "tests/unit/broker/broker_fixture.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::ok;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// What slicebroker 0.1.0 made.
constexpr const char* kVersion1File = R"sql(
  PRAGMA journal_mode = WAL;
  CREATE TABLE lease(
    generation    INTEGER PRIMARY KEY AUTOINCREMENT,
    state         TEXT NOT NULL CHECK(state IN ('preparing', 'prepared', 'attached', 'releasing', 'released')),
    vm            TEXT NOT NULL,
    vm_uuid       TEXT,
    vmm_pid       INTEGER NOT NULL DEFAULT 0,
    vmm_start     INTEGER NOT NULL DEFAULT 0,
    broker_pid    INTEGER NOT NULL,
    broker_start  INTEGER NOT NULL,
    boot_id       TEXT NOT NULL,
    selector      TEXT NOT NULL,
    slice         TEXT NOT NULL,
    attachment    TEXT NOT NULL,
    guest_address TEXT NOT NULL DEFAULT '',
    created_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    ended_at      TEXT,
    note          TEXT NOT NULL DEFAULT ''
  ) STRICT;
  CREATE INDEX active_lease ON lease(generation) WHERE state <> 'released';

  CREATE TABLE lease_device(
    generation INTEGER NOT NULL REFERENCES lease,
    device     TEXT NOT NULL,
    gpu        TEXT NOT NULL,
    released   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(generation, device)
  ) STRICT;
  CREATE UNIQUE INDEX one_lease_a_device ON lease_device(device) WHERE released = 0;

  CREATE TABLE step(
    generation INTEGER NOT NULL REFERENCES lease,
    position   INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    fields     TEXT NOT NULL,
    before     TEXT NOT NULL,
    already_so INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK(state IN ('planned', 'started', 'done', 'undone')),
    PRIMARY KEY(generation, position)
  ) STRICT;

  CREATE TABLE revision(number INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES(0);
  PRAGMA user_version = 1;
  INSERT INTO lease(state, vm, broker_pid, broker_start, boot_id, selector, slice, attachment)
    VALUES('attached', 'libvirt:web1', 999999, 42, '11111111-2222-4333-8444-555555555555', 'vf=0000:41:00.4', 'a VF',
           '{"id":"slicebroker-1","surface":"vf","function":"0000:41:00.4","companions":[]}');
  INSERT INTO lease_device(generation, device, gpu) VALUES(1, 'pci:0000:41:00.4', '0000:41:00.0');
)sql";

class LedgerCareTest : public test::BrokerFixture {
 protected:
  std::string file() const { return state_directory() + "/ledger.db"; }
  static std::string text_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  }
  void execute(const std::string& sql) const {
    std::filesystem::create_directories(state_directory());
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
    sqlite3_close(database);
  }
  // A ledger with some leases in it, closed.
  void make_ledger() {
    auto ledger = this->ledger();
    for (int i = 0; i < 20; ++i) {
      auto lease = test::mdev_lease();
      lease.devices = {{"pci:0000:0" + std::to_string(i % 10) + ":00." + std::to_string(i / 10), test::kGpu}};
      lease.steps = {{vfio::DisableMig{test::kGpu}, {}, false, {}}};
      lease.state = LeaseState::kPreparing;
      test::begin_in(ledger, lease, LeaseState::kAttached);
    }
  }
  // Its log as a crash leaves it: with committed records that are not in the database yet.
  void leave_log() {
    const pid_t child = ::fork();
    if (child == 0) {
      auto ledger = this->ledger();
      (void)ledger.add_quarantine({{"pci:0000:41:00.4", test::kGpu}, "OPERATOR", "", "", "uid 0"});
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_GT(std::filesystem::file_size(file() + "-wal"), 0U);
  }
  // Refused by each way in, naming the file and the way out; file, host and guest are as they were.
  void expect_refused(const std::string& said, const std::string& leaf = "ledger.db") {
    const auto host_before = host_.snapshot();
    const bool is_file = std::filesystem::is_regular_file(file());
    const auto before = is_file ? text_of(file()) : "";
    const auto log_before = text_of(file() + "-wal");
    const auto attached = attach("libvirt:web1", {kMade});
    ASSERT_TRUE(fails(attached, ErrorCode::kFailed, "LEDGER_UNUSABLE"));
    EXPECT_TRUE(test::mentions(attached.error(), state_directory() + "/" + leaf)) << to_text(attached.error());
    EXPECT_TRUE(test::mentions(attached.error(), said)) << to_text(attached.error());
    EXPECT_TRUE(test::mentions(attached.error(), "section LEDGER")) << to_text(attached.error());
    EXPECT_EQ(attached.error().host, HostOutcome::kUntouched);
    EXPECT_TRUE(host_.is_as(host_before));
    EXPECT_THAT(vm_at("libvirt:web1").devices, IsEmpty());
    EXPECT_FALSE(broker().ledger_view());
    EXPECT_FALSE(broker().reconcile(DryRun::kNo));
    if (is_file) {
      EXPECT_TRUE(text_of(file()) == before);
    }
    EXPECT_TRUE(text_of(file() + "-wal") == log_before);
  }
};

TEST_F(LedgerCareTest, CutOffAtAnySizeIsRefused) {
  make_ledger();
  const auto whole = text_of(file());
  ASSERT_GT(whole.size(), 8U * 4096);
  std::vector<std::size_t> sizes{0, 1, 15, 16, 99, 100, 512, 4095, 4097, whole.size() - 1, whole.size() - 4095};
  for (std::size_t size = 4096; size < whole.size(); size += 4096) sizes.push_back(size);
  for (const auto size : sizes) {
    SCOPED_TRACE(size);
    write(file(), whole.substr(0, size));
    expect_refused("");
    std::filesystem::remove(file() + "-wal");
    std::filesystem::remove(file() + "-shm");
  }
  write(file(), whole);
  EXPECT_THAT(leases(), SizeIs(20)) << "the whole file is fine";
}

// Not every flipped byte can be seen: but what is not refused is read without harm, and a refused file stays as it is.
TEST_F(LedgerCareTest, FlippedBytesAreRefusedOrHarmless) {
  make_ledger();
  const auto whole = text_of(file());
  std::mt19937 random(4711);
  int refused = 0;
  constexpr int kRounds = 150;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    auto text = whole;
    for (int i = 0; i < 16; ++i) {
      text[random() % text.size()] ^= static_cast<char>(1 + random() % 255);
    }
    write(file(), text);
    const auto view = broker().ledger_view();
    if (!view) {
      ++refused;
      EXPECT_TRUE(view.error().reason == "LEDGER_UNUSABLE" || view.error().reason == "MALFORMED_RECORD")
          << to_text(view.error());
      EXPECT_TRUE(text_of(file()) == text);
    }
    const auto ledger = Ledger::open(state_directory());
    if (ledger) (void)ledger->find_damage();
    for (const auto* suffix : {"-wal", "-shm"}) std::filesystem::remove(file() + suffix);
  }
  EXPECT_GT(refused, kRounds / 3);
}

TEST_F(LedgerCareTest, CheckFindsWhatOpeningLets) {
  make_ledger();
  execute(
      "PRAGMA foreign_keys = OFF; UPDATE lease SET attachment = '{' WHERE generation = 3; "
      "DELETE FROM lease WHERE generation = 5");
  const auto damage = ledger().find_damage();
  ASSERT_TRUE(ok(damage));
  EXPECT_THAT(*damage, testing::Contains(HasSubstr("lease 3")));
  EXPECT_THAT(*damage, testing::Contains(HasSubstr("belongs to no lease")));
}

TEST_F(LedgerCareTest, OtherThingsInItsPlaceAreRefused) {
  std::filesystem::create_directories(file());
  expect_refused("it is a directory");
  std::filesystem::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  expect_refused("it is no file");
  std::filesystem::remove(file());
  // Many programs have a version 1.
  execute("CREATE TABLE lease(generation INTEGER); PRAGMA user_version = 1");
  expect_refused("another program's");
  std::filesystem::remove(file());
  execute("CREATE TABLE cookies(name TEXT); PRAGMA user_version = 2; PRAGMA application_id = 7");
  expect_refused("another program's");
  std::filesystem::remove(file());
  execute("CREATE TABLE lease(generation INTEGER); PRAGMA user_version = 3; PRAGMA application_id = 0x736c6272");
  expect_refused("version 3");
}

TEST_F(LedgerCareTest, LogOfACrashIsReadAndAGarbledOneRefused) {
  make_ledger();
  leave_log();
  const auto database = text_of(file());
  const auto log = text_of(file() + "-wal");
  EXPECT_THAT(broker().ledger_view().value().quarantines, SizeIs(1)) << "committed is committed";

  const auto again = [&](const std::string& text) {
    write(file(), database);
    std::filesystem::remove(file() + "-shm");
    write(file() + "-wal", text);
  };
  auto garbled = log;
  for (std::size_t i = 0; i < 32; ++i) garbled[i] = static_cast<char>(garbled[i] ^ 0x5a);
  again(garbled);
  expect_refused("no write-ahead log's", "ledger.db-wal");
  garbled = log;
  garbled[20] = static_cast<char>(garbled[20] ^ 1);  // its salt
  again(garbled);
  expect_refused("no write-ahead log's", "ledger.db-wal");
  again(log.substr(0, log.size() - 100));  // as a power failure leaves the last record
  EXPECT_TRUE(ok(broker().ledger_view()));
  again("");
  EXPECT_THAT(broker().ledger_view().value().quarantines, IsEmpty());
}

TEST_F(LedgerCareTest, LogThatWasTakenAwayIsMissed) {
  make_ledger();
  leave_log();
  std::filesystem::remove(file() + "-wal");
  expect_refused("it is gone", "ledger.db-wal");
}

// Damage that a crash can leave is looked for after a crash.
TEST_F(LedgerCareTest, DamagedPageIsFoundAfterACrash) {
  make_ledger();
  leave_log();
  auto text = text_of(file());
  for (std::size_t i = 4096; i < text.size(); i += 4096) text[i] = '\x7f';  // each page's kind
  write(file(), text);
  expect_refused("");
}

TEST_F(LedgerCareTest, FileOrDirectoryThatCanOnlyBeReadIsRefused) {
  make_ledger();
  const bool root = ::geteuid() == 0;
  const auto as_nobody = [&](mode_t directory, mode_t database, const std::string& said) {
    for (const auto& path : {state_.directory(), state_directory(), file()}) {
      ASSERT_EQ(root ? ::chown(path.c_str(), 65534, 65534) : 0, 0);
    }
    ASSERT_EQ(::chmod(file().c_str(), database), 0);
    ASSERT_EQ(::chmod(state_directory().c_str(), directory), 0);
    ASSERT_EQ(root ? ::seteuid(65534) : 0, 0);
    const auto before = text_of(file());
    const auto opened = Ledger::open(state_directory());
    EXPECT_TRUE(fails(opened, ErrorCode::kFailed, "LEDGER_UNUSABLE"));
    if (!opened) {
      EXPECT_TRUE(test::mentions(opened.error(), file())) << to_text(opened.error());
      EXPECT_TRUE(test::mentions(opened.error(), said)) << to_text(opened.error());
      EXPECT_TRUE(test::mentions(opened.error(), "section LEDGER")) << to_text(opened.error());
    }
    EXPECT_TRUE(text_of(file()) == before);
    ASSERT_EQ(root ? ::seteuid(0) : 0, 0);
    ASSERT_EQ(::chmod(state_directory().c_str(), 0700), 0);
    ASSERT_EQ(::chmod(file().c_str(), 0600), 0);
    for (const auto* suffix : {"-wal", "-shm"}) std::filesystem::remove(file() + suffix);
  };
  as_nobody(0700, 0400, "it can only be read");
  as_nobody(0500, 0600, "");
  EXPECT_TRUE(ok(Ledger::open(state_directory())));
}

// Begins leases until the disk is full: the one that does not fit is not there, the others are.
int fill_up(const std::string& directory) {
  auto ledger = Ledger::open(directory);
  if (!ledger) return 2;
  for (int i = 0; i < 10'000; ++i) {
    auto lease = test::mdev_lease();
    lease.slice = std::string(2000, 'x');
    lease.devices = {{"pci:" + std::to_string(i), test::kGpu}};
    const auto view = ledger->read();
    if (!view || view->leases.size() != static_cast<std::size_t>(i)) return 3;
    const auto begun = ledger->begin(lease, view->revision);
    if (begun) continue;
    const bool clear = begun.error().reason == "LEDGER_UNUSABLE" &&
                       begun.error().subject.find("ledger.db") != std::string::npos && !begun.error().hint.empty();
    const auto after = ledger->read();
    if (!after || after->leases.size() != view->leases.size()) return 4;
    return clear && i > 3 ? 0 : 5;
  }
  return 6;
}

int status_of_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST_F(LedgerCareTest, FileThatMayNotGrowIsAClearError) {
  const auto directory = state_directory();
  EXPECT_EQ(status_of_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{256 * 1024, 256 * 1024};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              return fill_up(directory);
            }),
            0);
  EXPECT_TRUE(ok(Ledger::open(directory))) << "and with room again it goes on";
}

TEST_F(LedgerCareTest, FullDiskIsAClearError) {
  constexpr int kNoMount = 77;
  const auto directory = state_.directory() + "/small";
  std::filesystem::create_directory(directory);
  const int status = status_of_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=512k") != 0) {
      return kNoMount;
    }
    return fill_up(directory);
  });
  if (status == kNoMount) GTEST_SKIP() << "mounting a small tmpfs takes root";
  EXPECT_EQ(status, 0);
}

TEST_F(LedgerCareTest, FirstLedgerOnAFullDiskLeavesNothingBehind) {
  EXPECT_EQ(status_of_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{8 * 1024, 8 * 1024};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              const auto opened = Ledger::open(state_directory());
              return fails(opened, ErrorCode::kFailed, "LEDGER_UNUSABLE") && test::mentions(opened.error(), file()) ? 0
                                                                                                                    : 2;
            }),
            0);
  EXPECT_TRUE(std::filesystem::is_empty(state_directory()));
  EXPECT_TRUE(ok(Ledger::open(state_directory())));
}

TEST_F(LedgerCareTest, Version1IsBroughtToTheNewSchema) {
  execute(kVersion1File);
  const auto view = broker().ledger_view();
  ASSERT_TRUE(ok(view));
  ASSERT_THAT(view->leases, SizeIs(1));
  EXPECT_EQ(view->leases[0].owner(), "libvirt:web1");
  EXPECT_EQ(view->leases[0].state, LeaseState::kAttached);
  EXPECT_EQ(view->leases[0].tenant, "");
  EXPECT_EQ(view->leases[0].devices, (std::vector<LeasedDevice>{{"pci:0000:41:00.4", test::kGpu}}));
  auto ledger = this->ledger();
  const auto trail = ledger.audit({}).value();
  ASSERT_THAT(trail, SizeIs(1));
  EXPECT_EQ(trail[0].detail, "schema 1 became 2");
  EXPECT_THAT(ledger.find_damage().value(), IsEmpty());
  EXPECT_TRUE(ok(ledger.end(1, "detached")));
  EXPECT_EQ(test::begin(ledger, test::mdev_lease()).generation, 2);
}

// Killed at any moment of the migration, the file is version 1 with everything in it, and the next one migrates it.
TEST_F(LedgerCareTest, MigrationThatIsKilledLeavesVersion1) {
  execute(kVersion1File);
  const auto old_file = text_of(file());
  EXPECT_EQ(status_of_child([&] {
              sqlite3* database = nullptr;
              sqlite3_open(file().c_str(), &database);
              // The last thing that a migration does before its commit.
              sqlite3_commit_hook(
                  database, [](void*) -> int { ::_exit(9); }, nullptr);
              (void)migrate_schema(database, "");
              return 1;
            }),
            9);
  EXPECT_TRUE(text_of(file()) == old_file);
  ASSERT_THAT(leases(), SizeIs(1));
  EXPECT_THAT(ledger().audit({}).value(), SizeIs(1));
}

TEST_F(LedgerCareTest, MigrationWithoutRoomLeavesVersion1) {
  execute(kVersion1File);
  // Enough for the new index to need more room than there will be.
  execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) "
      "INSERT INTO lease(state, vm, broker_pid, broker_start, boot_id, selector, slice, attachment) "
      "SELECT 'released', 'libvirt:old', 1, 1, '', 'vf=0000:41:00.4', '', '{}' FROM n");
  const auto old_file = text_of(file());
  EXPECT_EQ(status_of_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{34 * 1024, 34 * 1024};  // the log's index takes 32
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              return fails(Ledger::open(state_directory()), ErrorCode::kFailed, "LEDGER_UNUSABLE") ? 0 : 2;
            }),
            0);
  EXPECT_TRUE(text_of(file()) == old_file);
  EXPECT_THAT(leases(), SizeIs(1));
}

TEST_F(LedgerCareTest, BackupIsTheLedgerOfThisMomentAndOverwritesNothing) {
  make_ledger();
  const auto copies = state_.directory() + "/copies";
  std::filesystem::create_directory(copies);
  auto open = this->ledger();  // in use, with a log beside it
  ASSERT_TRUE(ok(open.add_quarantine({{"pci:0000:41:00.4", test::kGpu}, "OPERATOR", "", "", "uid 0"})));
  ASSERT_TRUE(ok(open.back_up(copies + "/ledger.db")));
  struct stat status {};
  ASSERT_EQ(::stat((copies + "/ledger.db").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  const auto copy = text_of(copies + "/ledger.db");
  EXPECT_TRUE(fails(open.back_up(copies + "/ledger.db"), ErrorCode::kRefused, "FILE_EXISTS"));
  EXPECT_TRUE(text_of(copies + "/ledger.db") == copy);
  EXPECT_FALSE(open.back_up(copies + "/nowhere/ledger.db"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(copies), {}), 1) << "no leftovers";
  const auto restored = Ledger::open(copies);
  ASSERT_TRUE(ok(restored));
  EXPECT_THAT(restored->read().value().leases, SizeIs(20));
  EXPECT_THAT(restored->read().value().quarantines, SizeIs(1));
  EXPECT_THAT(restored->find_damage().value(), IsEmpty());
  EXPECT_EQ(restored->verify_audit("").value().head, open.verify_audit("").value().head);
}

TEST_F(LedgerCareTest, WithoutALedgerThereIsNothingToCareFor) {
  const auto none = Ledger::open_for_reading(state_directory()).value();
  EXPECT_FALSE(none.exists());
  EXPECT_THAT(none.find_damage().value(), IsEmpty());
  EXPECT_THAT(none.audit({}).value(), IsEmpty());
  EXPECT_TRUE(fails(none.back_up(state_.directory() + "/copy"), ErrorCode::kNotFound, "NO_LEDGER"));
}

}  // namespace
}  // namespace slicebroker::broker
