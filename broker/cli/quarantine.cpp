// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"

namespace slicebroker::broker::cli {
namespace {

struct Arguments {
  std::string device;
  std::string reason;
  bool force = false;
};

Result<Output> list_all(const Session& session) {
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto view, broker.ledger_view());
  return Output{render_quarantines(view.quarantines, session.format())};
}

Result<Output> add(const Session& session, const Arguments& arguments) {
  SLICEBROKER_TRY(auto broker, session.broker_without_policy());
  auto device = broker.find_device(arguments.device);
  if (!device && arguments.force) device = Broker::name_device(arguments.device);
  if (!device) return fail(std::move(device).error());
  SLICEBROKER_TRY(const bool changed, broker.quarantine(*device, arguments.reason));
  return Output{render_quarantined(*device, changed, session.format())};
}

Result<Output> clear(const Session& session, const Arguments& arguments) {
  SLICEBROKER_TRY(auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto device, broker.clear_quarantine(arguments.device));
  return Output{render_cleared(device, session.format())};
}

}  // namespace

void add_quarantine(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("quarantine", "Devices that may not be leased until someone has looked");
  command->require_subcommand(1);
  const auto arguments = std::make_shared<Arguments>();
  const std::string device = "PCI address, mdev UUID, GPU-<uuid> or MIG-<uuid>";

  auto* all = command->add_subcommand("list", "What is quarantined, since when and why");
  session.run(*all, [&session] { return list_all(session); });

  auto* adding = command->add_subcommand("add", "Keep a device, its IOMMU group and a GPU's slices from being leased");
  adding->add_option("DEVICE", arguments->device, device)->required();
  adding->add_option("--reason", arguments->reason, "why, for whoever looks at it")->type_name("TEXT");
  adding->add_flag("--force", arguments->force, "take a device that this host does not have now");
  session.run(*adding, [&session, arguments] { return add(session, *arguments); });

  auto* clearing = command->add_subcommand("clear", "Let a device be leased again");
  clearing->add_option("DEVICE", arguments->device, device)->required();
  session.run(*clearing, [&session, arguments] { return clear(session, *arguments); });
}

}  // namespace slicebroker::broker::cli
