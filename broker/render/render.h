// SPDX-License-Identifier: Apache-2.0
// Values as text: tables for people, JSON for programs. The only place that makes text for people.
#pragma once

#include <string>
#include <vector>

#include "broker/ledger/lease.h"
#include "broker/policy/policy.h"
#include "broker/render/code_table.h"
#include "broker/resolver/resolver.h"
#include "broker/service/broker.h"
#include "vfio/inventory.h"

namespace slicebroker::broker {

enum class Format { kTable, kJson };

// list: one line each. `held` tells who holds what, `policy` what may be asked for.
std::string render_gpus(const vfio::Inventory& inventory, const LedgerView& held, const Policy& policy, Format format);
std::string render_slices(const vfio::Inventory& inventory, const LedgerView& held, const Policy& policy,
                          Format format);
std::string render_types(const vfio::Inventory& inventory, const Policy& policy, Format format);
std::string render_leases(const std::vector<Lease>& leases, Format format);

// show: everything about one thing.
std::string render_function(const vfio::Inventory& inventory, const vfio::PciFunction& function,
                            const std::vector<Lease>& leases, Format format);
std::string render_mdev(const vfio::Inventory& inventory, const vfio::MdevDevice& mdev,
                        const std::vector<Lease>& leases, Format format);
std::string render_mig(const vfio::nvidia::Gpu& gpu, const vfio::nvidia::GpuInstance& instance,
                       const std::vector<Lease>& leases, Format format);
std::string render_lease(const Lease& lease, Format format);

// explain, attach --dry-run, attach.
std::string render_resolution(const std::string& selector, const Target& target, const Resolution& resolution,
                              Format format);
std::string render_plans(const std::vector<PlannedLease>& plans, Format format);
std::string render_attached(const std::vector<Lease>& leases, Format format);
std::string render_detached(const std::vector<Release>& releases, DryRun dry_run, Format format);

// Text for another program, as it is; in JSON as one member.
std::string render_verbatim(const char* member, const std::string& text, Format format);

// quarantine, audit, ledger.
std::string render_quarantines(const std::vector<Quarantine>& quarantines, Format format);
std::string render_quarantined(const LeasedDevice& device, bool changed, Format format);
std::string render_cleared(const LeasedDevice& device, Format format);
std::string render_audit(const std::vector<AuditRecord>& records, Format format);
std::string render_verdict(const AuditVerdict& verdict, Format format);
std::string render_backup(const std::string& file, Format format);
std::string render_sound(bool exists, Format format);

std::string render_findings(const std::vector<Finding>& findings, Format format);

// policy show: as TOML that reads back as the same policy; `source` says where it came from. policy check: that the
// file is in order.
std::string render_policy(const Policy& policy, const std::string& source, Format format);
std::string render_policy_in_order(const std::string& file, Format format);

// reasons: every code, or one.
std::string render_codes(Format format);
std::string render_code(const CodeEntry& entry, Format format);

// The pages that are made from the code: docs/reasons.md and docs/compatibility.md.
std::string reasons_page();
std::string compatibility_page();

// What could not be read while looking; "" where all could. For stderr.
std::string render_problems(const vfio::Inventory& inventory);

}  // namespace slicebroker::broker
