// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/cli/session.h"
#include "broker/render/error.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> reconcile(const Session& session, bool dry_run) {
  SLICEBROKER_TRY(auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto findings, broker.reconcile(dry_run ? DryRun::kYes : DryRun::kNo));
  const bool drift = std::any_of(findings.begin(), findings.end(), [](const auto& f) { return !f.resolved; });
  return Output{render_findings(findings, session.format()), drift ? exit_status(ErrorCode::kDrift) : 0};
}

}  // namespace

void add_reconcile(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("reconcile", "Compare ledger, host and VMs, and settle what a crash left behind");
  const auto dry_run = std::make_shared<bool>(false);
  command->add_flag("-n,--dry-run", *dry_run, "show the drift and change nothing");
  session.run(*command, [&session, dry_run] { return reconcile(session, *dry_run); });
}

}  // namespace slicebroker::broker::cli
