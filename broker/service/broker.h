// SPDX-License-Identifier: Apache-2.0
// The broker itself: one function a verb. Values in, values out; no text for people, no process-wide state.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/policy/policy.h"
#include "broker/request/request.h"
#include "broker/resolver/resolver.h"
#include "broker/transaction/transaction.h"
#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/domain_xml.h"
#include "vfio/host/host.h"

namespace slicebroker::broker {

using ConnectHypervisor = std::function<std::unique_ptr<hypervisors::Hypervisor>(const hypervisors::VmReference&)>;

// What the broker works on and with.
struct Environment {
  vfio::Host host;
  std::string state_directory;  // holds the ledger
  ConnectHypervisor connect;
  StepListener listener;  // may be empty
  std::chrono::milliseconds detach_deadline{30'000};
  Policy policy{};                                     // bounds what is given; what is given back does not ask it
  std::chrono::milliseconds wait{0};                   // for processes that hold a device to let go of it
  std::function<void(const std::string&)> waits = {};  // told who has it, when that takes long; may be empty
};

// How a request is to be treated, beside what it selects. What it leaves open, the policy's defaults say.
struct RequestOptions {
  std::optional<Fallback> fallback;
  std::optional<Isolation> isolation;
  std::set<PciAddress> allowed_group_members;
  bool allow_nvswitch = false;
  std::string tenant = {};  // on whose behalf; kept with the lease
};

enum class DryRun { kNo, kYes };

enum class Remedy;  // of a drift: broker/service/drift.h

// What a plan would do, for --dry-run.
struct PlannedLease {
  Resolution resolution;
  Plan plan;
};

// What detach did about a lease.
struct Release {
  Lease lease;
  bool had_ended = false;  // before, so nothing was done: its number says nothing about who has the device now
};

// One finding of reconcile: a lease that does not fit the host or the hypervisor, and what was (or would be) done.
struct Finding {
  std::int64_t generation = 0;
  std::string owner;
  std::string device;
  std::string code;    // of the drift: docs/reasons.md
  std::string drift;   // what does not fit
  std::string action;  // what was done about it
  bool resolved = false;
  std::optional<Error> error;  // why not
};

class Broker {
 public:
  explicit Broker(Environment environment) : environment_(std::move(environment)) {}

  // Reads only.
  Result<vfio::Inventory> inventory() const;
  Result<std::vector<Lease>> leases() const;
  Result<LedgerView> ledger_view() const;
  Result<std::optional<Lease>> find_lease(std::int64_t generation) const;  // in any state
  Result<Resolution> explain(const Selector& selector, const Target& target, const RequestOptions& options) const;

  // Leases, prepares and attaches each selector in turn, to a VM that exists. All or nothing: several are planned
  // together before the first is begun, so one that can't be had leaves the host untouched; when one fails later, those
  // before it are given back. Errors: as resolve(), plus the adapter's; every error says what became of the host.
  Result<std::vector<Lease>> attach(const hypervisors::VmReference& vm, const std::vector<Selector>& selectors,
                                    const RequestOptions& options);
  // The very plans that attach would run, without touching anything.
  Result<std::vector<PlannedLease>> plan_attach(const hypervisors::VmReference& vm,
                                                const std::vector<Selector>& selectors,
                                                const RequestOptions& options) const;

  // The leases that `detach VM [DEVICE]` means. DEVICE: lease number, PCI address, mdev UUID or the selector's text;
  // empty: every lease of the VM. A number finds a lease that has ended, too. Errors: kNotFound.
  Result<std::vector<Lease>> find_leases(const hypervisors::VmReference& vm, const std::string& device) const;
  // Asks the VMM for each device, waits until it is gone, and restores the host. Goes on past a device that fails. For
  // a lease that has ended nothing is done.
  Result<std::vector<Release>> detach(std::vector<Lease> leases);

  // Compares ledger, host and hypervisors; settles what a crash, a reboot or a VMM's end left behind.
  Result<std::vector<Finding>> reconcile(DryRun dry_run);

  // libvirt's hook (see hook/). prepare leases and prepares what the domain's metadata asks for, as agreed in its
  // XML; started records that the guest runs; release gives everything back. A domain without requests costs nothing.
  Result<void> hook_prepare(const hypervisors::libvirt::Domain& domain);
  Result<void> hook_started(const hypervisors::libvirt::Domain& domain);
  Result<void> hook_release(const hypervisors::libvirt::Domain& domain);

  // What each request of a domain would be given if it started now, with the ids that the hook uses; for writing the
  // domain's XML. Reads only.
  Result<std::vector<hypervisors::Attachment>> plan_domain(const hypervisors::libvirt::Domain& domain,
                                                           const Target& target) const;

  // What DEVICE means to `quarantine add` and `clear`: a PCI address, mdev UUID, GPU-<uuid>, MIG-<uuid>, or a key as
  // the ledger has it ("pci:0000:41:00.4"). Errors: kNotFound with near misses where this host has no such device;
  // kUsage for what is no device's name at all.
  Result<LeasedDevice> find_device(const std::string& text) const;
  // The same for a device that the host need not have: an address, an mdev UUID or a key.
  static Result<LeasedDevice> name_device(const std::string& text);
  // Whether it was not quarantined before.
  Result<bool> quarantine(const LeasedDevice& device, const std::string& reason);
  // Errors: kNotFound NOT_QUARANTINED.
  Result<LeasedDevice> clear_quarantine(const std::string& text);

  // The ledger itself, for its audit trail, a copy and a check. Without one, the latter reads as an empty ledger.
  Result<Ledger> open_ledger() const;
  Result<Ledger> open_ledger_for_reading() const;

  const Environment& environment() const { return environment_; }

 private:
  using LeaseFilter = std::function<bool(const Lease&)>;

  Result<vfio::ProcessIdentity> this_process() const;
  // Another broker, which lives, is preparing or releasing the lease: it is nobody else's business.
  bool in_live_hands(const Lease& lease) const;
  // The lease is void: what was done for it ended with the boot that it was made in.
  bool earlier_boot(const Lease& lease) const;
  Result<Lease> draft_lease(const hypervisors::VmReference& vm, const Selector& selector) const;

  // Resolves every request on this host and ledger, each with what the earlier ones take held. Errors: the refusal of
  // the first that nothing is granted to.
  Result<std::vector<PlannedLease>> plan_requests(const hypervisors::VmReference& vm,
                                                  const std::vector<Request>& requests, const LedgerView& held,
                                                  const vfio::Inventory& host) const;

  // Resolves and records the intent, when it is this broker's turn to: a lease in state preparing.
  Result<Lease> begin_lease(Ledger& ledger, const Request& request, const Lease& draft);
  // The same, and runs the steps: a lease in state prepared.
  Result<Lease> acquire(Ledger& ledger, const Request& request, const Lease& draft);
  Result<void> prepare(Ledger& ledger, Lease& lease);
  Result<Lease> attach_one(Ledger& ledger, hypervisors::Hypervisor& hypervisor, const Request& request,
                           const Lease& draft);

  Result<void> detach_one(Ledger& ledger, Lease& lease);
  // The same; a lease that has ended meanwhile is none to fail for.
  Result<Release> detach_or_note_end(Ledger& ledger, Lease& lease);
  // The VMM has let go or never had it: from any state, undo and end.
  Result<void> release_now(Ledger& ledger, Lease& lease, const std::string& note, std::chrono::milliseconds patience);
  // From state releasing: waits for the last open handle, resets, undoes the steps, ends the lease.
  Result<void> give_back(Ledger& ledger, Lease& lease, const std::string& note, std::chrono::milliseconds patience);

  // A note on each accepted candidate that the policy would have quarantined after its lease.
  void warn_of_quarantines(const vfio::Inventory& host, std::vector<Candidate>& candidates) const;
  // Resets what the policy wants reset and quarantines what could not be. Errors: what was silent, or left changed; the
  // lease must stay then.
  Result<void> clean(Ledger& ledger, Lease& lease) const;
  Result<void> begin_reset(Ledger& ledger, const Lease& lease, DeviceReset& reset) const;
  Result<void> note_no_reset(Ledger& ledger, const Lease& lease, DeviceReset& reset, const Error& error) const;
  // Ends a lease of an earlier boot.
  Result<void> end_void(Ledger& ledger, Lease& lease, const std::string& note) const;

  // What did not answer is not leased again before it was looked at: adds to the error what could not be recorded.
  Error after_silence(Ledger& ledger, const Lease& lease, Error error) const;
  // kNoAnswer WEDGED while a write may still happen that was begun for the lease: undone now, it could come back later.
  Result<void> check_not_written(const Ledger& ledger, const Lease& lease) const;
  // Its quarantines go first: without a lease nobody would look at them again.
  Result<void> end_lease(Ledger& ledger, const Lease& lease, const std::string& note) const;
  // A lease of a dead broker whose guest has the device.
  Result<void> record_attached(Ledger& ledger, Lease& lease, const std::string& note) const;
  // The quarantines that the lease's own silence made end where the host is as it was before the lease.
  Result<void> lift_quarantines(Ledger& ledger, const Lease& lease) const;
  // Calls again while a process holds the device, as long as the environment says; for what leaves the host restored.
  Result<Lease> acquire_patiently(Ledger& ledger, const Request& request, const Lease& draft);

  Result<void> release_domain(Ledger& ledger, const hypervisors::libvirt::Domain& domain, const std::string& note);

  Result<std::vector<Finding>> settle(Ledger& ledger, DryRun dry_run, const LeaseFilter& wanted);
  Result<void> remedy(Ledger& ledger, Lease& lease, Remedy remedy, const std::string& note);
  Result<void> recover_abandoned(Ledger& ledger);

  Environment environment_;
};

// A failure after the first write to the host, whose error does not say what became of it: changed, until reconcile has
// looked.
Result<void> changed_unless_told(Result<void> result);

// The request of one selector, with a fresh UUID for a mediated device.
Request make_request(const Selector& selector, const Target& target, const RequestOptions& options,
                     const Policy& policy);

}  // namespace slicebroker::broker
