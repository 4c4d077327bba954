// SPDX-License-Identifier: Apache-2.0
// What changes a host from outside: its administrator, its boot services, its hardware. The lines of a host file behind
// its hardware, and those of the control file. tests/simhost/hosts/README.md is the manual.
#include "tests/simhost/kernel/command.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {

bool is_in_use(const Machine& machine, const Function& function) {
  const auto uses_mdev = [&](const auto& entry) {
    return entry.second->parent == &function && is_open(machine, entry.second->vfio);
  };
  return is_open(machine, function.vfio) || (function.gpu && function.gpu->users > 0) ||
         std::any_of(machine.mdevs.begin(), machine.mdevs.end(), uses_mdev) ||
         std::any_of(function.vfs.begin(), function.vfs.end(),
                     [&](const Function* vf) { return is_in_use(machine, *vf); });
}

Outcome failed(const std::string& what, int error) {
  if (error == 0) return {};
  return tl::unexpected(what + ": " + (error == EINTR ? "somebody uses it" : std::strerror(error)));
}

Outcome bad(const std::string& what) {
  return tl::unexpected(what);
}

tl::expected<Function*, std::string> function_of(Call& call) {
  const auto bdf = call.words.next();
  auto* function = call.machine.find_function(bdf);
  if (function == nullptr) return tl::unexpected("there is no PCI function '" + bdf + "'");
  return function;
}

tl::expected<Gpu*, std::string> gpu_of(Call& call) {
  auto function = function_of(call);
  if (!function) return tl::unexpected(function.error());
  if (!(*function)->gpu) return tl::unexpected((*function)->bdf + " is no NVIDIA GPU");
  return (*function)->gpu.get();
}

tl::expected<bool, std::string> switch_of(Call& call) {
  const auto word = call.words.next();
  if (word != "on" && word != "off") return tl::unexpected("'on' or 'off' is expected and not '" + word + "'");
  return word == "on";
}

namespace {

// As the vendor's tool does it: a driver that refuses a plain write of sriov_numvfs doesn't refuse this.
Outcome run_numvfs(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto count = call.words.next();
  const auto& vfs = (*function)->vfs;
  const auto used = [&](const Function* vf) { return is_in_use(call.machine, *vf); };
  if (std::any_of(vfs.begin(), vfs.end(), used)) return failed("sriov_numvfs", EINTR);
  auto* gpu = (*function)->gpu.get();
  const bool locked = gpu != nullptr && gpu->unbind_locked;
  if (gpu != nullptr) gpu->unbind_locked = true;
  const int error = store_numvfs(call.machine, **function, count, call.caller);
  if (gpu != nullptr) gpu->unbind_locked = locked;
  return failed("sriov_numvfs", error);
}

Outcome run_autoprobe(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  (*function)->vf_autoprobe = *on;
  return {};
}

Outcome run_override(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto name = call.words.next();
  (*function)->driver_override = name == "none" ? std::nullopt : std::optional(name);
  return {};
}

// As driverctl does: override, unbind, probe.
Outcome run_bind(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto name = call.words.next();
  auto& machine = call.machine;
  if (name != "none" && !machine.drivers.contains(name)) return bad("there is no driver '" + name + "'");
  if (is_in_use(machine, **function)) return failed("unbind", EINTR);
  if (const int error = unbind_driver(machine, **function, call.caller); error != 0) return failed("unbind", error);
  if (name == "none") return {};
  auto& driver = machine.drivers.at(name);
  if (!matches(driver, **function)) (*function)->driver_override = name;
  return failed("bind", bind_driver(machine, driver, (*function)->bdf, call.caller));
}

Outcome load_driver(Call& call, const std::string& name) {
  auto& machine = call.machine;
  for (auto& driver : known_drivers(machine)) {
    if (driver.name != name) continue;
    if (machine.drivers.contains(name)) return bad(name + " is loaded");
    add_driver(machine, driver);
    const auto functions = machine.functions;
    for (const auto& [_, function] : functions) {
      if (function->present && function->driver.empty()) probe_all(machine, *function, call.caller);
    }
    return {};
  }
  return bad("there is no driver '" + name + "'");
}

Outcome run_driver(Call& call) {
  const auto name = call.words.next();
  const auto what = call.words.next();
  if (what == "load") return load_driver(call, name);
  if (what != "unload") return bad("'load' or 'unload' is expected and not '" + what + "'");
  if (!call.machine.drivers.contains(name)) return bad("there is no driver '" + name + "'");
  for (const auto& [_, function] : call.machine.functions) {
    if (function->driver == name && is_in_use(call.machine, *function)) return failed("unload", EINTR);
  }
  return failed("unload", remove_driver(call.machine, name, call.caller));
}

Outcome run_unplug(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  if ((*function)->physical != nullptr) return bad((*function)->bdf + " is a virtual function: its PF has it");
  if (is_in_use(call.machine, **function)) return failed("unplug", EINTR);
  for (const auto& [bdf, other] : call.machine.functions) {
    if (other->directory.starts_with((*function)->directory + "/")) return bad(bdf + " is behind it");
  }
  return failed("unplug", remove_function(call.machine, **function, call.caller));
}

bool is_configuration(const std::string& path) {
  return (path.starts_with("etc/") || path.starts_with("run/")) && path.find("..") == std::string::npos;
}

// A further line of a file that an administrator or another tool keeps.
Outcome run_file(Machine& machine, const std::string& line) {
  Words words(line);
  words.next();
  const auto path = words.next();
  if (!is_configuration(path)) return bad("'" + path + "' is not below etc/ or run/");
  const auto after = line.find(path) + path.size();
  const auto start = line.find_first_not_of(" \t", after);
  auto& text = machine.files[path];
  text += (start == std::string::npos ? "" : line.substr(start)) + "\n";
  remove_if_there(machine, path);
  File file;
  file.show = [text]() -> Text { return text; };
  machine.tree.add_file(path, std::move(file));
  return {};
}

Outcome run_no_file(Call& call) {
  const auto path = call.words.next();
  if (call.machine.files.erase(path) == 0) return bad("there is no file '" + path + "'");
  call.machine.tree.remove(path);
  return {};
}

Outcome run_plug(Call& call) {
  const auto bdf = call.words.next();
  auto& machine = call.machine;
  if (machine.find_function(bdf) != nullptr) return bad(bdf + " is there");
  for (auto& function : machine.all_functions) {
    if (function.bdf != bdf || function.physical != nullptr) continue;
    add_function(machine, function);
    return failed("probe", probe_all(machine, function, call.caller));
  }
  return bad("there was never a PCI function '" + bdf + "'");
}

struct Command {
  const char* name;
  Outcome (*run)(Call&);
};

constexpr Command kCommands[] = {{"gpu", run_gpu},
                                 {"mig", run_mig},
                                 {"gi", run_gi},
                                 {"destroy-gi", run_destroy_gi},
                                 {"ci", run_ci},
                                 {"destroy-ci", run_destroy_ci},
                                 {"heterogeneous", run_heterogeneous},
                                 {"numvfs", run_numvfs},
                                 {"autoprobe", run_autoprobe},
                                 {"vgpu", run_vgpu},
                                 {"remove-vgpu", run_remove_vgpu},
                                 {"override", run_override},
                                 {"bind", run_bind},
                                 {"driver", run_driver},
                                 {"unplug", run_unplug},
                                 {"plug", run_plug},
                                 {"no-file", run_no_file}};

}  // namespace

Outcome run_command(Machine& machine, const std::string& line) {
  Words words(line);
  const auto name = words.next();
  if (name == "file") return run_file(machine, line);
  for (const auto& command : kCommands) {
    if (name != command.name) continue;
    Call call{machine, words};
    auto outcome = command.run(call);
    if (outcome && !call.words.empty()) return bad("'" + call.words.next() + "' means nothing here");
    return outcome;
  }
  return bad("there is no command '" + name + "'");
}

}  // namespace slicebroker::simhost::model
