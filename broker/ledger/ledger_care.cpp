// SPDX-License-Identifier: Apache-2.0
// What people ask of the ledger itself: its trail, a copy, a check of everything.
#include "broker/ledger/lease_table.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/ledger_file.h"

namespace slicebroker::broker {

Result<std::vector<AuditRecord>> Ledger::audit(const AuditFilter& filter) const {
  if (!database_) return std::vector<AuditRecord>();
  return read_audit(database_.get(), filter);
}

Result<AuditVerdict> Ledger::verify_audit(const std::string& noted_head) const {
  if (!database_) return AuditVerdict{};
  return broker::verify_audit(database_.get(), noted_head);
}

Result<void> Ledger::back_up(const std::string& file) const {
  if (database_) return copy_ledger_file(database_.get(), file);
  Error error;
  error.code = ErrorCode::kNotFound;
  error.reason = "NO_LEDGER";
  error.tried = "back up the ledger to";
  error.subject = file;
  error.fact = "there is no ledger yet";
  error.hint = "name its directory with --state";
  return fail(std::move(error));
}

Result<std::vector<std::string>> Ledger::find_damage() const {
  if (!database_) return std::vector<std::string>();
  SLICEBROKER_TRY(auto problems, broker::find_damage(database_.get()));
  SLICEBROKER_TRY(const auto generations, list_generations(database_.get()));
  for (const auto generation : generations) {
    const auto lease = find_lease(database_.get(), generation);
    if (!lease) {
      problems.push_back("lease " + std::to_string(generation) + " can't be read: " + lease.error().tried + ": " +
                         lease.error().fact);
    }
  }
  if (const auto read = read_quarantines(database_.get()); !read) {
    problems.push_back("the quarantines can't be read: " + read.error().fact);
  }
  SLICEBROKER_TRY(const auto trail, broker::verify_audit(database_.get(), ""));
  if (trail.faulty) problems.push_back("audit record " + std::to_string(*trail.faulty) + ": " + trail.fault);
  return problems;
}

}  // namespace slicebroker::broker
