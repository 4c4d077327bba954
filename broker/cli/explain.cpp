// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"
#include "broker/render/error.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> explain(const Session& session, const Question& question) {
  SLICEBROKER_TRY(const auto answer, ask(session, question));
  const auto& resolution = answer.resolution;
  const int status = resolution.granted() != nullptr ? 0 : exit_status(refusal(resolution).code);
  return Output{render_resolution(to_string(answer.selector), answer.target, resolution, session.format()), status};
}

}  // namespace

void add_explain(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("explain", "Every candidate for a selector, and why each would be taken or not");
  const auto question = std::make_shared<Question>();
  question->add_to(*command);
  command->get_option("SELECTOR")->required();
  session.run(*command, [&session, question] { return explain(session, *question); });
}

}  // namespace slicebroker::broker::cli
