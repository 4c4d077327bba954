// SPDX-License-Identifier: Apache-2.0
// PCI functions as sysfs shows them: Documentation/ABI/testing/sysfs-bus-pci, drivers/pci/pci-sysfs.c.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

constexpr std::uint16_t kSubsystem = 0x1af4;
const std::string kBus = "sys/bus/pci";

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'a' && c <= 'f' ? c - 32 : c; });
  return text;
}

// pci_uevent() of drivers/pci/pci-driver.c, behind what the driver core adds.
std::string uevent(const Function& function) {
  std::string text = function.driver.empty() ? "" : "DRIVER=" + function.driver + "\n";
  char class_text[16];
  std::snprintf(class_text, sizeof class_text, "%04X", function.board->class_code);
  text += std::string("PCI_CLASS=") + class_text + "\n";
  text += "PCI_ID=" + upper(hex(function.board->vendor, 4)) + ":" + upper(hex(function.device, 4)) + "\n";
  text += "PCI_SUBSYS_ID=" + upper(hex(kSubsystem, 4)) + ":0001\n";
  text += "PCI_SLOT_NAME=" + function.bdf + "\n";
  return text + "MODALIAS=" + modalias(function);
}

// A type 0 or 1 header, as lspci reads it.
std::string config(const Function& function) {
  std::string bytes(256, '\0');
  const auto put = [&](std::size_t at, unsigned long value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
  };
  // A VF has ones there: its PF tells (PCI Express, SR-IOV: Vendor ID and Device ID of VFs).
  put(0x00, function.physical == nullptr ? function.board->vendor : 0xffff, 2);
  put(0x02, function.physical == nullptr ? function.device : 0xffff, 2);
  put(0x04, 0x0006, 2);  // memory and bus master on
  put(0x08, function.board->class_code << 8 | 0xa1, 4);
  put(0x0e, function.board->is_bridge() ? 0x01 : 0x00, 1);
  if (!function.board->is_bridge()) {
    put(0x2c, kSubsystem, 2);
    put(0x2e, 0x0001, 2);
  }
  return bytes;
}

int store_override(Function& function, std::string_view text) {
  constexpr std::size_t kPage = 4096;
  if (text.size() >= kPage - 1) return EINVAL;
  const auto name = text.substr(0, text.find_first_of(std::string_view("\n\0", 2)));
  if (name.empty()) {
    function.driver_override.reset();
  } else {
    function.driver_override = name;
  }
  return 0;
}

// Kernels before it had a lock of its own take the device's: it can then neither be read nor written while an unbind
// waits.
File driver_override(const Machine& machine, Function& function) {
  auto* f = &function;
  const bool own_lock = machine.kernel_at_least(6, 12);
  const auto store = [f, own_lock](std::string_view text, Caller& caller) {
    if (own_lock) return store_override(*f, text);
    const Guard guard(f->lock, caller);
    return guard.taken() ? store_override(*f, text) : EINTR;
  };
  auto file = read_write([f] { return f->driver_override.value_or("(null)"); }, store);
  return own_lock ? file : locked(file, f->lock);
}

// --- resets: drivers/pci/pci.c ---

std::string bus_of(const Function& function) {
  return function.directory.substr(0, function.directory.rfind('/'));
}

bool is_behind(const Function& function, const std::string& bridge) {
  return function.directory.starts_with(bridge + "/");
}

// pci_parent_bus_reset(): behind a bridge, and alone there. A VF's bus has no bridge, or its PF.
bool can_reset_bus(const Machine& machine, const Function& function) {
  const std::string bus = bus_of(function);
  if (function.physical != nullptr || !Address::parse(bus.substr(bus.rfind('/') + 1))) return false;
  return std::none_of(machine.functions.begin(), machine.functions.end(),
                      [&](const auto& other) { return other.second != &function && bus_of(*other.second) == bus; });
}

bool can_reset_by(const Machine& machine, const Function& function, const std::string& method) {
  const std::string known = " " + function.board->reset_methods + " ";
  if (known.find(" " + method + " ") == std::string::npos) return false;
  return method != "bus" || can_reset_bus(machine, function);
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// pci_init_reset_methods()
std::string usable_methods(const Machine& machine, const Function& function) {
  auto methods = words_of(function.board->reset_methods);
  std::erase_if(methods, [&](const std::string& method) { return !can_reset_by(machine, function, method); });
  return joined(methods);
}

int store_reset_methods(const Machine& machine, Function& function, std::string_view text) {
  const std::string wanted(without_newline(text));
  if (wanted == "default") {
    function.reset_methods = usable_methods(machine, function);
    return 0;
  }
  const auto methods = words_of(wanted);
  for (const auto& method : methods) {
    if (!can_reset_by(machine, function, method)) return EINVAL;
  }
  function.reset_methods = joined(methods);
  return 0;
}

// The method that does not answer ENOTTY; none: ENOTTY.
int reset_function(const Machine& machine, const Function& function) {
  const auto methods = words_of(function.reset_methods);
  const bool any = std::any_of(methods.begin(), methods.end(),
                               [&](const std::string& method) { return can_reset_by(machine, function, method); });
  return any ? 0 : ENOTTY;
}

// Shown where a method was found when the function was: then the others of its card were not there yet.
void add_reset(Machine& machine, Function& function) {
  function.reset_methods = usable_methods(machine, function);
  if (function.reset_methods.empty()) return;
  auto* f = &function;
  auto* m = &machine;
  machine.tree.add_file(f->directory + "/reset", write_only([m, f](std::string_view text, Caller& caller) {
                          const auto value = read_number(text);
                          if (!value || *value != 1) return EINVAL;
                          if (f->reset_methods.empty()) return ENOTTY;
                          const Guard guard(f->lock, caller);
                          return guard.taken() ? reset_function(*m, *f) : EINTR;
                        }));
  machine.tree.add_file(f->directory + "/reset_method", read_write([f] { return f->reset_methods; },
                                                                   [m, f](std::string_view text, Caller&) {
                                                                     return store_reset_methods(*m, *f, text);
                                                                   }));
}

// __pci_reset_bus(): tries the locks of all that is behind the bridge and waits for none.
void add_reset_subordinate(Machine& machine, Function& function) {
  if (!function.board->is_bridge() || !machine.kernel_at_least(6, 13)) return;
  auto* f = &function;
  auto* m = &machine;
  machine.tree.add_file(f->directory + "/reset_subordinate", write_only([m, f](std::string_view text, Caller&) {
                          const auto value = read_number(text);
                          if (!value) return EINVAL;
                          if (*value == 0) return 0;
                          bool any = false;
                          for (const auto& [bdf, other] : m->functions) {
                            if (!is_behind(*other, f->directory)) continue;
                            if (other->lock.taken) return EAGAIN;
                            any = true;
                          }
                          return any ? 0 : ENOTTY;
                        }));
}

void add_power(Machine& machine, Function& function) {
  auto* f = &function;
  auto& tree = machine.tree;
  tree.add_file(f->directory + "/power/control", read_write([f] { return f->power_control; },
                                                            [f](std::string_view text, Caller&) {
                                                              const auto value = without_newline(text);
                                                              if (value != "auto" && value != "on") return EINVAL;
                                                              f->power_control = value;
                                                              return 0;
                                                            }));
  tree.add_text(f->directory + "/power/runtime_status", "active");
  tree.add_text(f->directory + "/power_state", "D0");
}

void add_identity(Machine& machine, Function& function) {
  auto* f = &function;
  auto& tree = machine.tree;
  const auto& directory = f->directory;
  tree.add_text(directory + "/vendor", "0x" + hex(f->board->vendor, 4));
  tree.add_text(directory + "/device", "0x" + hex(f->device, 4));
  tree.add_text(directory + "/subsystem_vendor", "0x" + hex(kSubsystem, 4));
  tree.add_text(directory + "/subsystem_device", "0x0001");
  tree.add_text(directory + "/class", "0x" + hex(f->board->class_code, 6));
  tree.add_text(directory + "/revision", "0xa1");
  tree.add_text(directory + "/modalias", modalias(*f));
  tree.add_text(directory + "/irq", "0");
  tree.add_text(directory + "/local_cpulist", "0-15");
  tree.add_text(directory + "/dma_mask_bits", "64");
  tree.add_file(directory + "/config", read_only_or([f]() -> Text { return config(*f); }));
  std::string resources;
  for (int i = 0; i < 13; ++i) resources += "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
  resources.pop_back();
  tree.add_text(directory + "/resource", resources);
  if (f->board->class_code == 0x030000) tree.add_text(directory + "/boot_vga", "0");
  auto event = read_only([f] { return uevent(*f); });
  event.mode = 0644;
  event.store = [](std::string_view text, Caller&) {
    const auto action = without_newline(text);
    for (const auto* known : {"add", "remove", "change", "move", "online", "offline", "bind", "unbind"}) {
      if (action == known) return 0;
    }
    return EINVAL;
  };
  tree.add_file(directory + "/uevent", std::move(event));
}

}  // namespace

std::string modalias(const Function& function) {
  char text[96];
  std::snprintf(text, sizeof text, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", unsigned{function.board->vendor},
                unsigned{function.device}, unsigned{kSubsystem}, 1U, function.board->class_code >> 16 & 0xff,
                function.board->class_code >> 8 & 0xff, function.board->class_code & 0xff);
  return text;
}

std::string Address::to_string() const {
  return hex(domain, 4) + ":" + hex(bus, 2) + ":" + hex(slot, 2) + "." + std::to_string(function);
}

std::optional<Address> Address::parse(std::string_view text) {
  Address address;
  char rest = 0;
  const std::string copy(text);
  if (std::sscanf(copy.c_str(), "%4x:%2x:%2x.%1u%c", &address.domain, &address.bus, &address.slot, &address.function,
                  &rest) != 4) {
    return std::nullopt;
  }
  return address.to_string() == copy && address.slot < 32 && address.function < 8 ? std::optional(address)
                                                                                  : std::nullopt;
}

Address Address::of_routing_id(unsigned domain, unsigned routing_id) {
  return {domain, routing_id >> 8 & 0xff, routing_id >> 3 & 0x1f, routing_id & 7};
}

void add_pci_bus(Machine& machine) {
  auto& tree = machine.tree;
  auto* m = &machine;
  tree.add_directory(kBus + "/devices");
  tree.add_directory(kBus + "/drivers");
  tree.add_file(kBus + "/drivers_autoprobe", read_write([m] { return m->drivers_autoprobe ? "1" : "0"; },
                                                        [m](std::string_view text, Caller&) {
                                                          m->drivers_autoprobe = text[0] != '0';
                                                          return 0;
                                                        }));
  tree.add_file(kBus + "/drivers_probe", write_only([m](std::string_view text, Caller& caller) {
                  auto* function = m->find_function(without_newline(text));
                  if (function == nullptr) return ENODEV;
                  Guard guard(function->lock, caller);
                  if (!guard.taken()) return EINTR;
                  // bus_rescan_devices_helper(): whatever went wrong besides a driver's own probe is EINVAL to the
                  // writer.
                  return function->driver.empty() && probe_all(*m, *function, caller) != 0 ? EINVAL : 0;
                }));
  auto rescan = File{};
  rescan.mode = 0200;
  tree.add_file(kBus + "/rescan", rescan);
}

void add_function(Machine& machine, Function& function) {
  auto& tree = machine.tree;
  auto* f = &function;
  const auto& directory = f->directory;
  machine.functions[f->bdf] = f;
  f->present = true;
  tree.add_directory(directory);
  link_to(machine, kBus + "/devices/" + f->bdf, directory);
  link_to(machine, directory + "/subsystem", kBus);
  add_identity(machine, function);
  add_power(machine, function);
  add_reset(machine, function);
  add_reset_subordinate(machine, function);
  tree.add_file(directory + "/driver_override", driver_override(machine, function));
  tree.add_file(directory + "/numa_node", unmodelled(std::to_string(f->numa_node)));
  auto enable = unmodelled("");
  enable.show = [f]() -> Text { return f->driver.empty() ? "0\n" : "1\n"; };
  tree.add_file(directory + "/enable", enable);
  File blind;
  blind.mode = 0200;
  tree.add_file(directory + "/remove", blind);
  tree.add_file(directory + "/rescan", blind);
  add_sriov_files(machine, function);
  if (machine.iommu) {
    const auto shared = f->companion != nullptr ? f->companion->group : std::nullopt;
    f->group = join_group(machine, directory, shared, false);
  }
}

int remove_function(Machine& machine, Function& function, Caller& caller) {
  Guard guard(function.lock, caller);
  if (!guard.taken()) return EINTR;
  if (const int error = unbind_driver(machine, function, caller); error != 0) return error;
  // Those that its driver left.
  if (const int error = disable_vfs(machine, function, caller); error != 0) return error;
  if (function.group) leave_group(machine, function.directory, *function.group);
  function.group.reset();
  function.driver_override.reset();
  machine.tree.remove("sys/bus/pci/devices/" + function.bdf);
  machine.tree.remove(function.directory);
  machine.functions.erase(function.bdf);
  function.present = false;
  return 0;
}

// The lowest free numbers, as the DRM core gives them; nothing here unbinds because of who has them open.
void add_drm(Machine& machine, Function& function) {
  unsigned number = 0;
  while (machine.drm_cards.contains(number)) ++number;
  machine.drm_cards[number] = function.bdf;
  for (const auto& name : {"card" + std::to_string(number), "renderD" + std::to_string(128 + number)}) {
    const auto directory = function.directory + "/drm/" + name;
    machine.tree.add_directory(directory);
    link_to(machine, directory + "/device", function.directory);
    link_to(machine, "sys/class/drm/" + name, directory);
    add_node(machine, "dev/dri/" + name);
  }
}

void remove_drm(Machine& machine, Function& function) {
  for (auto at = machine.drm_cards.begin(); at != machine.drm_cards.end(); ++at) {
    if (at->second != function.bdf) continue;
    for (const auto& name : {"card" + std::to_string(at->first), "renderD" + std::to_string(128 + at->first)}) {
      machine.tree.remove("sys/class/drm/" + name);
      machine.tree.remove("dev/dri/" + name);
    }
    machine.tree.remove(function.directory + "/drm");
    machine.drm_cards.erase(at);
    return;
  }
}

}  // namespace slicebroker::simhost::model
