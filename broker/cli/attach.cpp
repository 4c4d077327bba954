// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

struct Arguments {
  std::string vm;
  std::vector<std::string> selectors;
  std::string hypervisor;
  std::string tenant;
  double wait_seconds = 0;
  bool dry_run = false;
  RequestArguments request;
};

// --for names the scheme of a VM that was given without one; it may not contradict one.
Result<hypervisors::VmReference> vm_of(const Arguments& arguments) {
  const auto kind = hypervisors::parse_kind(arguments.hypervisor);
  if (!kind) return Session::vm(arguments.vm);
  const bool scheme = arguments.vm.find(':') != std::string::npos;
  SLICEBROKER_TRY(auto vm, Session::vm(scheme ? arguments.vm : arguments.hypervisor + ":" + arguments.vm));
  if (vm.kind == *kind) return vm;
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = "understand --for";
  error.subject = arguments.hypervisor;
  error.fact = "the VM is given as " + arguments.vm;
  error.hint = "leave --for out";
  return fail(std::move(error));
}

// It is written into the ledger and every table, so it has to be one line.
Result<std::string> tenant_of(const Arguments& arguments) {
  constexpr std::size_t kLongest = 128;
  const auto& text = arguments.tenant;
  const auto printable = [](unsigned char c) { return c >= 0x20 && c != 0x7f; };
  if (text.size() <= kLongest && std::all_of(text.begin(), text.end(), printable)) return text;
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = "understand --tenant";
  error.fact = "it is longer than 128 bytes, or has control characters";
  error.hint = "use a short name";
  return fail(std::move(error));
}

Result<Output> attach(const Session& session, const Arguments& arguments) {
  SLICEBROKER_TRY(const auto vm, vm_of(arguments));
  std::vector<Selector> selectors;
  for (const auto& text : arguments.selectors) {
    SLICEBROKER_TRY(auto selector, parse_selector(text));
    selectors.push_back(std::move(selector));
  }
  SLICEBROKER_TRY(auto options, arguments.request.options());
  SLICEBROKER_TRY(options.tenant, tenant_of(arguments));
  SLICEBROKER_TRY(auto broker, session.broker(kDetachDeadline, seconds_to_milliseconds(arguments.wait_seconds)));
  if (arguments.dry_run) {
    SLICEBROKER_TRY(const auto plans, broker.plan_attach(vm, selectors, options));
    return Output{render_plans(plans, session.format())};
  }
  SLICEBROKER_TRY(const auto leases, broker.attach(vm, selectors, options));
  return Output{render_attached(leases, session.format())};
}

}  // namespace

void add_attach(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("attach", "Lease, prepare and attach devices to a VM");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("VM", arguments->vm, "libvirt:NAME|UUID (libvirt: may be left out) or ch:API-SOCKET")->required();
  command->add_option("SELECTOR", arguments->selectors, "MIG-<uuid>, profile=, type=, memory=, mdev=, vf= or gpu=")
      ->required();
  command->add_option("--for", arguments->hypervisor, "the VM's hypervisor, where VM has no scheme")
      ->check(CLI::IsMember({"libvirt", "ch", "cloud-hypervisor"}));
  command->add_option("--tenant", arguments->tenant, "on whose behalf; kept with the lease and in the audit trail")
      ->type_name("NAME");
  command->add_flag("-n,--dry-run", arguments->dry_run, "print the very plan and change nothing");
  add_wait(*command, arguments->wait_seconds);
  arguments->request.add_to(*command);
  session.run(*command, [&session, arguments] { return attach(session, *arguments); });
}

}  // namespace slicebroker::broker::cli
