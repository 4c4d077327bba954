// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <iostream>

#include "broker/cli/session.h"
#include "broker/render/error.h"

namespace {

using namespace slicebroker;
using namespace slicebroker::broker::cli;

int run(int argc, char** argv) {
  CLI::App app{"Gives GPU slices to virtual machines: MIG slices and vGPUs become VFIO attachments.", "slicebroker"};
  app.set_version_flag("--version", std::string("slicebroker ") + SLICEBROKER_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  Session session(app);
  add_list(app, session);
  add_show(app, session);
  add_explain(app, session);
  add_attach(app, session);
  add_detach(app, session);
  add_xml(app, session);
  add_args(app, session);
  add_hook(app, session);
  add_reconcile(app, session);
  add_policy(app, session);
  add_reasons(app, session);
  add_quarantine(app, session);
  add_audit(app, session);
  add_ledger(app, session);
  add_completion(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    if (stop.get_exit_code() == 0) return app.exit(stop);  // --help, --version
    Error error;
    error.code = ErrorCode::kUsage;
    error.tried = "read the command line";
    const auto unknown = app.remaining();
    error.fact = unknown.empty() ? stop.what() : "there is no '" + unknown.front() + "' here";
    error.hint = "see: slicebroker --help";
    session.report(error);
  }
  return session.status();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& unexpected) {
    std::cerr << "error: slicebroker failed unexpectedly: " << unexpected.what()
              << "\nhint: run: slicebroker reconcile\n";
    return 1;
  }
}
