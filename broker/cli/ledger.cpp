// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> backup(const Session& session, const std::string& file) {
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto ledger, broker.open_ledger_for_reading());
  SLICEBROKER_CHECK(ledger.back_up(file));
  return Output{render_backup(file, session.format())};
}

Result<Output> check(const Session& session) {
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto ledger, broker.open_ledger_for_reading());
  SLICEBROKER_TRY(const auto problems, ledger.find_damage());
  if (problems.empty()) return Output{render_sound(ledger.exists(), session.format())};
  Error error;
  error.reason = "LEDGER_DAMAGED";
  error.tried = "check the ledger in";
  error.subject = broker.environment().state_directory;
  error.fact = problems.size() == 1 ? "something is wrong with it" : "several things are wrong with it";
  error.hint = "it was left as it is; the way out: slicebroker(8), section LEDGER";
  error.host = HostOutcome::kUntouched;
  for (const auto& problem : problems) {
    Error cause;
    cause.reason = "LEDGER_DAMAGED";
    cause.fact = problem;
    error.causes.push_back(std::move(cause));
  }
  return fail(std::move(error));
}

}  // namespace

void add_ledger(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("ledger", "Care of the ledger's file");
  command->require_subcommand(1);
  auto* backing = command->add_subcommand("backup", "A copy of this moment, synced; nothing is overwritten");
  const auto file = std::make_shared<std::string>();
  backing->add_option("FILE", *file, "a file that does not exist yet")->required();
  session.run(*backing, [&session, file] { return backup(session, *file); });
  auto* checking = command->add_subcommand("check", "Every page, reference, lease and audit record; changes nothing");
  session.run(*checking, [&session] { return check(session); });
}

}  // namespace slicebroker::broker::cli
