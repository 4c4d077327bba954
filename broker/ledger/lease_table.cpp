// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/lease_table.h"

#include "broker/ledger/record.h"

namespace slicebroker::broker {
namespace {

// Whatever the resolver thought: what is quarantined, or a part of a GPU that is, begins no lease.
Result<void> check_quarantine(sqlite3* database, const LeasedDevice& device) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, "SELECT device, code, detail FROM quarantine WHERE device IN (?, ?)",
                                     "look for quarantines"));
  SLICEBROKER_TRY(const bool row, query.bind(device.device).bind(device_key(device.gpu)).next());
  if (!row) return {};
  Error error = ledger_error("QUARANTINED", query.text(0), query.text(1) + ": " + query.text(2),
                             "look at it, then: slicebroker quarantine clear " + query.text(0));
  error.code = ErrorCode::kRefused;
  return fail(std::move(error));
}

Result<void> add_devices(sqlite3* database, const Lease& lease) {
  for (const auto& device : lease.devices) {
    SLICEBROKER_CHECK(check_quarantine(database, device));
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

Result<void> read_resets(sqlite3* database, Lease& lease) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database,
                                     "SELECT function, demand, state, methods, code, outcome FROM reset WHERE "
                                     "generation = ? ORDER BY position",
                                     "read the resets"));
  query.bind(lease.generation);
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return {};
    const auto function = PciAddress::parse(query.text(0));
    const auto demand = parse_reset_demand(query.text(1));
    const auto state = parse_reset_state(query.text(2));
    if (!function) return fail(malformed_record("reset.function", query.text(0)));
    if (!demand) return fail(malformed_record("reset.demand", query.text(1)));
    if (!state) return fail(malformed_record("reset.state", query.text(2)));
    lease.resets.push_back({*function, *demand, *state, query.text(3), query.text(4), query.text(5)});
  }
}

Result<void> read_late_writes(sqlite3* database, Lease& lease) {
  SLICEBROKER_TRY(auto query, Statement::prepare(
                                  database, "SELECT pid, start, what FROM late_write WHERE generation = ? ORDER BY pid",
                                  "read the late writes"));
  query.bind(lease.generation);
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return {};
    lease.late_writes.push_back(
        {{static_cast<pid_t>(query.number(0)), static_cast<std::uint64_t>(query.number(1))}, query.text(2)});
  }
}

constexpr std::string_view kLeaseColumns =
    "SELECT generation, state, vm, vm_uuid, vmm_pid, vmm_start, broker_pid, broker_start, boot_id, selector, slice, "
    "attachment, guest_address, created_at, note, tenant, ended_at FROM lease ";

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
  const auto vm = hypervisors::VmReference::parse(row.text(2));
  if (!vm) return fail(malformed_record("lease.vm", row.text(2)));
  lease.vm = *vm;
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
  lease.tenant = row.text(15);
  lease.ended_at = row.text(16);
  return lease;
}

Result<std::vector<Lease>> read_leases(sqlite3* database, Statement query) {
  std::vector<Lease> leases;
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return leases;
    SLICEBROKER_TRY(auto lease, read_lease(query));
    SLICEBROKER_CHECK(read_devices(database, lease));
    SLICEBROKER_CHECK(read_steps(database, lease));
    SLICEBROKER_CHECK(read_resets(database, lease));
    SLICEBROKER_CHECK(read_late_writes(database, lease));
    leases.push_back(std::move(lease));
  }
}

}  // namespace

Result<std::int64_t> insert_lease(sqlite3* database, const Lease& lease) {
  SLICEBROKER_TRY(auto insert,
                  Statement::prepare(database,
                                     "INSERT INTO lease(state, vm, vm_uuid, vmm_pid, vmm_start, broker_pid, "
                                     "broker_start, boot_id, tenant, selector, slice, attachment) "
                                     "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                     "record the lease"));
  const auto vm_uuid = lease.vm_uuid ? std::optional(lease.vm_uuid->to_string()) : std::nullopt;
  const auto vmm = lease.vmm.value_or(vfio::ProcessIdentity{});
  SLICEBROKER_CHECK(insert.bind(name(lease.state))
                        .bind(lease.vm.to_string())
                        .bind_optional(vm_uuid)
                        .bind(std::int64_t{vmm.pid})
                        .bind(static_cast<std::int64_t>(vmm.start_time))
                        .bind(std::int64_t{lease.broker.pid})
                        .bind(static_cast<std::int64_t>(lease.broker.start_time))
                        .bind(lease.boot_id)
                        .bind(lease.tenant)
                        .bind(lease.selector)
                        .bind(lease.slice)
                        .bind(attachment_text(lease.attachment))
                        .run());
  Lease numbered = lease;
  numbered.generation = sqlite3_last_insert_rowid(database);
  SLICEBROKER_CHECK(add_devices(database, numbered));
  SLICEBROKER_CHECK(add_steps(database, numbered));
  return numbered.generation;
}

Result<void> insert_resets(sqlite3* database, const Lease& lease) {
  for (std::size_t i = 0; i < lease.resets.size(); ++i) {
    const auto& reset = lease.resets[i];
    SLICEBROKER_TRY(auto insert, Statement::prepare(database,
                                                    "INSERT INTO reset(generation, position, function, demand, state) "
                                                    "VALUES(?, ?, ?, ?, ?)",
                                                    "record the resets"));
    SLICEBROKER_CHECK(insert.bind(lease.generation)
                          .bind(static_cast<std::int64_t>(i))
                          .bind(reset.function.to_string())
                          .bind(name(reset.demand))
                          .bind(name(reset.state))
                          .run());
  }
  return {};
}

Result<std::vector<Lease>> read_active_leases(sqlite3* database) {
  SLICEBROKER_TRY(
      auto query,
      Statement::prepare(database, std::string(kLeaseColumns) + "WHERE state <> 'released' ORDER BY generation",
                         "read the leases"));
  return read_leases(database, std::move(query));
}

Result<std::optional<Lease>> find_lease(sqlite3* database, std::int64_t generation) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, std::string(kLeaseColumns) + "WHERE generation = ?", "read the lease"));
  query.bind(generation);
  SLICEBROKER_TRY(auto leases, read_leases(database, std::move(query)));
  return leases.empty() ? std::optional<Lease>() : std::move(leases.front());
}

Result<std::vector<std::int64_t>> list_generations(sqlite3* database) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, "SELECT generation FROM lease ORDER BY generation", "read the leases"));
  std::vector<std::int64_t> generations;
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return generations;
    generations.push_back(query.number(0));
  }
}

Result<std::vector<Quarantine>> read_quarantines(sqlite3* database) {
  SLICEBROKER_TRY(
      auto query,
      Statement::prepare(database,
                         "SELECT device, gpu, code, detail, since, by_whom, generation FROM quarantine ORDER BY device",
                         "read the quarantines"));
  std::vector<Quarantine> quarantines;
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return quarantines;
    const auto gpu = PciAddress::parse(query.text(1));
    if (!gpu) return fail(malformed_record("quarantine.gpu", query.text(1)));
    quarantines.push_back(
        {{query.text(0), *gpu}, query.text(2), query.text(3), query.text(4), query.text(5), query.number(6)});
  }
}

Result<AuditRecord> audit_record_of(sqlite3* database, std::int64_t generation) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database,
                                     "SELECT vm, tenant, (SELECT group_concat(device, ' ') FROM (SELECT device FROM "
                                     "lease_device WHERE generation = ?1 ORDER BY rowid)) FROM lease "
                                     "WHERE generation = ?1",
                                     "write the audit trail"));
  SLICEBROKER_TRY(const bool row, query.bind(generation).next());
  if (!row) return fail(stale_lease(generation));
  AuditRecord record;
  record.generation = generation;
  record.owner = query.text(0);
  record.tenant = query.text(1);
  record.device = query.text(2);
  return record;
}

Result<void> prune_leases(sqlite3* database, std::int64_t most) {
  SLICEBROKER_TRY(auto oldest, Statement::prepare(database,
                                                  "SELECT generation FROM lease WHERE state = 'released' "
                                                  "ORDER BY generation DESC LIMIT 1 OFFSET ?",
                                                  "prune the ended leases"));
  SLICEBROKER_TRY(const bool row, oldest.bind(most).next());
  if (!row) return {};
  const auto last = oldest.number(0);
  for (const auto* table : {"step", "lease_device", "reset", "late_write"}) {
    const std::string sql = "DELETE FROM " + std::string(table) +
                            " WHERE generation IN (SELECT generation FROM lease WHERE state = 'released' AND "
                            "generation <= ?)";
    SLICEBROKER_TRY(auto forget, Statement::prepare(database, sql, "prune the ended leases"));
    SLICEBROKER_CHECK(forget.bind(last).run());
  }
  SLICEBROKER_TRY(auto forget,
                  Statement::prepare(database, "DELETE FROM lease WHERE state = 'released' AND generation <= ?",
                                     "prune the ended leases"));
  return forget.bind(last).run();
}

Error stale_lease(std::int64_t generation) {
  return ledger_error("STALE_LEASE", "lease " + std::to_string(generation),
                      "it ended or moved on meanwhile: another slicebroker worked on it",
                      "look again: slicebroker list leases");
}

Result<void> update_one(sqlite3* database, Statement& update, std::int64_t generation) {
  SLICEBROKER_CHECK(update.run());
  if (sqlite3_changes(database) == 1) return {};
  return fail(stale_lease(generation));
}

}  // namespace slicebroker::broker
