// SPDX-License-Identifier: Apache-2.0
// Taking devices out of circulation by hand, and giving them back.
#include <unistd.h>

#include "broker/request/nearest.h"
#include "broker/service/broker.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/mig_uuid.h"

namespace slicebroker::broker {
namespace {

constexpr std::string_view kKeyPrefixes[] = {"pci:", "mdev:", "gpu-instance:"};

std::string near_misses(const vfio::Inventory& inventory, const std::string& text) {
  std::vector<std::string> known;
  for (const auto& function : inventory.functions) known.push_back(function.address.to_string());
  for (const auto& mdev : inventory.mdevs) known.push_back(mdev.uuid.to_string());
  if (inventory.nvidia) {
    for (const auto& gpu : inventory.nvidia->gpus) known.push_back(gpu.uuid);
  }
  const auto address = PciAddress::parse(text);
  return hint_for(address ? address->to_string() : text, known,
                  "see: slicebroker list gpus, list slices; for a device that is not there now: --force");
}

// The address or UUID inside a key.
std::string without_key(const std::string& text) {
  for (const auto prefix : kKeyPrefixes) {
    if (text.starts_with(prefix)) return text.substr(prefix.size());
  }
  return text;
}

std::optional<LeasedDevice> find_function(const vfio::Inventory& inventory, const std::string& text) {
  auto address = PciAddress::parse(text);
  if (!address && inventory.nvidia) {
    for (const auto& gpu : inventory.nvidia->gpus) {
      if (lower(gpu.uuid) == lower(text)) address = gpu.address;
    }
  }
  if (!address || inventory.find_function(*address) == nullptr) return std::nullopt;
  return LeasedDevice{device_key(*address), inventory.gpu_of(*address)};
}

std::optional<LeasedDevice> find_instance(const vfio::Inventory& inventory, const std::string& text) {
  if (!inventory.nvidia) return std::nullopt;
  if (const auto uuid = vfio::nvidia::MigUuid::parse(text)) {
    const auto found = vfio::nvidia::find_instance(*inventory.nvidia, *uuid);
    if (!found) return std::nullopt;
    return LeasedDevice{gpu_instance_key(found->gpu->address, found->gpu_instance->id), found->gpu->address};
  }
  for (const auto& gpu : inventory.nvidia->gpus) {
    for (const auto& instance : gpu.instances) {
      const auto key = gpu_instance_key(gpu.address, instance.id);
      if (key == text) return LeasedDevice{key, gpu.address};
    }
  }
  return std::nullopt;
}

// "0000:41:00.0/3": the key of a GPU instance without its prefix.
std::optional<LeasedDevice> name_instance(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const auto gpu = PciAddress::parse(text.substr(0, slash));
  const auto instance = parse_number<std::uint32_t>(text.substr(slash + 1));
  if (!gpu || !instance) return std::nullopt;
  return LeasedDevice{gpu_instance_key(*gpu, *instance), *gpu};
}

Error bad_device(ErrorCode code, const std::string& text, std::string fact, std::string hint) {
  Error error;
  error.code = code;
  error.tried = "quarantine";
  error.subject = text;
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  error.host = HostOutcome::kUntouched;
  return error;
}

}  // namespace

Result<LeasedDevice> Broker::name_device(const std::string& text) {
  const std::string device = without_key(text);
  if (const auto address = PciAddress::parse(device)) return LeasedDevice{device_key(*address), *address};
  if (const auto uuid = Uuid::parse(device)) return LeasedDevice{device_key(*uuid), PciAddress{}};
  if (const auto instance = name_instance(device)) return *instance;
  return fail(bad_device(ErrorCode::kUsage, text, "it is no PCI address or mdev UUID",
                         "a device looks like 0000:41:00.4; see: slicebroker quarantine list, list slices"));
}

Result<LeasedDevice> Broker::find_device(const std::string& text) const {
  SLICEBROKER_TRY(const auto host, inventory());
  if (const auto instance = find_instance(host, text)) return *instance;
  const std::string device = without_key(text);
  if (const auto function = find_function(host, device)) return *function;
  const auto uuid = Uuid::parse(device);
  if (const auto* mdev = uuid ? host.find_mdev(*uuid) : nullptr) {
    return LeasedDevice{device_key(*uuid), mdev->parent ? host.gpu_of(*mdev->parent) : PciAddress{}};
  }
  return fail(bad_device(ErrorCode::kNotFound, text, "this host has no such device", near_misses(host, text)));
}

Result<bool> Broker::quarantine(const LeasedDevice& device, const std::string& reason) {
  SLICEBROKER_TRY(auto ledger, open_ledger());
  return ledger.add_quarantine({device, "OPERATOR", reason, "", "uid " + std::to_string(::getuid())});
}

Result<LeasedDevice> Broker::clear_quarantine(const std::string& text) {
  SLICEBROKER_TRY(auto ledger, open_ledger());
  // A device that has gone meanwhile is cleared by its name; one that only the host can tell is looked up.
  auto device = name_device(text);
  if (!device) device = find_device(text);
  const auto missing = [&](std::string fact) {
    Error error = bad_device(ErrorCode::kNotFound, text, std::move(fact), "see: slicebroker quarantine list");
    error.reason = "NOT_QUARANTINED";
    error.tried = "clear the quarantine of";
    return fail(std::move(error));
  };
  if (!device) return missing("no quarantined device has this name");
  SLICEBROKER_TRY(const bool cleared, ledger.clear_quarantine(device->device));
  if (!cleared) return missing("it is not quarantined");
  return *device;
}

}  // namespace slicebroker::broker
