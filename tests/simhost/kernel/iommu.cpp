// SPDX-License-Identifier: Apache-2.0
// drivers/iommu/iommu.c: groups, and who owns their DMA.
#include <algorithm>

#include "tests/simhost/kernel/machine.h"

namespace slicebroker::simhost::model {
namespace {

std::string group_path(unsigned id) {
  return "sys/kernel/iommu_groups/" + std::to_string(id);
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

unsigned join_group(Machine& machine, const std::string& directory, std::optional<unsigned> id, bool emulated) {
  if (!id) {
    id = 0;
    while (machine.groups.contains(*id)) ++*id;
  }
  auto& group = machine.groups[*id];
  const auto path = group_path(*id);
  if (group.devices.empty()) {
    group.id = *id;
    group.emulated = emulated;
    machine.tree.add_directory(path + "/devices");
    if (emulated) machine.tree.add_text(path + "/name", "vfio-noiommu");
    machine.tree.add_file(path + "/type", unmodelled(emulated ? "unknown" : "DMA-FQ"));
    machine.tree.add_text(path + "/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi");
  }
  group.devices.insert(directory);
  link_to(machine, path + "/devices/" + base_name(directory), directory);
  link_to(machine, directory + "/iommu_group", path);
  return *id;
}

void leave_group(Machine& machine, const std::string& directory, unsigned id) {
  auto& group = machine.groups[id];
  machine.tree.remove(group_path(id) + "/devices/" + base_name(directory));
  machine.tree.remove(directory + "/iommu_group");
  group.devices.erase(directory);
  if (!group.devices.empty()) return;
  machine.tree.remove(group_path(id));
  machine.groups.erase(id);
}

bool is_viable(const Machine& machine, const IommuGroup& group) {
  return std::none_of(machine.functions.begin(), machine.functions.end(), [&](const auto& entry) {
    const Function& function = *entry.second;
    if (function.group != group.id || function.driver.empty()) return false;
    const auto driver = machine.drivers.find(function.driver);
    return driver != machine.drivers.end() && !driver->second.leaves_dma;
  });
}

}  // namespace slicebroker::simhost::model
