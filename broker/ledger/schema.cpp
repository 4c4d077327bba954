// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/schema.h"

#include "broker/ledger/audit.h"

namespace slicebroker::broker {
namespace {

constexpr const char* kVersion1 = R"sql(
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
)sql";

// Records go only where the anchor has gone before, and are never changed.
constexpr const char* kToVersion2 = R"sql(
  ALTER TABLE lease ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
  CREATE INDEX ended_lease ON lease(generation) WHERE state = 'released';

  CREATE TABLE quarantine(
    device     TEXT NOT NULL PRIMARY KEY,
    gpu        TEXT NOT NULL,
    code       TEXT NOT NULL,
    detail     TEXT NOT NULL,
    since      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    by_whom    TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE late_write(
    generation INTEGER NOT NULL REFERENCES lease,
    pid        INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    what       TEXT NOT NULL,
    PRIMARY KEY(generation, pid, start)
  ) STRICT;

  CREATE TABLE reset(
    generation INTEGER NOT NULL REFERENCES lease,
    position   INTEGER NOT NULL,
    function   TEXT NOT NULL,
    demand     TEXT NOT NULL CHECK(demand IN ('none', 'if-able', 'function', 'bus', 'any')),
    state      TEXT NOT NULL CHECK(state IN ('planned', 'started', 'done', 'failed')),
    methods    TEXT NOT NULL DEFAULT '',
    code       TEXT NOT NULL DEFAULT '',
    outcome    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY(generation, position),
    UNIQUE(generation, function)
  ) STRICT;

  CREATE TABLE audit(
    seq        INTEGER PRIMARY KEY,
    time       TEXT NOT NULL,
    boot_id    TEXT NOT NULL,
    uid        INTEGER NOT NULL,
    pid        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    owner      TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    device     TEXT NOT NULL,
    event      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    hash       TEXT NOT NULL
  ) STRICT;
  CREATE TABLE audit_chain(
    anchor_seq  INTEGER NOT NULL,
    anchor_hash TEXT NOT NULL,
    head_seq    INTEGER NOT NULL,
    head_hash   TEXT NOT NULL
  ) STRICT;
  INSERT INTO audit_chain VALUES(0, '', 0, '');
  CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
  CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit WHEN old.seq > (SELECT anchor_seq FROM audit_chain)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
)sql";

// The number of `names` that are tables.
Result<std::int64_t> count_tables(sqlite3* database, const std::string& names) {
  return read_number(database, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (" + names + ")");
}

Result<void> write_version(sqlite3* database) {
  const std::string sql = "PRAGMA application_id = " + std::to_string(kApplicationId) +
                          "; PRAGMA user_version = " + std::to_string(kSchemaVersion);
  return execute(database, sql.c_str(), "make the ledger");
}

Result<void> first_record(sqlite3* database, const std::string& boot_id, const std::string& detail) {
  AuditRecord record;
  record.boot_id = boot_id;
  record.event = "ledger.made";
  record.detail = detail;
  return append_audit(database, std::move(record));
}

}  // namespace

Result<std::int64_t> read_schema(sqlite3* database) {
  SLICEBROKER_TRY(const auto version, read_number(database, "PRAGMA user_version"));
  SLICEBROKER_TRY(const auto application, read_number(database, "PRAGMA application_id"));
  SLICEBROKER_TRY(const auto tables, count_tables(database, "'lease', 'lease_device', 'step', 'revision'"));
  // Version 1 had no application id.
  const bool ours = version == 1 ? application == 0 && tables == 4 : application == kApplicationId;
  const std::string path = sqlite3_db_filename(database, "main");
  if (!ours || version < 1) return fail(unusable(path, "it is another program's database"));
  if (version > kSchemaVersion) {
    return fail(ledger_error("LEDGER_UNUSABLE", path,
                             "its schema is version " + std::to_string(version) + " and this program knows " +
                                 std::to_string(kSchemaVersion),
                             "use the slicebroker that wrote it; " + std::string(kWayOut)));
  }
  if (tables != 4) return fail(unusable(path, "it is damaged: tables are missing"));
  return version;
}

Result<void> make_schema(sqlite3* database, const std::string& boot_id) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database, "make the ledger"));
  SLICEBROKER_CHECK(execute(database, kVersion1, "make the ledger"));
  SLICEBROKER_CHECK(execute(database, kToVersion2, "make the ledger"));
  SLICEBROKER_CHECK(write_version(database));
  SLICEBROKER_CHECK(first_record(database, boot_id, "schema " + std::to_string(kSchemaVersion)));
  return transaction.commit();
}

Result<void> migrate_schema(sqlite3* database, const std::string& boot_id) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database, "bring the ledger to the new schema"));
  SLICEBROKER_TRY(const auto version, read_schema(database));
  if (version == kSchemaVersion) return {};  // another process was first
  SLICEBROKER_CHECK(execute(database, kToVersion2, "bring the ledger to the new schema"));
  SLICEBROKER_CHECK(write_version(database));
  SLICEBROKER_CHECK(first_record(database, boot_id, "schema 1 became " + std::to_string(kSchemaVersion)));
  return transaction.commit();
}

}  // namespace slicebroker::broker
