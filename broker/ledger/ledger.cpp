// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "broker/ledger/record.h"
#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {
namespace {

constexpr std::int64_t kSchemaVersion = 1;
constexpr int kBusyMs = 10'000;  // transactions last well below a millisecond; this outlasts a hundred of them

constexpr const char* kSchema = R"sql(
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
)sql";

Error ledger_error(std::string code, std::string subject, std::string fact, std::string hint) {
  Error error;
  error.reason = std::move(code);
  error.tried = "use the ledger";
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Result<std::int64_t> read_number(sqlite3* database, std::string_view sql) {
  SLICEBROKER_TRY(auto query, Statement::prepare(database, sql, "read the ledger"));
  SLICEBROKER_TRY(const bool row, query.next());
  return row ? query.number(0) : 0;
}

// Whether the file is ours already (false: it is empty). Another program's database and a newer version's ledger are
// refused before anything is written.
Result<bool> check_schema(sqlite3* database) {
  SLICEBROKER_TRY(const auto version, read_number(database, "PRAGMA user_version"));
  SLICEBROKER_TRY(const auto tables, read_number(database, "SELECT count(*) FROM sqlite_master"));
  if (version == kSchemaVersion) return true;
  if (version == 0 && tables == 0) return false;
  return fail(ledger_error("LEDGER_UNUSABLE", sqlite3_db_filename(database, "main"),
                           version == 0 ? "it is another program's database"
                                        : "its schema is version " + std::to_string(version) +
                                              " and this program knows " + std::to_string(kSchemaVersion),
                           "use the slicebroker that wrote it, or name another directory with --state"));
}

Result<void> prepare_schema(sqlite3* database) {
  SLICEBROKER_CHECK(execute(database, "PRAGMA foreign_keys = ON", "open the ledger"));
  SLICEBROKER_TRY(bool ours, check_schema(database));
  SLICEBROKER_CHECK(execute(database, "PRAGMA journal_mode = WAL", "open the ledger"));
  SLICEBROKER_CHECK(execute(database, "PRAGMA synchronous = FULL", "open the ledger"));
  if (ours) return {};
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database, "make the ledger"));
  SLICEBROKER_TRY(ours, check_schema(database));  // another process may have been first
  if (ours) return {};
  SLICEBROKER_CHECK(execute(database, kSchema, "make the ledger"));
  return transaction.commit();
}

Result<void> add_devices(sqlite3* database, const Lease& lease) {
  for (const auto& device : lease.devices) {
    SLICEBROKER_TRY(auto insert,
                    Statement::prepare(database, "INSERT INTO lease_device(generation, device, gpu) VALUES(?, ?, ?)",
                                       "record the leased devices"));
    auto done = insert.bind(lease.generation).bind(device.device).bind(device.gpu.to_string()).run();
    if (done) continue;
    if (sqlite3_errcode(database) != SQLITE_CONSTRAINT) return done;
    Error error = ledger_error("LEASED", device.device, "another VM has leased it meanwhile", "");
    error.code = ErrorCode::kHeld;
    return fail(std::move(error));
  }
  return {};
}

Result<void> add_steps(sqlite3* database, const Lease& lease) {
  for (std::size_t i = 0; i < lease.steps.size(); ++i) {
    const auto& step = lease.steps[i];
    SLICEBROKER_TRY(auto insert, Statement::prepare(
                                     database,
                                     "INSERT INTO step(generation, position, kind, fields, before, already_so, state) "
                                     "VALUES(?, ?, ?, ?, ?, ?, ?)",
                                     "record the steps"));
    SLICEBROKER_CHECK(insert.bind(lease.generation)
                          .bind(static_cast<std::int64_t>(i))
                          .bind(kind(step.step))
                          .bind(fields_text(fields(step.step)))
                          .bind(fields_text(step.before))
                          .bind(static_cast<std::int64_t>(step.already_so))
                          .bind(name(step.state))
                          .run());
  }
  return {};
}

Result<std::int64_t> add_lease(sqlite3* database, const Lease& lease) {
  SLICEBROKER_TRY(
      auto insert,
      Statement::prepare(
          database,
          "INSERT INTO lease(state, vm, vm_uuid, broker_pid, broker_start, boot_id, selector, slice, attachment) "
          "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
          "record the lease"));
  const auto vm_uuid = lease.vm_uuid ? std::optional(lease.vm_uuid->to_string()) : std::nullopt;
  SLICEBROKER_CHECK(insert.bind(name(lease.state))
                        .bind(lease.vm.to_string())
                        .bind_optional(vm_uuid)
                        .bind(std::int64_t{lease.broker.pid})
                        .bind(static_cast<std::int64_t>(lease.broker.start_time))
                        .bind(lease.boot_id)
                        .bind(lease.selector)
                        .bind(lease.slice)
                        .bind(attachment_text(lease.attachment))
                        .run());
  return sqlite3_last_insert_rowid(database);
}

Result<void> bump_revision(sqlite3* database) {
  return execute(database, "UPDATE revision SET number = number + 1", "record the lease");
}

Result<void> read_devices(sqlite3* database, Lease& lease) {
  SLICEBROKER_TRY(auto query, Statement::prepare(
                                  database, "SELECT device, gpu FROM lease_device WHERE generation = ? ORDER BY rowid",
                                  "read the leased devices"));
  query.bind(lease.generation);
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return {};
    const auto gpu = PciAddress::parse(query.text(1));
    if (!gpu) return fail(malformed_record("lease_device.gpu", query.text(1)));
    lease.devices.push_back({query.text(0), *gpu});
  }
}

Result<void> read_steps(sqlite3* database, Lease& lease) {
  SLICEBROKER_TRY(
      auto query,
      Statement::prepare(
          database, "SELECT kind, fields, before, already_so, state FROM step WHERE generation = ? ORDER BY position",
          "read the steps"));
  query.bind(lease.generation);
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return {};
    SLICEBROKER_TRY(const auto step_fields, parse_fields(query.text(1)));
    SLICEBROKER_TRY(auto step, vfio::step_from(query.text(0), step_fields));
    SLICEBROKER_TRY(auto before, parse_fields(query.text(2)));
    const auto state = parse_step_state(query.text(4));
    if (!state) return fail(malformed_record("step.state", query.text(4)));
    lease.steps.push_back({std::move(step), std::move(before), query.number(3) != 0, *state});
  }
}

constexpr std::string_view kLeaseColumns =
    "SELECT generation, state, vm, vm_uuid, vmm_pid, vmm_start, broker_pid, broker_start, boot_id, selector, slice, "
    "attachment, guest_address, created_at, note FROM lease WHERE state <> 'released' ORDER BY generation";

std::optional<vfio::ProcessIdentity> process_at(const Statement& row, int column) {
  if (row.number(column) == 0) return std::nullopt;
  return vfio::ProcessIdentity{static_cast<pid_t>(row.number(column)),
                               static_cast<std::uint64_t>(row.number(column + 1))};
}

Result<Lease> read_lease(const Statement& row) {
  Lease lease;
  lease.generation = row.number(0);
  const auto state = parse_lease_state(row.text(1));
  if (!state) return fail(malformed_record("lease.state", row.text(1)));
  lease.state = *state;
  SLICEBROKER_TRY(lease.vm, hypervisors::VmReference::parse(row.text(2)));
  if (!row.is_null(3)) lease.vm_uuid = Uuid::parse(row.text(3));
  lease.vmm = process_at(row, 4);
  lease.broker = process_at(row, 6).value_or(vfio::ProcessIdentity{});
  lease.boot_id = row.text(8);
  lease.selector = row.text(9);
  lease.slice = row.text(10);
  SLICEBROKER_TRY(lease.attachment, parse_attachment(row.text(11)));
  lease.guest_address = row.text(12);
  lease.created_at = row.text(13);
  lease.note = row.text(14);
  return lease;
}

// Runs an UPDATE that must change exactly one lease.
Result<void> update_lease(sqlite3* database, Statement& update, std::int64_t generation) {
  SLICEBROKER_CHECK(update.run());
  if (sqlite3_changes(database) == 1) return {};
  return fail(ledger_error("STALE_LEASE", "lease " + std::to_string(generation),
                           "it ended or moved on meanwhile: another slicebroker worked on it",
                           "look again: slicebroker list leases"));
}

}  // namespace

void Ledger::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}
Ledger::Ledger(std::unique_ptr<sqlite3, Close> database) : database_(std::move(database)) {}
Ledger::Ledger(Ledger&&) noexcept = default;
Ledger& Ledger::operator=(Ledger&&) noexcept = default;
Ledger::~Ledger() = default;

Result<Ledger> Ledger::open(const std::string& directory) {
  std::error_code failed;
  const bool made = std::filesystem::create_directories(directory, failed);
  if (failed) {
    return fail(ledger_error("LEDGER_UNUSABLE", directory, "the directory can't be made: " + failed.message(),
                             "run as root, or name another one with --state"));
  }
  if (made) ::chmod(directory.c_str(), S_IRWXU);
  const std::string path = directory + "/ledger.db";
  const mode_t mask = ::umask(S_IRWXG | S_IRWXO);
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  ::umask(mask);
  std::unique_ptr<sqlite3, Close> database(raw);
  if (code != SQLITE_OK) {
    Error error = sqlite_error(raw, "open the ledger", code);
    error.subject = path;
    return fail(std::move(error));
  }
  sqlite3_extended_result_codes(raw, 0);
  sqlite3_busy_timeout(raw, kBusyMs);
  SLICEBROKER_CHECK(prepare_schema(raw));
  return Ledger(std::move(database));
}

Result<Ledger> Ledger::open_for_reading(const std::string& directory) {
  std::error_code failed;
  if (std::filesystem::exists(directory + "/ledger.db", failed)) return open(directory);
  if (!failed) return Ledger(nullptr);
  return fail(ledger_error("LEDGER_UNUSABLE", directory, "it can't be looked into: " + failed.message(),
                           "run as root, or name another one with --state"));
}

Result<LedgerView> Ledger::read() const {
  LedgerView view;
  if (!database_) return view;
  // One read transaction, so that the leases and the revision belong together.
  SLICEBROKER_CHECK(execute(database_.get(), "BEGIN", "read the ledger"));
  const auto read_all = [&]() -> Result<void> {
    SLICEBROKER_TRY(view.revision, read_number(database_.get(), "SELECT number FROM revision"));
    SLICEBROKER_TRY(auto query, Statement::prepare(database_.get(), kLeaseColumns, "read the leases"));
    while (true) {
      SLICEBROKER_TRY(const bool row, query.next());
      if (!row) return {};
      SLICEBROKER_TRY(auto lease, read_lease(query));
      SLICEBROKER_CHECK(read_devices(database_.get(), lease));
      SLICEBROKER_CHECK(read_steps(database_.get(), lease));
      view.leases.push_back(std::move(lease));
    }
  };
  auto result = read_all();
  SLICEBROKER_CHECK(execute(database_.get(), "COMMIT", "read the ledger"));
  if (!result) return fail(std::move(result).error());
  return view;
}

Result<Lease> Ledger::begin(Lease lease, std::int64_t revision) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the lease"));
  SLICEBROKER_TRY(const auto now, read_number(database_.get(), "SELECT number FROM revision"));
  if (now != revision) {
    return fail(ledger_error("LEDGER_MOVED_ON", "ledger", "another lease began or ended meanwhile", "repeat"));
  }
  SLICEBROKER_TRY(lease.generation, add_lease(database_.get(), lease));
  if (lease.attachment.id.empty()) {
    lease.attachment.id = "slicebroker-" + std::to_string(lease.generation);
    SLICEBROKER_TRY(auto update,
                    Statement::prepare(database_.get(), "UPDATE lease SET attachment = ? WHERE generation = ?",
                                       "record the lease"));
    SLICEBROKER_CHECK(update.bind(attachment_text(lease.attachment)).bind(lease.generation).run());
  }
  SLICEBROKER_CHECK(add_devices(database_.get(), lease));
  SLICEBROKER_CHECK(add_steps(database_.get(), lease));
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  SLICEBROKER_CHECK(transaction.commit());
  return lease;
}

Result<void> Ledger::set_step_state(std::int64_t generation, std::size_t position, StepState state) {
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE step SET state = ? WHERE generation = ? AND position = ? AND EXISTS("
                                     "SELECT 1 FROM lease WHERE lease.generation = step.generation AND "
                                     "lease.state <> 'released')",
                                     "record a step's progress"));
  update.bind(name(state)).bind(generation).bind(static_cast<std::int64_t>(position));
  return update_lease(database_.get(), update, generation);
}

Result<void> Ledger::move(std::int64_t generation, LeaseState from, LeaseState to) {
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(), "UPDATE lease SET state = ? WHERE generation = ? AND state = ?",
                                     "record the lease's state"));
  update.bind(name(to)).bind(generation).bind(name(from));
  return update_lease(database_.get(), update, generation);
}

Result<void> Ledger::set_attached(std::int64_t generation, const std::string& guest_address,
                                  const std::optional<vfio::ProcessIdentity>& vmm) {
  SLICEBROKER_TRY(auto update, Statement::prepare(
                                   database_.get(),
                                   "UPDATE lease SET state = 'attached', guest_address = ?, vmm_pid = ?, vmm_start = ? "
                                   "WHERE generation = ? AND state = 'prepared'",
                                   "record the attachment"));
  const auto identity = vmm.value_or(vfio::ProcessIdentity{});
  update.bind(guest_address)
      .bind(std::int64_t{identity.pid})
      .bind(static_cast<std::int64_t>(identity.start_time))
      .bind(generation);
  return update_lease(database_.get(), update, generation);
}

Result<void> Ledger::claim(Lease& lease, const vfio::ProcessIdentity& broker) {
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE lease SET state = 'releasing', broker_pid = ?, broker_start = "
                                     "? WHERE generation = ? AND state = ? AND broker_pid = ? AND "
                                     "broker_start = ? AND state <> 'released'",
                                     "claim the lease"));
  update.bind(std::int64_t{broker.pid})
      .bind(static_cast<std::int64_t>(broker.start_time))
      .bind(lease.generation)
      .bind(name(lease.state))
      .bind(std::int64_t{lease.broker.pid})
      .bind(static_cast<std::int64_t>(lease.broker.start_time));
  SLICEBROKER_CHECK(update_lease(database_.get(), update, lease.generation));
  lease.state = LeaseState::kReleasing;
  lease.broker = broker;
  return {};
}

Result<void> Ledger::end(std::int64_t generation, const std::string& note) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "end the lease"));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(
                      database_.get(),
                      "UPDATE lease SET state = 'released', note = ?, ended_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') "
                      "WHERE generation = ? AND state <> 'released'",
                      "end the lease"));
  update.bind(note).bind(generation);
  SLICEBROKER_CHECK(update_lease(database_.get(), update, generation));
  SLICEBROKER_TRY(auto release,
                  Statement::prepare(database_.get(), "UPDATE lease_device SET released = 1 WHERE generation = ?",
                                     "free the leased devices"));
  SLICEBROKER_CHECK(release.bind(generation).run());
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  return transaction.commit();
}

}  // namespace slicebroker::broker
