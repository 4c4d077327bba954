// SPDX-License-Identifier: Apache-2.0
// The audit trail: what slicebroker did, one record an event, each with a hash over itself and the one before it. A
// record is written in the transaction of the change that it tells of, so neither can be there without the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/base/result.h"

struct sqlite3;

namespace slicebroker::broker {

struct AuditRecord {
  std::int64_t seq = 0;         // 1, 2, 3 ... without a gap
  std::string time;             // UTC, ISO 8601, milliseconds
  std::string boot_id;          // of the boot it was written in; empty where that could not be read
  std::int64_t uid = 0;         // who ran slicebroker
  std::int64_t pid = 0;         // as which process
  std::int64_t generation = 0;  // 0: no lease's
  std::string owner;            // "libvirt:web1"
  std::string tenant;
  std::string device;  // keys as device_key() makes them, a blank between two
  // "lease.begun", "lease.state", "lease.ended", "step.started", "step.done", "step.undone", "step.late",
  // "device.reset", "quarantine.added", "quarantine.cleared", "ledger.made"
  std::string event;
  std::string detail;
  std::string hash;  // SHA-256 in hexadecimal
};

// Which records `audit show` wants; empty members want all.
struct AuditFilter {
  std::optional<std::int64_t> generation = {};
  std::string device = {};  // one key
  std::string since = {};   // a time of the records, or its beginning: "2026-11-20"
  std::int64_t newest = 0;  // at most so many, the newest ones; 0: all
};

// What `audit verify` found.
struct AuditVerdict {
  std::int64_t first = 0;  // number of the oldest record that is kept; 0: the trail is empty
  std::int64_t last = 0;
  std::string head;                        // the last record's hash
  std::optional<std::int64_t> faulty;      // the first record that does not fit
  std::string fault;                       // what is wrong with it
  std::optional<std::int64_t> noted_head;  // the record whose hash is the one that was asked about
};

// The hash of a record that follows one with hash `previous`: SHA-256 over `previous` and the record's members in
// their order above, each as its length in decimal, a colon and its text.
std::string audit_hash(std::string_view previous, const AuditRecord& record);

// Adds a record; number, time, uid, pid and hash are set here. To be called inside the change's transaction.
Result<void> append_audit(sqlite3* database, AuditRecord record);

// Oldest first.
Result<std::vector<AuditRecord>> read_audit(sqlite3* database, const AuditFilter& filter);

// Goes through the whole chain. `noted` is a hash that was written down elsewhere; empty: none.
Result<AuditVerdict> verify_audit(sqlite3* database, const std::string& noted);

// Forgets all but the newest records; the last hash that is forgotten becomes the chain's anchor.
Result<void> prune_audit(sqlite3* database, std::int64_t most);

}  // namespace slicebroker::broker
