// SPDX-License-Identifier: Apache-2.0
#include "vfio/mdev/mdev.h"

#include <cerrno>

#include "vfio/base/text.h"
#include "vfio/mdev/description.h"

namespace slicebroker::vfio {
namespace {

constexpr std::string_view kBus = "sys/class/mdev_bus";
constexpr std::string_view kDevices = "sys/bus/mdev/devices";

Result<MdevType> read_type(const HostRoot& host, const PciAddress& parent, const std::string& id,
                           const std::string& directory) {
  MdevType type{parent, id, id, {}, 0, {}, {}};
  SLICEBROKER_TRY(const auto available, host.read_attr(directory + "/available_instances"));
  const auto count = parse_number<std::uint32_t>(trim(available));
  if (!count) {
    Error error = os_error("understand '" + available + "'", host.display(directory + "/available_instances"), EINVAL);
    error.reason = "MALFORMED_ATTRIBUTE";
    return fail(std::move(error));
  }
  type.available = *count;
  SLICEBROKER_TRY(type.device_api, host.read_attr(directory + "/device_api"));
  SLICEBROKER_TRY(const auto type_name, host.find_attr(directory + "/name"));
  if (type_name && !trim(*type_name).empty()) type.name = trim(*type_name);
  SLICEBROKER_TRY(const auto text, host.find_attr(directory + "/description"));
  const auto description = parse_mdev_description(text.value_or(""));
  type.framebuffer_mib = description.framebuffer_mib;
  type.max_instances = description.max_instances;
  return type;
}

Result<MdevDevice> read_device(const HostRoot& host, const Uuid& uuid) {
  MdevDevice device;
  device.uuid = uuid;
  SLICEBROKER_TRY(device.parent, find_mdev_parent(host, uuid));
  SLICEBROKER_TRY(const auto type, host.find_link_name(mdev_path(uuid, "mdev_type")));
  device.type_id = type.value_or("");
  SLICEBROKER_TRY(const auto group, host.find_link_name(mdev_path(uuid, "iommu_group")));
  if (group) device.iommu_group = parse_number<std::uint32_t>(*group);
  SLICEBROKER_TRY(device.vfio_devices, host.find_dir(mdev_path(uuid, "vfio-dev")));
  SLICEBROKER_TRY(device.gpu_instance_id, find_gpu_instance_id(host, mdev_path(uuid)));
  return device;
}

}  // namespace

// The parent is the directory that holds the device's: /sys/devices/pci.../0000:41:00.4/<uuid>.
Result<std::optional<PciAddress>> find_mdev_parent(const HostRoot& host, const Uuid& uuid) {
  SLICEBROKER_TRY(const auto target, host.read_link(mdev_path(uuid)));
  const auto parts = split(target, '/');
  if (parts.size() < 2) return std::optional<PciAddress>();
  return PciAddress::parse(parts[parts.size() - 2]);
}

std::vector<std::string> device_nodes(const MdevDevice& device) {
  std::vector<std::string> nodes;
  if (device.iommu_group) nodes.push_back("/dev/vfio/" + std::to_string(*device.iommu_group));
  for (const auto& cdev : device.vfio_devices) nodes.push_back("/dev/vfio/devices/" + cdev);
  return nodes;
}

std::string mdev_path(const Uuid& uuid, std::string_view leaf) {
  std::string path = std::string(kDevices) + "/" + uuid.to_string();
  if (!leaf.empty()) path.append("/").append(leaf);
  return path;
}

Result<std::optional<std::uint32_t>> find_gpu_instance_id(const HostRoot& host, const std::string& directory) {
  const auto text = host.find_attr(directory + "/nvidia/gpu_instance_id");
  if (!text && text.error().os_errno == ENXIO) return std::optional<std::uint32_t>();
  if (!text) return fail(text.error());
  // Unconfirmed: what a time-sliced vGPU reads as; anything but a plain number is taken for "none".
  return *text ? parse_number<std::uint32_t>(trim(**text)) : std::nullopt;
}

Result<std::vector<MdevType>> list_mdev_types(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<MdevType> types;
  SLICEBROKER_TRY(const auto parents, host.find_dir(kBus));
  for (const auto& entry : parents) {
    const auto parent = PciAddress::parse(entry);
    if (!parent) continue;  // mtty and the like: no PCI parent, never a GPU
    const std::string directory = std::string(kBus) + "/" + entry + "/mdev_supported_types";
    SLICEBROKER_TRY(const auto ids, host.find_dir(directory));
    for (const auto& id : ids) {
      auto type = read_type(host, *parent, id, directory + "/" + id);
      if (type) {
        types.push_back(*std::move(type));
      } else {
        problems.push_back(caused_by("read mdev type " + id, entry, std::move(type).error()));
      }
    }
  }
  return types;
}

Result<std::vector<MdevDevice>> list_mdev_devices(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<MdevDevice> devices;
  SLICEBROKER_TRY(const auto names, host.find_dir(kDevices));
  for (const auto& entry : names) {
    const auto uuid = Uuid::parse(entry);
    if (!uuid) continue;
    auto device = read_device(host, *uuid);
    if (device) {
      devices.push_back(*std::move(device));
    } else if (host.is_there(mdev_path(*uuid)) != false) {
      problems.push_back(caused_by("read mediated device", entry, std::move(device).error()));
    }
  }
  return devices;
}

Result<std::optional<MdevDevice>> find_mdev_device(const HostRoot& host, const Uuid& uuid) {
  SLICEBROKER_TRY(const bool there, host.is_there(mdev_path(uuid)));
  if (!there) return std::optional<MdevDevice>();
  SLICEBROKER_TRY(auto device, read_device(host, uuid));
  return std::optional(std::move(device));
}

}  // namespace slicebroker::vfio
