// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"

#include <sodium/crypto_hash_sha256.h>
#include <sodium/utils.h>
#include <unistd.h>

#include <array>

#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {
namespace {

constexpr std::string_view kTried = "write the audit trail";

std::string now_text(sqlite3* database) {
  return read_text(database, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')").value_or("");
}

// Where the chain begins and ends, kept apart from the records so that neither end can be cut off unseen.
struct Ends {
  std::int64_t anchor_seq = 0;
  std::string anchor_hash;
  std::int64_t head_seq = 0;
  std::string head_hash;
};

Result<std::optional<Ends>> read_ends(sqlite3* database) {
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, "SELECT anchor_seq, anchor_hash, head_seq, head_hash FROM audit_chain",
                                     "read the audit trail"));
  SLICEBROKER_TRY(const bool row, query.next());
  if (!row) return std::optional<Ends>();
  return std::optional(Ends{query.number(0), query.text(1), query.number(2), query.text(3)});
}

constexpr std::string_view kColumns =
    "SELECT seq, time, boot_id, uid, pid, generation, owner, tenant, device, event, detail, hash FROM audit ";

AuditRecord record_at(const Statement& row) {
  return {.seq = row.number(0),
          .time = row.text(1),
          .boot_id = row.text(2),
          .uid = row.number(3),
          .pid = row.number(4),
          .generation = row.number(5),
          .owner = row.text(6),
          .tenant = row.text(7),
          .device = row.text(8),
          .event = row.text(9),
          .detail = row.text(10),
          .hash = row.text(11)};
}

Result<void> insert(sqlite3* database, const AuditRecord& record) {
  SLICEBROKER_TRY(auto statement,
                  Statement::prepare(database,
                                     "INSERT INTO audit(seq, time, boot_id, uid, pid, generation, owner, tenant, "
                                     "device, event, detail, hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                     kTried));
  return statement.bind(record.seq)
      .bind(record.time)
      .bind(record.boot_id)
      .bind(record.uid)
      .bind(record.pid)
      .bind(record.generation)
      .bind(record.owner)
      .bind(record.tenant)
      .bind(record.device)
      .bind(record.event)
      .bind(record.detail)
      .bind(record.hash)
      .run();
}

// What is wrong with the next record of the chain; "" where it fits.
std::string fault_of(const AuditRecord& record, std::int64_t expected, const std::string& previous) {
  if (record.seq != expected) return "it is missing";
  if (record.hash != audit_hash(previous, record)) return "it was changed, or stands in another's place";
  return "";
}

std::string fault_of_end(const Ends& ends, std::int64_t last, const std::string& hash) {
  if (last < ends.head_seq) return "it is missing, and all after it: the end was cut off";
  if (last > ends.head_seq) return "it was added behind the trail's back";
  return hash == ends.head_hash ? "" : "its hash is not the one that the trail ends with";
}

}  // namespace

std::string audit_hash(std::string_view previous, const AuditRecord& record) {
  std::string text;
  const auto add = [&](std::string_view member) {
    text += std::to_string(member.size()) + ":";
    text += member;
  };
  add(previous);
  for (const auto& member :
       {std::to_string(record.seq), record.time, record.boot_id, std::to_string(record.uid), std::to_string(record.pid),
        std::to_string(record.generation), record.owner, record.tenant, record.device, record.event, record.detail}) {
    add(member);
  }
  std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
  crypto_hash_sha256(digest.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  std::array<char, 2 * crypto_hash_sha256_BYTES + 1> hexadecimal{};
  return sodium_bin2hex(hexadecimal.data(), hexadecimal.size(), digest.data(), digest.size());
}

Result<void> append_audit(sqlite3* database, AuditRecord record) {
  SLICEBROKER_TRY(const auto ends, read_ends(database));
  if (!ends) return fail(unusable(sqlite3_db_filename(database, "main"), "the audit trail's ends are gone"));
  record.seq = ends->head_seq + 1;
  record.time = now_text(database);
  record.uid = ::getuid();
  record.pid = ::getpid();
  record.hash = audit_hash(ends->head_hash, record);
  SLICEBROKER_CHECK(insert(database, record));
  SLICEBROKER_TRY(auto update,
                  Statement::prepare(database, "UPDATE audit_chain SET head_seq = ?, head_hash = ?", kTried));
  return update.bind(record.seq).bind(record.hash).run();
}

Result<std::vector<AuditRecord>> read_audit(sqlite3* database, const AuditFilter& filter) {
  // The newest are found from the end and then turned around.
  const std::string sql = "SELECT * FROM (" + std::string(kColumns) +
                          "WHERE (?1 < 0 OR generation = ?1) AND (?2 = '' OR instr(' ' || device || ' ', ' ' || ?2 || "
                          "' ') > 0) AND time >= ?3 ORDER BY seq DESC LIMIT ?4) ORDER BY seq";
  SLICEBROKER_TRY(auto query, Statement::prepare(database, sql, "read the audit trail"));
  query.bind(filter.generation.value_or(-1))
      .bind(filter.device)
      .bind(filter.since)
      .bind(filter.newest > 0 ? filter.newest : std::int64_t{-1});
  std::vector<AuditRecord> records;
  while (true) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) return records;
    records.push_back(record_at(query));
  }
}

Result<AuditVerdict> verify_audit(sqlite3* database, const std::string& noted) {
  AuditVerdict verdict;
  SLICEBROKER_TRY(const auto view, ReadTransaction::begin(database));
  SLICEBROKER_TRY(const auto ends, read_ends(database));
  if (!ends) {
    verdict.faulty = 0;
    verdict.fault = "the row that tells where the trail begins and ends is missing";
    return verdict;
  }
  SLICEBROKER_TRY(auto query,
                  Statement::prepare(database, std::string(kColumns) + "ORDER BY seq", "read the audit trail"));
  std::string previous = ends->anchor_hash;
  std::int64_t last = ends->anchor_seq;
  if (!noted.empty() && noted == previous) verdict.noted_head = last;
  while (!verdict.faulty) {
    SLICEBROKER_TRY(const bool row, query.next());
    if (!row) break;
    const auto record = record_at(query);
    verdict.fault = fault_of(record, last + 1, previous);
    if (!verdict.fault.empty()) {
      verdict.faulty = last + 1;
      break;
    }
    last = record.seq;
    previous = record.hash;
    if (record.hash == noted) verdict.noted_head = record.seq;
  }
  verdict.first = last > ends->anchor_seq ? ends->anchor_seq + 1 : 0;
  verdict.last = last;
  verdict.head = previous;
  if (verdict.faulty) return verdict;
  verdict.fault = fault_of_end(*ends, last, previous);
  if (!verdict.fault.empty()) verdict.faulty = last < ends->head_seq ? last + 1 : last;
  return verdict;
}

Result<void> prune_audit(sqlite3* database, std::int64_t most) {
  SLICEBROKER_TRY(const auto ends, read_ends(database));
  if (!ends || ends->head_seq - ends->anchor_seq <= most) return {};
  const std::int64_t anchor = ends->head_seq - most;
  SLICEBROKER_TRY(auto move, Statement::prepare(database,
                                                "UPDATE audit_chain SET anchor_seq = ?1, "
                                                "anchor_hash = (SELECT hash FROM audit WHERE seq = ?1)",
                                                "prune the audit trail"));
  SLICEBROKER_CHECK(move.bind(anchor).run());
  SLICEBROKER_TRY(auto forget,
                  Statement::prepare(database, "DELETE FROM audit WHERE seq <= ?", "prune the audit trail"));
  return forget.bind(anchor).run();
}

}  // namespace slicebroker::broker
