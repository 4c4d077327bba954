// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"
#include "hypervisors/cloud_hypervisor/arguments.h"
#include "vfio/base/text.h"

namespace slicebroker::broker::cli {
namespace {

Result<Output> args(const Session& session, const Question& question) {
  SLICEBROKER_TRY(const auto answer, ask(session, question));
  if (answer.target.hypervisor == hypervisors::HypervisorKind::kLibvirt) {
    Error error;
    error.code = ErrorCode::kUsage;
    error.tried = "write arguments for libvirt";
    error.fact = "libvirt takes XML";
    error.hint = "slicebroker xml " + to_string(answer.selector);
    return fail(std::move(error));
  }
  SLICEBROKER_TRY(const auto attachment, answer.attachment("write arguments for"));
  const auto text = join(hypervisors::cloud_hypervisor::arguments(attachment), " ") + "\n";
  return Output{render_verbatim("arguments", text, session.format())};
}

}  // namespace

void add_args(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("args", "The VMM's own arguments for a selector; the host is not touched");
  const auto question = std::make_shared<Question>();
  question->add_to(*command);
  command->get_option("SELECTOR")->required();
  command->get_option("--for")->required();
  session.run(*command, [&session, question] { return args(session, *question); });
}

}  // namespace slicebroker::broker::cli
