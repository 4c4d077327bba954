// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/vmm/hostdev.h"

#include <libvirt/virterror.h>

#include <cstring>
#include <filesystem>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// "" where there is no such link. `directory` has no links in it.
std::string link_target(const Tree& tree, const std::string& link) {
  const auto node = tree.find(link);
  return node && node->kind == Tree::Node::Kind::kLink ? node->target : std::string();
}

// The directory behind sys/bus/BUS/devices/NAME.
std::string directory_of(const Tree& tree, const std::string& entry) {
  const auto target = link_target(tree, entry);
  if (target.empty()) return {};
  return (std::filesystem::path(entry).parent_path() / target).lexically_normal().string();
}

std::string entry_of(const Hostdev& hostdev) {
  return (hostdev.mdev ? "sys/bus/mdev/devices/" : "sys/bus/pci/devices/") + hostdev.device;
}

std::string driver_of(const Tree& tree, const std::string& directory) {
  return base_name(link_target(tree, directory + "/driver"));
}

// vfio_dev_viable() of drivers/vfio/group.c.
bool is_viable(const Tree& tree, const std::string& group) {
  const auto devices = "sys/kernel/iommu_groups/" + group + "/devices";
  for (const auto& name : tree.list(devices)) {
    const auto directory = directory_of(tree, devices + "/" + name);
    const auto driver = driver_of(tree, directory);
    if (driver.empty() || driver == "pci-stub" || driver == "pcieport") continue;
    if (!tree.exists(directory + "/vfio-dev")) return false;
  }
  return true;
}

// A vendor VF without a type gives no device: VFIO_GROUP_GET_DEVICE_FD fails.
bool has_device(const Tree& tree, const std::string& directory) {
  const auto type = tree.find(directory + "/nvidia/current_vgpu_type");
  if (!type || !type->file.show) return true;
  return words(type->file.show().value_or("0")) != std::vector<std::string>{"0"};
}

Refusal device_add(const std::string& text) {
  return internal_error("unable to execute QEMU command 'device_add': vfio " + text);
}

}  // namespace

Refusal internal_error(const std::string& text) {
  return {VIR_ERR_INTERNAL_ERROR, "internal error: " + text};
}

Refusal invalid_operation(const std::string& text) {
  return {VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: " + text};
}

std::optional<Refusal> check_host(const Tree& tree, const Hostdev& hostdev, LibvirtAge age) {
  const auto directory = directory_of(tree, entry_of(hostdev));
  if (hostdev.mdev) {
    if (!directory.empty()) return std::nullopt;
    return Refusal{VIR_ERR_DEVICE_MISSING, "device not found: mediated device '" + hostdev.device + "' not found"};
  }
  if (directory.empty()) {
    return Refusal{VIR_ERR_SYSTEM_ERROR, "Device " + hostdev.device +
                                             " not found: could not access /sys/bus/pci/devices/" + hostdev.device +
                                             "/config: No such file or directory"};
  }
  const auto driver = driver_of(tree, directory);
  const bool variant = age == LibvirtAge::kKnowsVariantDrivers && tree.exists(directory + "/vfio-dev");
  if (driver == "vfio-pci" || (!driver.empty() && variant)) return std::nullopt;
  return invalid_operation("Unmanaged PCI device " + hostdev.device + " must be manually detached from the host");
}

tl::expected<std::string, Refusal> find_node(const Tree& tree, const Hostdev& hostdev) {
  const auto directory = directory_of(tree, entry_of(hostdev));
  const auto group = base_name(link_target(tree, directory + "/iommu_group"));
  const auto device = hostdev.device;
  if (group.empty()) return tl::unexpected(device_add(device + ": no iommu_group found: No such file or directory"));
  if (!hostdev.mdev && !is_viable(tree, group)) {
    return tl::unexpected(device_add(device + ": group " + group +
                                     " is not viable\nPlease ensure all devices within the iommu_group are bound to "
                                     "their vfio bus driver."));
  }
  if (!has_device(tree, directory)) {
    return tl::unexpected(device_add(device + ": error getting device from group " + group +
                                     ": No such device\nVerify all devices in group " + group +
                                     " are bound to vfio-<bus> or pci-stub and not already in use"));
  }
  return "/dev/vfio/" + group;
}

Refusal open_refused(const Hostdev& hostdev, const std::string& node, int os_errno) {
  return device_add(hostdev.device + ": failed to open " + node + ": " + std::strerror(os_errno));
}

}  // namespace slicebroker::simhost
