// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/mig_uuid.h"

namespace slicebroker::broker::cli {
namespace {

Error not_found(const std::string& device) {
  Error error;
  error.code = ErrorCode::kNotFound;
  error.tried = "show";
  error.subject = device;
  error.fact = "it is no PCI function, mediated device, MIG device, GPU UUID or lease of this host";
  error.hint = "see: slicebroker list gpus, list slices, list leases";
  return error;
}

// `vf=0000:41:00.4` and `0000:41:00.4` are the same device here.
std::string without_key(const std::string& device) {
  const auto equals = device.find('=');
  return equals == std::string::npos ? device : device.substr(equals + 1);
}

std::optional<std::string> show_function(const vfio::Inventory& inventory, const std::vector<Lease>& leases,
                                         const std::string& device, Format format) {
  auto address = PciAddress::parse(device);
  if (!address && inventory.nvidia) {
    for (const auto& gpu : inventory.nvidia->gpus) {
      if (lower(gpu.uuid) == lower(device)) address = gpu.address;
    }
  }
  const auto* function = address ? inventory.find_function(*address) : nullptr;
  if (function == nullptr) return std::nullopt;
  return render_function(inventory, *function, leases, format);
}

std::optional<std::string> show_mig(const vfio::Inventory& inventory, const std::vector<Lease>& leases,
                                    const std::string& device, Format format) {
  const auto uuid = vfio::nvidia::MigUuid::parse(device);
  if (!uuid || !inventory.nvidia) return std::nullopt;
  const auto found = vfio::nvidia::find_instance(*inventory.nvidia, *uuid);
  if (!found) return std::nullopt;
  return render_mig(*found->gpu, *found->gpu_instance, leases, format);
}

Result<Output> show(const Session& session, const std::string& argument) {
  const std::string device = without_key(argument);
  const Format format = session.format();
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  if (const auto number = parse_number<std::uint32_t>(device)) {
    SLICEBROKER_TRY(const auto lease, broker.find_lease(*number));
    if (lease) return Output{render_lease(*lease, format)};
  }
  SLICEBROKER_TRY(const auto leases, broker.leases());
  SLICEBROKER_TRY(const auto inventory, broker.inventory());
  if (auto text = show_function(inventory, leases, device, format)) return Output{*std::move(text)};
  if (auto text = show_mig(inventory, leases, device, format)) return Output{*std::move(text)};
  const auto uuid = Uuid::parse(device);
  const auto* mdev = uuid ? inventory.find_mdev(*uuid) : nullptr;
  if (mdev != nullptr) return Output{render_mdev(inventory, *mdev, leases, format)};
  return fail(not_found(argument));
}

}  // namespace

void add_show(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("show", "One GPU, slice, VF, mediated device or lease in full");
  const auto device = std::make_shared<std::string>();
  command->add_option("DEVICE", *device, "PCI address, GPU-<uuid>, MIG-<uuid>, mdev UUID or lease number")->required();
  session.run(*command, [&session, device] { return show(session, *device); });
}

}  // namespace slicebroker::broker::cli
