// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "broker/cli/session.h"
#include "broker/policy/policy_file.h"

namespace slicebroker::broker::cli {
namespace {

// Without a file the one that would be in force, which has to be there to be checked.
Result<Output> check(const Session& session, const std::string& argument) {
  const auto& file = argument.empty() ? session.policy_file() : argument;
  SLICEBROKER_CHECK(read_policy(file));
  return Output{render_policy_in_order(file, session.format())};
}

Result<Output> show(const Session& session) {
  SLICEBROKER_TRY(const auto policy, session.policy());
  const bool from_file = std::filesystem::exists(session.policy_file());
  const auto source = from_file ? session.policy_file() : "built in: there is no " + session.policy_file();
  return Output{render_policy(policy, source, session.format())};
}

}  // namespace

void add_policy(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("policy", "The operator's policy: is a file in order, and what is in force");
  command->require_subcommand(1);
  auto* check_command = command->add_subcommand("check", "Reads a policy file and says what is wrong with it");
  const auto file = std::make_shared<std::string>();
  check_command->add_option("FILE", *file, "the file; without it the one in force")->type_name("");
  session.run(*check_command, [&session, file] { return check(session, *file); });
  auto* show_command = command->add_subcommand("show", "The policy in force, in full, as a policy file would have it");
  session.run(*show_command, [&session] { return show(session); });
}

}  // namespace slicebroker::broker::cli
