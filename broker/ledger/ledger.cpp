// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger.h"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "broker/ledger/lease_table.h"
#include "broker/ledger/ledger_file.h"
#include "broker/ledger/record.h"

namespace slicebroker::broker {
namespace {

Result<void> bump_revision(sqlite3* database) {
  return execute(database, "UPDATE revision SET number = number + 1", "record the lease");
}

// A caller that would break the life of a lease is wrong, and whatever it did next would be, too.
void require_transition(LeaseState from, LeaseState to) {
  if (may_move(from, to)) return;
  const std::string text =
      "slicebroker: bug: a lease can't go from " + std::string(name(from)) + " to " + std::string(name(to)) + "\n";
  std::fputs(text.c_str(), stderr);
  std::abort();
}

Result<LeaseState> read_state(sqlite3* database, std::int64_t generation) {
  SLICEBROKER_TRY(auto query, Statement::prepare(database, "SELECT state FROM lease WHERE generation = ?",
                                                 "read the lease's state"));
  SLICEBROKER_TRY(const bool row, query.bind(generation).next());
  if (!row) return fail(stale_lease(generation));
  const auto state = parse_lease_state(query.text(0));
  if (!state) return fail(malformed_record("lease.state", query.text(0)));
  return *state;
}

Result<void> update_state(sqlite3* database, std::int64_t generation, LeaseState from, LeaseState to) {
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database, "UPDATE lease SET state = ? WHERE generation = ? AND state = ?",
                                     "record the lease's state"));
  update.bind(name(to)).bind(generation).bind(name(from));
  return update_one(database, update, generation);
}

// The step's description, for the record of its progress.
Result<std::string> describe_step(sqlite3* database, std::int64_t generation, std::int64_t position) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, "SELECT kind, fields FROM step WHERE generation = ? AND position = ?",
                                     "read the step"));
  SLICEBROKER_TRY(const bool row, query.bind(generation).bind(position).next());
  if (!row) return fail(stale_lease(generation));
  SLICEBROKER_TRY(const auto fields, parse_fields(query.text(1)));
  SLICEBROKER_TRY(const auto step, vfio::step_from(query.text(0), fields));
  return describe(step);
}

Result<void> free_devices(sqlite3* database, std::int64_t generation) {
  SLICEBROKER_TRY(auto release,
                  Statement::prepare(database, "UPDATE lease_device SET released = 1 WHERE generation = ?",
                                     "free the leased devices"));
  return release.bind(generation).run();
}

}  // namespace

void Ledger::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}
Ledger::Ledger(std::unique_ptr<sqlite3, Close> database, const LedgerOptions& options)
    : database_(std::move(database)), options_(options) {}
Ledger::Ledger(Ledger&&) noexcept = default;
Ledger& Ledger::operator=(Ledger&&) noexcept = default;
Ledger::~Ledger() = default;

Result<Ledger> Ledger::open(const std::string& directory, const LedgerOptions& options) {
  std::error_code failed;
  const bool made = std::filesystem::create_directories(directory, failed);
  if (failed) {
    return fail(ledger_error("LEDGER_UNUSABLE", directory, "the directory can't be made: " + failed.message(),
                             "run as root, or name another one with --state"));
  }
  if (made) ::chmod(directory.c_str(), S_IRWXU);
  const std::string path = directory + "/ledger.db";
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 && errno == ENOENT) {
    SLICEBROKER_CHECK(make_ledger_file(directory, options.boot_id));
  }
  SLICEBROKER_TRY(auto database, open_ledger_file(path, Access::kWrite, options.boot_id));
  return Ledger(std::unique_ptr<sqlite3, Close>(database.release()), options);
}

Result<Ledger> Ledger::open_for_reading(const std::string& directory, const LedgerOptions& options) {
  const std::string path = directory + "/ledger.db";
  std::error_code failed;
  const bool there = std::filesystem::symlink_status(path, failed).type() != std::filesystem::file_type::not_found;
  if (failed && there) {
    return fail(ledger_error("LEDGER_UNUSABLE", directory, "it can't be looked into: " + failed.message(),
                             "run as root, or name another one with --state"));
  }
  if (!there) return Ledger(nullptr, options);
  SLICEBROKER_TRY(auto database, open_ledger_file(path, Access::kRead, options.boot_id));
  return Ledger(std::unique_ptr<sqlite3, Close>(database.release()), options);
}

std::vector<Hold> holds_of(const LedgerView& view) {
  std::vector<Hold> holds;
  for (const auto& quarantine : view.quarantines) holds.push_back(hold_of(quarantine));
  for (auto& hold : holds_of(view.leases)) holds.push_back(std::move(hold));
  return holds;
}

Result<LedgerView> Ledger::read() const {
  LedgerView view;
  if (!database_) return view;
  // One read transaction, so that the leases and the revision belong together.
  SLICEBROKER_TRY(const auto together, ReadTransaction::begin(database_.get()));
  SLICEBROKER_TRY(view.revision, read_number(database_.get(), "SELECT number FROM revision"));
  SLICEBROKER_TRY(view.leases, read_active_leases(database_.get()));
  SLICEBROKER_TRY(view.quarantines, read_quarantines(database_.get()));
  return view;
}

Result<std::optional<Lease>> Ledger::find(std::int64_t generation) const {
  if (!database_) return std::optional<Lease>();
  SLICEBROKER_TRY(const auto together, ReadTransaction::begin(database_.get()));
  return find_lease(database_.get(), generation);
}

Result<void> Ledger::note(AuditRecord record, std::string event, std::string detail) const {
  record.boot_id = options_.boot_id;
  record.event = std::move(event);
  record.detail = std::move(detail);
  return append_audit(database_.get(), std::move(record));
}

Result<void> Ledger::note_move(std::int64_t generation, LeaseState from, LeaseState to, const std::string& why) const {
  SLICEBROKER_TRY(auto record, audit_record_of(database_.get(), generation));
  const std::string way = std::string(name(from)) + " -> " + std::string(name(to));
  return note(std::move(record), to == LeaseState::kReleased ? "lease.ended" : "lease.state",
              way + (why.empty() ? "" : ": " + why));
}

Result<Lease> Ledger::begin(Lease lease, std::int64_t revision) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the lease"));
  SLICEBROKER_TRY(const auto now, read_number(database_.get(), "SELECT number FROM revision"));
  if (now != revision) {
    return fail(ledger_error("LEDGER_MOVED_ON", "ledger", "another lease began or ended meanwhile", "repeat"));
  }
  SLICEBROKER_TRY(lease.generation, insert_lease(database_.get(), lease));
  if (lease.attachment.id.empty()) {
    lease.attachment.id = "slicebroker-" + std::to_string(lease.generation);
    SLICEBROKER_TRY(auto update,
                    Statement::prepare(database_.get(), "UPDATE lease SET attachment = ? WHERE generation = ?",
                                       "record the lease"));
    SLICEBROKER_CHECK(update.bind(attachment_text(lease.attachment)).bind(lease.generation).run());
  }
  SLICEBROKER_TRY(auto record, audit_record_of(database_.get(), lease.generation));
  SLICEBROKER_CHECK(note(std::move(record), "lease.begun", lease.selector + ": " + lease.slice));
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  SLICEBROKER_CHECK(transaction.commit());
  return lease;
}

Result<void> Ledger::set_step_state(std::int64_t generation, std::size_t position, StepState state) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record a step's progress"));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE step SET state = ? WHERE generation = ? AND position = ? AND EXISTS("
                                     "SELECT 1 FROM lease WHERE lease.generation = step.generation AND "
                                     "lease.state <> 'released')",
                                     "record a step's progress"));
  const auto place = static_cast<std::int64_t>(position);
  update.bind(name(state)).bind(generation).bind(place);
  SLICEBROKER_CHECK(update_one(database_.get(), update, generation));
  SLICEBROKER_TRY(auto record, audit_record_of(database_.get(), generation));
  SLICEBROKER_TRY(auto description, describe_step(database_.get(), generation, place));
  SLICEBROKER_CHECK(note(std::move(record), "step." + std::string(name(state)), std::move(description)));
  return transaction.commit();
}

Result<void> Ledger::set_prepared(const Lease& lease) {
  constexpr auto kFrom = LeaseState::kPreparing, kTo = LeaseState::kPrepared;
  static_assert(may_move(kFrom, kTo));
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the lease's state"));
  SLICEBROKER_CHECK(update_state(database_.get(), lease.generation, kFrom, kTo));
  SLICEBROKER_CHECK(insert_resets(database_.get(), lease));
  SLICEBROKER_CHECK(note_move(lease.generation, kFrom, kTo, ""));
  return transaction.commit();
}

Result<void> Ledger::set_reset(std::int64_t generation, const DeviceReset& reset) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record a reset"));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE reset SET state = ?, methods = ?, code = ?, outcome = ? WHERE "
                                     "generation = ? AND function = ? AND EXISTS(SELECT 1 FROM lease WHERE "
                                     "lease.generation = reset.generation AND lease.state <> 'released')",
                                     "record a reset"));
  update.bind(name(reset.state))
      .bind(reset.methods)
      .bind(reset.code)
      .bind(reset.outcome)
      .bind(generation)
      .bind(reset.function.to_string());
  SLICEBROKER_CHECK(update_one(database_.get(), update, generation));
  SLICEBROKER_TRY(auto record, audit_record_of(database_.get(), generation));
  std::string detail = reset.function.to_string() + " " + std::string(name(reset.state));
  if (!reset.code.empty()) detail += ": " + reset.code;
  if (!reset.outcome.empty()) detail += ": " + reset.outcome;
  SLICEBROKER_CHECK(note(std::move(record), "device.reset", std::move(detail)));
  return transaction.commit();
}

Result<void> Ledger::move(std::int64_t generation, LeaseState from, LeaseState to, const std::string& why) {
  require_transition(from, to);
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the lease's state"));
  SLICEBROKER_CHECK(update_state(database_.get(), generation, from, to));
  SLICEBROKER_CHECK(note_move(generation, from, to, why));
  return transaction.commit();
}

Result<void> Ledger::set_attached(std::int64_t generation, const std::string& guest_address,
                                  const std::optional<vfio::ProcessIdentity>& vmm, const std::string& why) {
  constexpr auto kFrom = LeaseState::kPrepared, kTo = LeaseState::kAttached;
  static_assert(may_move(kFrom, kTo));
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the attachment"));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE lease SET state = ?, guest_address = ?, vmm_pid = ?, vmm_start = ? "
                                     "WHERE generation = ? AND state = ?",
                                     "record the attachment"));
  const auto identity = vmm.value_or(vfio::ProcessIdentity{});
  update.bind(name(kTo))
      .bind(guest_address)
      .bind(std::int64_t{identity.pid})
      .bind(static_cast<std::int64_t>(identity.start_time))
      .bind(generation)
      .bind(name(kFrom));
  SLICEBROKER_CHECK(update_one(database_.get(), update, generation));
  SLICEBROKER_CHECK(note_move(generation, kFrom, kTo, why));
  return transaction.commit();
}

Result<void> Ledger::claim(Lease& lease, const vfio::ProcessIdentity& broker, const std::string& why) {
  require_transition(lease.state, LeaseState::kReleasing);
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "claim the lease"));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database_.get(),
                                     "UPDATE lease SET state = 'releasing', broker_pid = ?, broker_start = ? "
                                     "WHERE generation = ? AND state = ? AND broker_pid = ? AND broker_start = ?",
                                     "claim the lease"));
  update.bind(std::int64_t{broker.pid})
      .bind(static_cast<std::int64_t>(broker.start_time))
      .bind(lease.generation)
      .bind(name(lease.state))
      .bind(std::int64_t{lease.broker.pid})
      .bind(static_cast<std::int64_t>(lease.broker.start_time));
  SLICEBROKER_CHECK(update_one(database_.get(), update, lease.generation));
  SLICEBROKER_CHECK(note_move(lease.generation, lease.state, LeaseState::kReleasing, why));
  SLICEBROKER_CHECK(transaction.commit());
  lease.state = LeaseState::kReleasing;
  lease.broker = broker;
  return {};
}

Result<void> Ledger::end(std::int64_t generation, const std::string& note) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "end the lease"));
  SLICEBROKER_TRY(const auto from, read_state(database_.get(), generation));
  if (from == LeaseState::kReleased) return fail(stale_lease(generation));
  require_transition(from, LeaseState::kReleased);
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(
                      database_.get(),
                      "UPDATE lease SET state = 'released', note = ?, ended_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') "
                      "WHERE generation = ? AND state = ?",
                      "end the lease"));
  update.bind(note).bind(generation).bind(name(from));
  SLICEBROKER_CHECK(update_one(database_.get(), update, generation));
  SLICEBROKER_CHECK(free_devices(database_.get(), generation));
  SLICEBROKER_CHECK(note_move(generation, from, LeaseState::kReleased, note));
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  SLICEBROKER_CHECK(prune_leases(database_.get(), options_.most_ended_leases));
  SLICEBROKER_CHECK(prune_audit(database_.get(), options_.most_audit_records));
  return transaction.commit();
}

Result<void> Ledger::add_late_write(std::int64_t generation, const LateWrite& write) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "record the late write"));
  SLICEBROKER_TRY(auto record, audit_record_of(database_.get(), generation));
  SLICEBROKER_TRY(auto insert, Statement::prepare(database_.get(),
                                                  "INSERT OR IGNORE INTO late_write(generation, pid, start, what) "
                                                  "VALUES(?, ?, ?, ?)",
                                                  "record the late write"));
  SLICEBROKER_CHECK(insert.bind(generation)
                        .bind(std::int64_t{write.process.pid})
                        .bind(static_cast<std::int64_t>(write.process.start_time))
                        .bind(write.what)
                        .run());
  SLICEBROKER_CHECK(
      note(std::move(record), "step.late", "process " + std::to_string(write.process.pid) + ": " + write.what));
  return transaction.commit();
}

Result<bool> Ledger::add_quarantine(const Quarantine& quarantine) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "quarantine the device"));
  SLICEBROKER_TRY(auto insert,
                  Statement::prepare(database_.get(),
                                     "INSERT OR IGNORE INTO quarantine(device, gpu, code, detail, by_whom, "
                                     "generation) VALUES(?, ?, ?, ?, ?, ?)",
                                     "quarantine the device"));
  SLICEBROKER_CHECK(insert.bind(quarantine.device.device)
                        .bind(quarantine.device.gpu.to_string())
                        .bind(quarantine.code)
                        .bind(quarantine.detail)
                        .bind(quarantine.by)
                        .bind(quarantine.generation)
                        .run());
  if (sqlite3_changes(database_.get()) == 0) return false;
  AuditRecord record;
  record.device = quarantine.device.device;
  SLICEBROKER_CHECK(note(std::move(record), "quarantine.added",
                         quarantine.code + (quarantine.detail.empty() ? "" : ": " + quarantine.detail)));
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  SLICEBROKER_CHECK(transaction.commit());
  return true;
}

Result<bool> Ledger::clear_quarantine(const std::string& device) {
  SLICEBROKER_TRY(auto transaction, Transaction::begin(database_.get(), "clear the quarantine"));
  SLICEBROKER_TRY(auto remove, Statement::prepare(database_.get(), "DELETE FROM quarantine WHERE device = ?",
                                                  "clear the quarantine"));
  SLICEBROKER_CHECK(remove.bind(device).run());
  if (sqlite3_changes(database_.get()) == 0) return false;
  AuditRecord record;
  record.device = device;
  SLICEBROKER_CHECK(note(std::move(record), "quarantine.cleared", ""));
  SLICEBROKER_CHECK(bump_revision(database_.get()));
  SLICEBROKER_CHECK(transaction.commit());
  return true;
}

}  // namespace slicebroker::broker
