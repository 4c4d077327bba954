// SPDX-License-Identifier: Apache-2.0
// A host file: settings, then hardware, then commands, in this order, one a line. tests/simhost/hosts/README.md is the
// manual.
#include <algorithm>
#include <cstring>
#include <map>

#include "tests/simhost/kernel/command.h"
#include "tests/simhost/kernel/nvidia/gpu.h"
#include "tests/simhost/kernel/words.h"

namespace slicebroker::simhost::model {
namespace {

struct Host {
  Machine& machine;
  std::set<std::string> loaded = {"pcieport", "vfio-pci"};
  std::set<std::string> without = {};
  std::set<std::string> unprobed = {};  // addresses
  std::set<std::string> with_mig = {};  // addresses whose GPU kept MIG mode over the reboot
};

// --- settings -------------------------------------------------------------------------------------------------

Outcome set_switch(bool& value, Words& words) {
  const auto word = words.next();
  if (word != "on" && word != "off") return bad("'on' or 'off' is expected and not '" + word + "'");
  value = word == "on";
  return {};
}

Outcome set_nvidia(Host& host, Words& words) {
  static const std::map<std::string, VgpuFramework> kFrameworks = {
      {"none", VgpuFramework::kNone}, {"mdev", VgpuFramework::kMdev}, {"vendor", VgpuFramework::kVendor}};
  auto& nvidia = host.machine.nvidia;
  nvidia.present = true;
  nvidia.version = words.next();
  if (const auto vgpu = words.option("vgpu")) {
    if (!kFrameworks.contains(*vgpu)) return bad("vgpu= is 'mdev', 'vendor' or 'none' and not '" + *vgpu + "'");
    nvidia.framework = kFrameworks.at(*vgpu);
  }
  while (!words.empty()) {
    const auto word = words.next();
    if (word == "types-in-columns") {
      nvidia.types_in_columns = true;
    } else if (word == "highest-gi-first") {
      nvidia.highest_gi_first = true;
    } else if (word == "numvfs-by-tool") {
      nvidia.raw_numvfs = false;
    } else if (word == "vfs-take-vfio-pci") {
      nvidia.vfs_take_vfio_pci = true;
    } else {
      return bad("'" + word + "' means nothing here");
    }
  }
  return {};
}

bool is_driver(const Machine& machine, const std::string& name) {
  const auto drivers = known_drivers(machine);
  return std::any_of(drivers.begin(), drivers.end(), [&](const Driver& driver) { return driver.name == name; });
}

Outcome set_drivers(Host& host, std::set<std::string>& drivers, Words& words) {
  while (!words.empty()) {
    const auto name = words.next();
    if (!is_driver(host.machine, name)) return bad("there is no driver '" + name + "'");
    drivers.insert(name);
  }
  return {};
}

Outcome set_boots(Host& host, Words& words) {
  const auto count = read_number(words.next(), 10);
  if (!count) return bad("a number is expected");
  host.machine.boots = static_cast<unsigned>(*count);
  return {};
}

// False where the line is no setting.
tl::expected<bool, std::string> read_setting(Host& host, const std::string& line) {
  Words words(line);
  const auto name = words.next();
  auto& machine = host.machine;
  Outcome outcome;
  if (name == "kernel") {
    machine.kernel = words.next();
  } else if (name == "cmdline") {
    machine.command_line = line.substr(line.find("cmdline") + std::strlen("cmdline "));
    return true;
  } else if (name == "iommu") {
    outcome = set_switch(machine.iommu, words);
  } else if (name == "iommufd") {
    outcome = set_switch(machine.iommufd, words);
  } else if (name == "nvml") {
    machine.nvml = words.next();
    if (machine.nvml != "yes" && machine.nvml != "old" && machine.nvml != "none") {
      outcome = bad("nvml is 'yes', 'old' or 'none' and not '" + machine.nvml + "'");
    }
  } else if (name == "nvidia") {
    outcome = set_nvidia(host, words);
  } else if (name == "load") {
    outcome = set_drivers(host, host.loaded, words);
  } else if (name == "without") {
    outcome = set_drivers(host, host.without, words);
  } else if (name == "boots") {
    outcome = set_boots(host, words);
  } else if (name == "remembers-mig") {
    host.with_mig.insert(words.next());
  } else {
    return false;
  }
  if (!outcome) return tl::unexpected(outcome.error());
  if (!words.empty()) return tl::unexpected("'" + words.next() + "' means nothing here");
  return true;
}

// --- hardware -------------------------------------------------------------------------------------------------

std::string known_boards() {
  std::string names;
  for (const auto& board : all_boards()) names += (names.empty() ? "" : ", ") + board.key;
  return names;
}

Outcome place(Host& host, Function& function, Words& words) {
  const auto address = *Address::parse(function.bdf);
  std::string parent = "sys/devices/pci" + hex(address.domain, 4) + ":" + hex(address.bus, 2);
  if (const auto below = words.option("below")) {
    const auto* bridge = host.machine.find_function(*below);
    if (bridge == nullptr) return bad("there is no bridge '" + *below + "' above this line");
    if (!bridge->board->is_bridge()) return bad(*below + " is no bridge");
    parent = bridge->directory;
  }
  function.directory = parent + "/" + function.bdf;
  const auto group = words.option("group");
  if (!group) return {};
  const auto* other = host.machine.find_function(*group);
  if (other == nullptr) return bad("group= is the address of a function above this line");
  function.companion = other;
  return {};
}

Outcome read_hardware(Host& host, const std::string& line) {
  Words words(line);
  auto& machine = host.machine;
  const auto bdf = words.next();
  const auto key = words.next();
  const auto* board = find_board(key);
  if (machine.find_function(bdf) != nullptr) return bad(bdf + " is there twice");
  if (board == nullptr) return bad("there is no board '" + key + "'; there are: " + known_boards());
  auto& function = machine.all_functions.emplace_back();
  function.bdf = bdf;
  function.board = board;
  function.device = board->device;
  if (const auto placed = place(host, function, words); !placed) return placed;
  function.driver_override = words.option("override");
  if (const auto driver = words.option("driver"); driver) {
    if (*driver != "none") return bad("driver= can only be 'none': another one is wanted by override=");
    host.unprobed.insert(bdf);
  }
  if (const auto node = words.option("numa")) {
    const auto number = read_number(*node, 10);
    if (!number) return bad("numa= is a number");
    function.numa_node = static_cast<int>(*number);
  }
  if (!words.empty()) return bad("'" + words.next() + "' means nothing here");
  const bool nvidia_gpu = board->is_nvidia_gpu();
  if (nvidia_gpu) give_identity(machine, function);
  if (nvidia_gpu && host.with_mig.contains(bdf)) function.gpu->mig_mode = true;
  if (!board->driver.empty() && (machine.nvidia.present || !board->driver.starts_with("nvidia"))) {
    host.loaded.insert(board->driver);
  }
  add_function(machine, function);
  return {};
}

void probe_hardware(Host& host) {
  Impatient caller;
  auto& machine = host.machine;
  for (auto& driver : known_drivers(machine)) {
    if (host.loaded.contains(driver.name) && !host.without.contains(driver.name)) add_driver(machine, driver);
  }
  if (machine.drivers.contains("vfio-pci")) add_vfio(machine);
  const auto functions = machine.functions;
  for (const auto& [bdf, function] : functions) {
    if (!host.unprobed.contains(bdf)) probe_all(machine, *function, caller);
  }
}

// --- processes --------------------------------------------------------------------------------------------------

// "vfio:" and "gpu:" stand for the node of a function or mdev, whose number nobody wants to know.
tl::expected<std::string, std::string> node_of(const Machine& machine, const std::string& word) {
  if (word.starts_with("/dev/")) return word;
  const auto name = word.substr(word.find(':') + 1);
  const auto* function = machine.find_function(name);
  if (word.starts_with("gpu:") && function != nullptr && function->gpu) {
    return "/dev/nvidia" + std::to_string(function->gpu->minor);
  }
  if (word.starts_with("vfio:")) {
    const auto mdev = machine.mdevs.find(name);
    const auto& vfio = mdev != machine.mdevs.end() ? mdev->second->vfio : function != nullptr ? function->vfio : "";
    const auto device = machine.vfio_devices.find(vfio);
    if (device != machine.vfio_devices.end()) return "/dev/vfio/" + std::to_string(device->second.group);
  }
  return tl::unexpected("'" + word + "' names no node: /dev/..., gpu:ADDRESS, vfio:ADDRESS or vfio:UUID");
}

Outcome start_process(Machine& machine, Words words) {
  SimulatedProcess process;
  const auto pid = read_number(words.next(), 10);
  if (!pid) return bad("'process PID COMMAND' is expected");
  process.pid = static_cast<pid_t>(*pid);
  process.unit = words.option("unit").value_or("");
  process.command = words.next();
  while (!words.empty()) {
    auto node = node_of(machine, words.next());
    if (!node) return bad(node.error());
    process.nodes.push_back(*node);
  }
  const int error = machine.processes.start(process);
  if (error != 0) return bad("process " + std::to_string(process.pid) + ": " + std::strerror(error));
  return {};
}

Outcome run_line(Machine& machine, const std::string& line) {
  Words words(line);
  if (words.next() == "process") return start_process(machine, words);
  return run_command(machine, line);
}

enum class Part { kSettings, kHardware, kCommands };

Outcome enter_hardware(Host& host, Part& part) {
  if (part == Part::kCommands) return bad("hardware comes before the first command");
  if (part == Part::kHardware) return {};
  part = Part::kHardware;
  add_proc(host.machine);
  add_pci_bus(host.machine);
  return {};
}

Outcome read_line(Host& host, const std::string& line, Part& part) {
  const auto setting = read_setting(host, line);
  if (!setting) return bad(setting.error());
  if (*setting) return part == Part::kSettings ? Outcome() : bad("settings come before hardware");
  Words words(line);
  if (Address::parse(words.next())) {
    const auto entered = enter_hardware(host, part);
    return entered ? read_hardware(host, line) : entered;
  }
  if (part == Part::kSettings) return bad("'" + Words(line).next() + "' is neither a setting nor an address");
  if (part == Part::kHardware) probe_hardware(host);
  part = Part::kCommands;
  return run_line(host.machine, line);
}

}  // namespace

Outcome read_host(Machine& machine, std::string_view description) {
  Host host{machine};
  Part part = Part::kSettings;
  std::istringstream lines{std::string(description)};
  std::string line;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto outcome = read_line(host, line, part);
    if (!outcome) return bad("line " + std::to_string(number) + ": " + outcome.error());
  }
  if (part == Part::kSettings) return bad("a host without hardware");
  if (part == Part::kHardware) probe_hardware(host);
  return {};
}

}  // namespace slicebroker::simhost::model
