// SPDX-License-Identifier: Apache-2.0
// The durable record of who holds what and of every change made to the host: one SQLite file, ledger.db.
//
// Every call is one committed and synced transaction (WAL, synchronous=FULL), and none spans a write to the host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/ledger/audit.h"
#include "broker/ledger/lease.h"
#include "broker/ledger/quarantine.h"
#include "vfio/base/result.h"

struct sqlite3;

namespace slicebroker::broker {

// What a resolver worked from: the active leases and the quarantines, and the number of the ledger's state that they
// were read in.
struct LedgerView {
  std::vector<Lease> leases;  // every lease that is not released, by generation
  std::vector<Quarantine> quarantines;
  std::int64_t revision = 0;  // changes with every lease that begins or ends, and with every quarantine
};

// What they hold, as the resolver takes it; quarantines first.
std::vector<Hold> holds_of(const LedgerView& view);

// Beyond these, the oldest are forgotten in the transaction that ends a lease: years on most hosts, some 50 MB.
inline constexpr std::int64_t kMostEndedLeases = 10'000;
inline constexpr std::int64_t kMostAuditRecords = 100'000;

struct LedgerOptions {
  std::string boot_id = {};  // of the host as it runs now, for the audit trail
  std::int64_t most_ended_leases = kMostEndedLeases;
  std::int64_t most_audit_records = kMostAuditRecords;
};

class Ledger {
 public:
  // Opens or makes DIRECTORY/ledger.db (0600 in a 0700 directory). Errors: kFailed LEDGER_UNUSABLE for a directory that
  // can't be made or a file that is no ledger, is damaged, can't be written, or was written by a newer version; the
  // file is then left as it is. SQLite notices some damage only when it reads the page: the call that does fails so.
  static Result<Ledger> open(const std::string& directory, const LedgerOptions& options = {});
  // The same without making anything; a ledger that does not exist reads as an empty one.
  static Result<Ledger> open_for_reading(const std::string& directory, const LedgerOptions& options = {});

  Ledger(Ledger&&) noexcept;
  Ledger& operator=(Ledger&&) noexcept;
  ~Ledger();

  bool exists() const { return database_ != nullptr; }

  Result<LedgerView> read() const;
  // A lease in any state; nullopt where it never was, or was forgotten.
  Result<std::optional<Lease>> find(std::int64_t generation) const;

  // Writes a lease in state preparing with all its steps planned, and gives it its generation; attachment.id, where it
  // is empty, becomes "slicebroker-<generation>". Errors: kFailed LEDGER_MOVED_ON when a lease or a quarantine began
  // or ended since `revision` (resolve again); kHeld LEASED and kRefused QUARANTINED when a device is not to be had
  // after all.
  Result<Lease> begin(Lease lease, std::int64_t revision);

  // Errors: kFailed STALE_LEASE when the lease ended meanwhile; the step must then not run.
  Result<void> set_step_state(std::int64_t generation, std::size_t position, StepState state);

  // Moves a lease from one state to another, for what reason. Errors: kFailed STALE_LEASE when it is no longer in
  // `from`. A way that kTransitions has not got is a bug, and ends the program; so it is with all calls below.
  Result<void> move(std::int64_t generation, LeaseState from, LeaseState to, const std::string& why = {});

  // preparing -> prepared: a guest may have the devices from now on, so that the lease's resets are due at its end.
  Result<void> set_prepared(const Lease& lease);

  // How far a reset came. Errors: STALE_LEASE.
  Result<void> set_reset(std::int64_t generation, const DeviceReset& reset);

  // prepared -> attached, with where the guest has it and which process holds it.
  Result<void> set_attached(std::int64_t generation, const std::string& guest_address,
                            const std::optional<vfio::ProcessIdentity>& vmm, const std::string& why = {});

  // Begins the release of a lease that is as `lease` says, state and broker: this process works on it from now on, and
  // its state is releasing. Of several that claim one lease, one gets it. Errors: STALE_LEASE for the others.
  Result<void> claim(Lease& lease, const vfio::ProcessIdentity& broker, const std::string& why = {});

  // The lease ends and its devices are free.
  Result<void> end(std::int64_t generation, const std::string& note);

  // Records that a process works on for the lease after its broker has given up. Errors: STALE_LEASE.
  Result<void> add_late_write(std::int64_t generation, const LateWrite& write);

  // Whether anything changed: a device that is quarantined already stays so as it is. `since` is set here.
  Result<bool> add_quarantine(const Quarantine& quarantine);
  Result<bool> clear_quarantine(const std::string& device);

  Result<std::vector<AuditRecord>> audit(const AuditFilter& filter) const;
  Result<AuditVerdict> verify_audit(const std::string& noted_head) const;

  // Errors: kRefused FILE_EXISTS; kNotFound where there is no ledger yet.
  Result<void> back_up(const std::string& file) const;
  // Every page, reference, lease and audit record: what is wrong with them.
  Result<std::vector<std::string>> find_damage() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  Ledger(std::unique_ptr<sqlite3, Close> database, const LedgerOptions& options);

  // Adds to the audit trail, inside the change's transaction.
  Result<void> note(AuditRecord record, std::string event, std::string detail) const;
  Result<void> note_move(std::int64_t generation, LeaseState from, LeaseState to, const std::string& why) const;

  std::unique_ptr<sqlite3, Close> database_;
  LedgerOptions options_;
};

}  // namespace slicebroker::broker
