// SPDX-License-Identifier: Apache-2.0
// VFIO: drivers/vfio/{vfio_main,group,device_cdev}.c and vfio-pci. There are no ioctls here, so whoever has a group's
// node open counts as a user of every device in it.
#include <cerrno>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

std::string group_node(unsigned group) {
  return "dev/vfio/" + std::to_string(group);
}

// A vendor VF without a type lets its group be opened and not itself: VFIO_GROUP_GET_DEVICE_FD gives ENODEV.
int open_group(Machine& machine, unsigned id) {
  const auto at = machine.groups.find(id);
  if (at == machine.groups.end()) return ENODEV;
  auto& group = at->second;
  if (group.opened) return EBUSY;
  group.opened = true;
  group.claimed = group.emulated || is_viable(machine, group);
  for (auto& [_, device] : machine.vfio_devices) {
    if (device.group == id && (!device.can_open || device.can_open())) ++device.openers;
  }
  return 0;
}

void close_group(Machine& machine, unsigned id) {
  for (auto& [_, device] : machine.vfio_devices) {
    if (device.group == id) device.openers = 0;
  }
  const auto at = machine.groups.find(id);
  if (at == machine.groups.end()) return;
  at->second.opened = at->second.claimed = false;
}

void add_group_node(Machine& machine, unsigned id) {
  auto* m = &machine;
  File node;
  node.mode = 0600;
  node.open = [m, id](Caller&) { return open_group(*m, id); };
  node.release = [m, id](pid_t) { close_group(*m, id); };
  machine.tree.add_file(group_node(id), node);
  const auto directory = "sys/devices/virtual/vfio/" + std::to_string(id);
  machine.tree.add_text(directory + "/dev", "243:" + std::to_string(id));
  link_to(machine, "sys/class/vfio/" + std::to_string(id), directory);
}

void remove_group_node(Machine& machine, unsigned id) {
  machine.tree.remove(group_node(id));
  machine.tree.remove("sys/class/vfio/" + std::to_string(id));
  machine.tree.remove("sys/devices/virtual/vfio/" + std::to_string(id));
}

bool has_devices(const Machine& machine, unsigned group) {
  for (const auto& [_, device] : machine.vfio_devices) {
    if (device.group == group) return true;
  }
  return false;
}

void add_device_node(Machine& machine, const std::string& name) {
  auto* m = &machine;
  File node;
  node.mode = 0600;
  node.open = [m, name](Caller&) {
    auto& device = m->vfio_devices.at(name);
    if (device.can_open && !device.can_open()) return ENODEV;
    ++device.openers;
    return 0;
  };
  node.release = [m, name](pid_t) {
    const auto device = m->vfio_devices.find(name);
    if (device != m->vfio_devices.end() && device->second.openers > 0) --device->second.openers;
  };
  machine.tree.add_file("dev/vfio/devices/" + name, node);
}

void hide_device(Machine& machine, const VfioDevice& device) {
  machine.tree.remove(device.directory + "/vfio-dev");
  machine.tree.remove("sys/class/vfio-dev/" + device.name);
  if (machine.iommufd) machine.tree.remove("dev/vfio/devices/" + device.name);
}

}  // namespace

void add_vfio(Machine& machine) {
  machine.tree.add_directory("sys/class/vfio");
  machine.tree.add_directory("sys/class/vfio-dev");
  add_module(machine, "vfio");
  add_module(machine, "vfio_iommu_type1");
  machine.tree.add_text("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N");
  add_node(machine, "dev/vfio/vfio");
  if (machine.iommufd) add_node(machine, "dev/iommu");
}

bool is_open(const Machine& machine, const std::string& vfio) {
  const auto device = machine.vfio_devices.find(vfio);
  return device != machine.vfio_devices.end() && device->second.openers > 0;
}

int register_vfio(Machine& machine, const std::string& directory, unsigned group, std::string& name,
                  std::function<bool()> can_open) {
  unsigned number = 0;
  while (machine.vfio_devices.contains("vfio" + std::to_string(number))) ++number;
  name = "vfio" + std::to_string(number);
  const bool first = !has_devices(machine, group);
  machine.vfio_devices[name] = {name, directory, group, 0, std::move(can_open)};
  const auto device = directory + "/vfio-dev/" + name;
  machine.tree.add_text(device + "/dev", "511:" + std::to_string(number));
  link_to(machine, device + "/device", directory);
  link_to(machine, "sys/class/vfio-dev/" + name, device);
  if (first) add_group_node(machine, group);
  if (machine.iommufd) add_device_node(machine, name);
  return 0;
}

// Since 6.6 the device itself goes before its users are waited for: vfio_unregister_group_dev().
int unregister_vfio(Machine& machine, std::string& name, Caller& caller) {
  if (name.empty()) return 0;
  const bool early = machine.kernel_at_least(6, 6);
  const auto device = machine.vfio_devices.at(name);
  if (early) hide_device(machine, device);
  const auto free = [&] { return !is_open(machine, name); };
  if (!free() && !caller.wait(free)) return EINTR;
  if (!early) hide_device(machine, device);
  machine.vfio_devices.erase(name);
  if (!has_devices(machine, device.group)) remove_group_node(machine, device.group);
  name.clear();
  return 0;
}

// vfio_pci_core_register_device() and the group that it asks for.
int probe_vfio_pci(Machine& machine, Function& function) {
  if (function.board->is_bridge()) return EINVAL;
  if (function.vf_count > 0) return EBUSY;
  if (!function.group) return EINVAL;
  const bool refuses = function.physical != nullptr && function.physical->driver == "nvidia";
  if (refuses && !machine.nvidia.vfs_take_vfio_pci) return EINVAL;
  return register_vfio(machine, function.directory, *function.group, function.vfio);
}

int remove_vfio_pci(Machine& machine, Function& function, Caller& caller) {
  return unregister_vfio(machine, function.vfio, caller);
}

}  // namespace slicebroker::simhost::model
