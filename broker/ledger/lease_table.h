// SPDX-License-Identifier: Apache-2.0
// Leases as rows. Every call is part of a transaction that the caller has begun.
#pragma once

#include <optional>
#include <vector>

#include "broker/ledger/audit.h"
#include "broker/ledger/lease.h"
#include "broker/ledger/quarantine.h"
#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {

// Writes a lease with its devices and steps; returns its number. Errors: kHeld LEASED; kRefused QUARANTINED.
Result<std::int64_t> insert_lease(sqlite3* database, const Lease& lease);

// The resets that its devices need when they come back, in that order.
Result<void> insert_resets(sqlite3* database, const Lease& lease);

// Leases with their devices and steps, by generation: the active ones, or the one of a number in any state.
Result<std::vector<Lease>> read_active_leases(sqlite3* database);
Result<std::optional<Lease>> find_lease(sqlite3* database, std::int64_t generation);
// The numbers of all that are kept, for a look at each.
Result<std::vector<std::int64_t>> list_generations(sqlite3* database);

Result<std::vector<Quarantine>> read_quarantines(sqlite3* database);

// A record with owner, tenant and devices of a lease filled in.
Result<AuditRecord> audit_record_of(sqlite3* database, std::int64_t generation);

// Forgets all but the newest ended leases.
Result<void> prune_leases(sqlite3* database, std::int64_t most);

// The UPDATE must have changed exactly one row. Errors: STALE_LEASE.
Result<void> update_one(sqlite3* database, Statement& update, std::int64_t generation);
Error stale_lease(std::int64_t generation);

}  // namespace slicebroker::broker
