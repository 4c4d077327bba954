// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> reasons(const Session& session, const std::string& code) {
  if (code.empty()) return Output{render_codes(session.format())};
  SLICEBROKER_TRY(const auto entry, find_code(code));
  return Output{render_code(entry, session.format())};
}

}  // namespace

void add_reasons(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("reasons", "Every code that a refusal or failure may carry, or one in full");
  const auto code = std::make_shared<std::string>();
  command->add_option("CODE", *code, "such as GROUP_NOT_VIABLE");
  session.run(*command, [&session, code] { return reasons(session, *code); });
}

}  // namespace slicebroker::broker::cli
