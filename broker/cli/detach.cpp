// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

struct Arguments {
  std::string vm;
  std::string device;
  unsigned timeout_seconds = 30;
  double wait_seconds = 0;
  bool dry_run = false;
};

Result<Output> detach(const Session& session, const Arguments& arguments) {
  SLICEBROKER_TRY(const auto vm, Session::vm(arguments.vm));
  SLICEBROKER_TRY(auto broker, session.broker_without_policy(std::chrono::seconds(arguments.timeout_seconds),
                                                             seconds_to_milliseconds(arguments.wait_seconds)));
  SLICEBROKER_TRY(const auto leases, broker.find_leases(vm, arguments.device));
  if (arguments.dry_run) {
    std::vector<Release> planned;
    for (const auto& lease : leases) planned.push_back({lease, lease.state == LeaseState::kReleased});
    return Output{render_detached(planned, DryRun::kYes, session.format())};
  }
  SLICEBROKER_TRY(const auto releases, broker.detach(leases));
  return Output{render_detached(releases, DryRun::kNo, session.format())};
}

}  // namespace

void add_detach(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("detach", "Take devices back from a VM and restore the host");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("VM", arguments->vm, "as for attach")->required();
  command->add_option("DEVICE", arguments->device,
                      "lease number, PCI address, mdev UUID or the selector of one lease; without it, all of the VM's");
  command->add_option("--timeout", arguments->timeout_seconds, "how long the guest may take to let go")
      ->capture_default_str()
      ->type_name("SECONDS");
  add_wait(*command, arguments->wait_seconds);
  command->add_flag("-n,--dry-run", arguments->dry_run, "say what would be detached and change nothing");
  session.run(*command, [&session, arguments] { return detach(session, *arguments); });
}

}  // namespace slicebroker::broker::cli
