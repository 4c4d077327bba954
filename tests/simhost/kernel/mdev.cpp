// SPDX-License-Identifier: Apache-2.0
// Mediated devices: drivers/vfio/mdev/{mdev_core,mdev_sysfs}.c. What a type takes is its parent driver's business.
#include <algorithm>
#include <cctype>
#include <cerrno>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

const std::string kBus = "sys/bus/mdev";

// guid_parse(): 36 characters, hexadecimal digits with dashes at four places.
std::optional<std::string> read_uuid(std::string_view text) {
  constexpr std::size_t kLength = 36;
  if (text.size() < kLength || text.size() > kLength + 1) return std::nullopt;
  std::string uuid(text.substr(0, kLength));
  for (std::size_t i = 0; i < kLength; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? uuid[i] != '-' : std::isxdigit(static_cast<unsigned char>(uuid[i])) == 0) return std::nullopt;
    uuid[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(uuid[i])));
  }
  return uuid;
}

void add_bus(Machine& machine) {
  if (machine.tree.exists(kBus)) return;
  machine.tree.add_directory(kBus + "/devices");
  machine.tree.add_directory(kBus + "/drivers");
  machine.tree.add_directory("sys/class/mdev_bus");
  add_module(machine, "mdev");
}

// dev_driver_string() makes the prefix.
void add_type(Machine& machine, Function& function, const std::string& prefix, const MdevType& type) {
  const auto id = prefix + "-" + type.id;
  const auto directory = function.directory + "/mdev_supported_types/" + id;
  auto& tree = machine.tree;
  auto* m = &machine;
  auto* f = &function;
  tree.add_text(directory + "/name", type.name);
  if (!type.description.empty()) tree.add_text(directory + "/description", type.description);
  tree.add_text(directory + "/device_api", "vfio-pci");
  tree.add_file(directory + "/available_instances",
                read_only([available = type.available] { return std::to_string(available()); }));
  tree.add_file(directory + "/create",
                write_only([m, f, id](std::string_view text, Caller&) { return create_mdev(*m, *f, id, text); }));
  tree.add_directory(directory + "/devices");
}

const MdevType* find_type(const MdevParent& parent, const std::string& type) {
  const auto at = std::find_if(parent.types.begin(), parent.types.end(),
                               [&](const MdevType& known) { return type == parent.type_prefix + "-" + known.id; });
  return at == parent.types.end() ? nullptr : &*at;
}

std::string type_directory(const Mdev& mdev) {
  return mdev.parent->directory + "/mdev_supported_types/" + mdev.type;
}

void show_mdev(Machine& machine, Mdev& mdev) {
  auto& tree = machine.tree;
  auto* m = &machine;
  auto* device = &mdev;
  tree.add_directory(mdev.directory);
  link_to(machine, kBus + "/devices/" + mdev.uuid, mdev.directory);
  link_to(machine, kBus + "/drivers/" + mdev.driver + "/" + mdev.uuid, mdev.directory);
  link_to(machine, type_directory(mdev) + "/devices/" + mdev.uuid, mdev.directory);
  link_to(machine, mdev.directory + "/mdev_type", type_directory(mdev));
  link_to(machine, mdev.directory + "/driver", kBus + "/drivers/" + mdev.driver);
  link_to(machine, mdev.directory + "/subsystem", kBus);
  tree.add_text(mdev.directory + "/uevent", "DRIVER=" + mdev.driver);
  tree.add_file(mdev.directory + "/power/control", unmodelled("auto"));
  tree.add_file(mdev.directory + "/remove", write_only([m, device](std::string_view text, Caller& caller) {
                  const auto value = read_number(text);
                  if (!value) return EINVAL;
                  if (*value == 0 || device->going) return 0;  // the first writer takes the file itself away
                  return remove_mdev(*m, *device, caller);
                }));
}

// What device_del() takes away before the driver is asked to let go, which may wait: all but the bare directory, and
// what VFIO has in it.
void hide_mdev(Machine& machine, Mdev& mdev) {
  machine.tree.remove(kBus + "/devices/" + mdev.uuid);
  machine.tree.remove(kBus + "/drivers/" + mdev.driver + "/" + mdev.uuid);
  machine.tree.remove(type_directory(mdev) + "/devices/" + mdev.uuid);
  for (const auto& name : machine.tree.list(mdev.directory)) {
    if (name != "iommu_group" && name != "vfio-dev") machine.tree.remove(mdev.directory + "/" + name);
  }
}

}  // namespace

void register_mdev_parent(Machine& machine, Function& function, MdevParent added) {
  add_bus(machine);
  const auto driver = kBus + "/drivers/" + added.driver;
  if (!machine.tree.exists(driver)) machine.tree.add_directory(driver);
  const auto& parent = machine.mdev_parents[function.bdf] = std::move(added);
  link_to(machine, "sys/class/mdev_bus/" + function.bdf, function.directory);
  for (const auto& type : parent.types) add_type(machine, function, parent.type_prefix, type);
}

int unregister_mdev_parent(Machine& machine, Function& function, Caller& caller) {
  const auto mdevs = machine.mdevs;
  for (const auto& [_, mdev] : mdevs) {
    if (mdev->parent != &function) continue;
    if (const int error = remove_mdev(machine, *mdev, caller); error != 0) return error;
  }
  machine.tree.remove("sys/class/mdev_bus/" + function.bdf);
  machine.tree.remove(function.directory + "/mdev_supported_types");
  machine.mdev_parents.erase(function.bdf);
  return 0;
}

int create_mdev(Machine& machine, Function& function, const std::string& type_name, std::string_view text) {
  const auto uuid = read_uuid(text);
  if (!uuid) return EINVAL;
  if (machine.mdevs.contains(*uuid)) return EEXIST;
  auto& parent = machine.mdev_parents.at(function.bdf);
  const auto* type = find_type(parent, type_name);
  if (type == nullptr) return ENODEV;
  auto& mdev = machine.all_mdevs.emplace_back();
  mdev.uuid = *uuid;
  mdev.parent = &function;
  mdev.type = type_name;
  mdev.driver = parent.driver;
  mdev.directory = function.directory + "/" + *uuid;
  if (const int error = type->create(mdev); error != 0) {
    machine.all_mdevs.pop_back();
    return error;
  }
  machine.mdevs[*uuid] = &mdev;
  show_mdev(machine, mdev);
  const auto group = join_group(machine, mdev.directory, std::nullopt, true);
  register_vfio(machine, mdev.directory, group, mdev.vfio);
  if (parent.add_files) parent.add_files(mdev);
  return 0;
}

int remove_mdev(Machine& machine, Mdev& mdev, Caller& caller) {
  if (mdev.going) return caller.wait([&] { return !machine.mdevs.contains(mdev.uuid); }) ? 0 : EINTR;
  mdev.going = true;
  hide_mdev(machine, mdev);
  const auto group = machine.vfio_devices.at(mdev.vfio).group;
  if (const int error = unregister_vfio(machine, mdev.vfio, caller); error != 0) return error;
  machine.mdev_parents.at(mdev.parent->bdf).destroy(mdev);
  leave_group(machine, mdev.directory, group);
  machine.tree.remove(mdev.directory);
  machine.mdevs.erase(mdev.uuid);
  return 0;
}

}  // namespace slicebroker::simhost::model
