// SPDX-License-Identifier: Apache-2.0
// Binding: drivers/base/{bus,dd}.c, drivers/pci/pci-driver.c.
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "tests/simhost/kernel/machine.h"

namespace slicebroker::simhost::model {
namespace {

std::string driver_path(const std::string& name) {
  return "sys/bus/pci/drivers/" + name;
}

bool matches(const DriverMatch& id, const Function& function) {
  return (id.vendor < 0 || id.vendor == function.board->vendor) && (id.device < 0 || id.device == function.device) &&
         ((id.class_code ^ function.board->class_code) & id.class_mask) == 0;
}

// pci_device_can_probe()
bool may_probe(const Function& function) {
  return function.physical == nullptr || function.physical->vf_autoprobe || function.driver_override.has_value();
}

// Binds a function that has no driver and whose lock is held. `early` is set where the failure came before the driver's
// probe: the driver core treats the two differently.
int attach(Machine& machine, Driver& driver, Function& function, bool& early) {
  early = false;
  const auto group = function.group ? machine.groups.find(*function.group) : machine.groups.end();
  if (!driver.leaves_dma && group != machine.groups.end() && group->second.claimed) {
    early = true;
    return EBUSY;
  }
  if (!may_probe(function)) return ENODEV;
  if (driver.probe != nullptr) {
    if (const int error = driver.probe(machine, function); error != 0) return error;
  }
  function.driver = driver.name;
  function.link_shown = true;
  link_to(machine, function.directory + "/driver", driver_path(driver.name));
  link_to(machine, driver_path(driver.name) + "/" + function.bdf, function.directory);
  return 0;
}

int store_new_id(Machine& machine, Driver& driver, std::string_view text, Caller& caller) {
  unsigned vendor = 0, device = 0, subvendor = 0, subdevice = 0, class_code = 0, class_mask = 0;
  const int fields = std::sscanf(std::string(text).c_str(), "%x %x %x %x %x %x", &vendor, &device, &subvendor,
                                 &subdevice, &class_code, &class_mask);
  if (fields < 2) return EINVAL;
  for (const auto* ids : {&driver.ids, &driver.new_ids}) {
    for (const auto& id : *ids) {
      const bool same =
          id.vendor == static_cast<int>(vendor) && (id.device < 0 || id.device == static_cast<int>(device));
      if (same && !driver.only_by_override) return EEXIST;
    }
  }
  driver.new_ids.push_back({static_cast<int>(vendor), static_cast<int>(device), class_code, class_mask});
  const auto functions = machine.functions;  // probing may add some
  for (const auto& [_, function] : functions) {
    Guard guard(function->lock, caller);
    bool early = false;
    if (guard.taken() && function->driver.empty() && matches(driver, *function)) {
      attach(machine, driver, *function, early);
    }
  }
  return 0;
}

int store_remove_id(Driver& driver, std::string_view text) {
  unsigned vendor = 0, device = 0;
  if (std::sscanf(std::string(text).c_str(), "%x %x", &vendor, &device) < 2) return EINVAL;
  const auto removed = std::erase_if(driver.new_ids, [&](const DriverMatch& id) {
    return id.vendor == static_cast<int>(vendor) && id.device == static_cast<int>(device);
  });
  return removed > 0 ? 0 : ENODEV;
}

}  // namespace

bool matches(const Driver& driver, const Function& function) {
  if (function.driver_override) return *function.driver_override == driver.name;
  const auto fits = [&](const DriverMatch& id) { return matches(id, function); };
  if (std::any_of(driver.new_ids.begin(), driver.new_ids.end(), fits)) return true;
  return !driver.only_by_override && std::any_of(driver.ids.begin(), driver.ids.end(), fits);
}

int probe_all(Machine& machine, Function& function, Caller& /*caller*/) {
  for (auto& [_, driver] : machine.drivers) {
    if (!matches(driver, function)) continue;
    bool early = false;
    const int error = attach(machine, driver, function, early);
    if (error == 0) return 0;
    if (early) return error;
  }
  return 0;
}

int bind_driver(Machine& machine, Driver& driver, const std::string& bdf, Caller& caller) {
  auto* function = machine.find_function(bdf);
  if (function == nullptr || !matches(driver, *function)) return ENODEV;
  Guard guard(function->lock, caller);
  if (!guard.taken()) return EINTR;
  if (!function->present) return ENODEV;
  if (!function->driver.empty()) return EBUSY;
  bool early = false;
  return attach(machine, driver, *function, early);
}

// The links go before the driver is asked to let go, which may wait: __device_release_driver().
int unbind_driver(Machine& machine, Function& function, Caller& caller) {
  if (function.driver.empty()) return 0;
  auto& driver = machine.drivers.at(function.driver);
  if (function.link_shown) {
    machine.tree.remove(function.directory + "/driver");
    machine.tree.remove(driver_path(driver.name) + "/" + function.bdf);
    function.link_shown = false;
  }
  if (driver.remove != nullptr) {
    if (const int error = driver.remove(machine, function, caller); error != 0) return error;
  }
  function.driver.clear();
  return 0;
}

void add_driver(Machine& machine, Driver added) {
  const auto name = added.name;
  const auto path = driver_path(name);
  auto& tree = machine.tree;
  auto* m = &machine;
  machine.drivers[name] = std::move(added);
  machine.modules.insert(name);
  const auto& driver = machine.drivers[name];
  tree.add_directory(path);
  tree.add_file(path + "/bind", write_only([m, name](std::string_view text, Caller& caller) {
                  return bind_driver(*m, m->drivers.at(name), std::string(without_newline(text)), caller);
                }));
  tree.add_file(path + "/unbind", write_only([m, name](std::string_view text, Caller& caller) {
                  auto* function = m->find_function(without_newline(text));
                  if (function == nullptr || function->driver != name) return ENODEV;
                  Guard guard(function->lock, caller);
                  return guard.taken() ? unbind_driver(*m, *function, caller) : EINTR;
                }));
  tree.add_file(path + "/new_id", write_only([m, name](std::string_view text, Caller& caller) {
                  return store_new_id(*m, m->drivers.at(name), text, caller);
                }));
  tree.add_file(path + "/remove_id", write_only([m, name](std::string_view text, Caller&) {
                  return store_remove_id(m->drivers.at(name), text);
                }));
  File event;
  event.mode = 0200;
  tree.add_file(path + "/uevent", event);
  if (driver.module.empty()) return;
  add_module(machine, driver.module, driver.module == "nvidia" ? machine.nvidia.version : "");
  link_to(machine, path + "/module", "sys/module/" + driver.module);
  link_to(machine, "sys/module/" + driver.module + "/drivers/pci:" + name, path);
}

int remove_driver(Machine& machine, const std::string& name, Caller& caller) {
  const auto functions = machine.functions;
  for (const auto& [_, function] : functions) {
    if (!function->present || function->driver != name) continue;
    Guard guard(function->lock, caller);
    if (!guard.taken()) return EINTR;
    if (const int error = unbind_driver(machine, *function, caller); error != 0) return error;
  }
  const auto module = machine.drivers.at(name).module;
  machine.tree.remove(driver_path(name));
  machine.drivers.erase(name);
  if (module.empty()) return 0;
  const bool shared = std::any_of(machine.drivers.begin(), machine.drivers.end(),
                                  [&](const auto& other) { return other.second.module == module; });
  machine.tree.remove(shared ? "sys/module/" + module + "/drivers/pci:" + name : "sys/module/" + module);
  return 0;
}

}  // namespace slicebroker::simhost::model
