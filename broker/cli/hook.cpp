// SPDX-License-Identifier: Apache-2.0
// libvirt's hook, per https://libvirt.org/hooks.html. What it must never do: call libvirt back, fail on `reconnect`
// (libvirt would kill the running guest), print on stdout (`migrate` and `restore` take that for XML), fail for a
// domain that is not ours, or hang.
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

#include "broker/cli/session.h"
#include "hypervisors/libvirt/domain_xml.h"

namespace slicebroker::broker::cli {
namespace {

struct Arguments {
  std::string domain;
  std::string operation;
  std::string sub_operation;
  std::string extra;
};

constexpr unsigned kMostSeconds = 90;
constexpr std::chrono::seconds kLettingGo{10};  // for each device of a domain whose QEMU has ended

// A start that waits for ever is worse than one that fails; the ledger knows how far it came.
void give_up(int) {
  constexpr std::string_view kText = "slicebroker: hook took too long; see: slicebroker reconcile\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kText.data(), kText.size());
  _exit(6);
}

using Work = Result<void> (Broker::*)(const hypervisors::libvirt::Domain&);

Work work_of(const std::string& operation) {
  if (operation == "prepare") return &Broker::hook_prepare;
  if (operation == "started") return &Broker::hook_started;
  if (operation == "release") return &Broker::hook_release;
  return nullptr;
}

Result<Output> hook(const Session& session, const Arguments& arguments) {
  const auto work = work_of(arguments.operation);
  if (work == nullptr) return Output{};
  ::signal(SIGALRM, give_up);
  ::alarm(kMostSeconds);
  const std::string xml(std::istreambuf_iterator<char>(std::cin), {});
  const auto domain = hypervisors::libvirt::read_domain(xml);
  // Only a domain that mentions us can be ours: another one's oddities are no reason to keep it from starting.
  constexpr std::string_view kNamespace = "urn:slicebroker:";
  if (!domain && xml.find(kNamespace) == std::string::npos) return Output{};
  if (!domain) return fail(caused_by("read the domain", arguments.domain, domain.error()));
  // The policy bounds what a domain of ours is given; without it others start, and what is held is given back.
  const bool gives = arguments.operation == "prepare" && !domain->requests.empty();
  SLICEBROKER_TRY(auto broker, gives ? session.broker(kLettingGo) : session.broker_without_policy(kLettingGo));
  auto done = (broker.*work)(*domain);
  // `started` only notes what reconcile would find as well: no reason to end a guest that runs.
  if (!done && arguments.operation != "started") return fail(std::move(done).error());
  return Output{};
}

}  // namespace

void add_hook(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("hook", "Called by hypervisors around a VM's life");
  command->require_subcommand(1);
  auto* libvirt = command->add_subcommand("libvirt", "libvirt's QEMU hook; the domain's XML comes on stdin");
  const auto arguments = std::make_shared<Arguments>();
  libvirt->add_option("NAME", arguments->domain, "the domain")->required();
  libvirt->add_option("OPERATION", arguments->operation, "prepare, start, started, stopped, release, reconnect ...")
      ->required();
  libvirt->add_option("SUB-OPERATION", arguments->sub_operation, "begin or end");
  libvirt->add_option("EXTRA", arguments->extra, "'-', or why the domain ended");
  session.run(*libvirt, [&session, arguments] { return hook(session, *arguments); });
}

}  // namespace slicebroker::broker::cli
