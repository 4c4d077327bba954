// SPDX-License-Identifier: Apache-2.0
// The durable record of who holds what and of every change made to the host: one SQLite file, ledger.db.
//
// Every call is one committed and synced transaction (WAL, synchronous=FULL), and none spans a write to the host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/ledger/lease.h"
#include "vfio/base/result.h"

struct sqlite3;

namespace slicebroker::broker {

// What a resolver worked from: the active leases, and the number of the ledger's state that they were read in.
struct LedgerView {
  std::vector<Lease> leases;  // every lease that is not released, by generation
  std::int64_t revision = 0;  // changes with every lease that begins or ends
};

class Ledger {
 public:
  // Opens or makes DIRECTORY/ledger.db (0600 in a 0700 directory). Errors: kFailed LEDGER_UNUSABLE for a directory that
  // can't be made or a file that is no ledger, is damaged, or was written by a newer version; the file is then left as
  // it is.
  static Result<Ledger> open(const std::string& directory);
  // The same without making anything; a ledger that does not exist reads as an empty one.
  static Result<Ledger> open_for_reading(const std::string& directory);

  Ledger(Ledger&&) noexcept;
  Ledger& operator=(Ledger&&) noexcept;
  ~Ledger();

  Result<LedgerView> read() const;

  // Writes a lease in state preparing with all its steps planned, and gives it its generation; attachment.id, where it
  // is empty, becomes "slicebroker-<generation>". Errors: kFailed LEDGER_MOVED_ON when a lease began or ended since
  // `revision` (resolve again); kHeld LEASED when a device is leased after all.
  Result<Lease> begin(Lease lease, std::int64_t revision);

  // Errors: kFailed STALE_LEASE when the lease ended meanwhile; the step must then not run.
  Result<void> set_step_state(std::int64_t generation, std::size_t position, StepState state);

  // Moves a lease from one state to another. Errors: kFailed STALE_LEASE when it is no longer in `from`.
  Result<void> move(std::int64_t generation, LeaseState from, LeaseState to);

  // prepared -> attached, with where the guest has it and which process holds it.
  Result<void> set_attached(std::int64_t generation, const std::string& guest_address,
                            const std::optional<vfio::ProcessIdentity>& vmm);

  // Begins the release of a lease that is as `lease` says, state and broker: this process works on it from now on, and
  // its state is releasing. Of several that claim one lease, one gets it. Errors: STALE_LEASE for the others.
  Result<void> claim(Lease& lease, const vfio::ProcessIdentity& broker);

  // The lease ends and its devices are free.
  Result<void> end(std::int64_t generation, const std::string& note);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit Ledger(std::unique_ptr<sqlite3, Close> database);
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace slicebroker::broker
