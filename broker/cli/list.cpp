// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> list(const Session& session, const std::string& what) {
  SLICEBROKER_TRY(const auto broker, what == "leases" ? session.broker_without_policy() : session.broker());
  SLICEBROKER_TRY(const auto held, broker.ledger_view());
  if (what == "leases") return Output{render_leases(held.leases, session.format())};
  SLICEBROKER_TRY(const auto inventory, broker.inventory());
  std::cerr << render_problems(inventory);
  const auto& policy = broker.environment().policy;
  if (what == "slices") return Output{render_slices(inventory, held, policy, session.format())};
  if (what == "types") return Output{render_types(inventory, policy, session.format())};
  return Output{render_gpus(inventory, held, policy, session.format())};
}

}  // namespace

void add_list(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("list", "What the host has, what can be asked for, who holds what");
  const auto what = std::make_shared<std::string>("gpus");
  command->add_option("WHAT", *what, "gpus, slices, types or leases")
      ->check(CLI::IsMember({"gpus", "slices", "types", "leases"}))
      ->capture_default_str();
  session.run(*command, [&session, what] { return list(session, *what); });
}

}  // namespace slicebroker::broker::cli
