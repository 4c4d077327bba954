// SPDX-License-Identifier: Apache-2.0
// The drivers that a host may have, and what those do that are no subject of their own: graphics, switches, stubs.
#include <algorithm>
#include <array>
#include <cerrno>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

constexpr std::uint32_t kWholeClass = 0xffff00;

int probe_graphics(Machine& machine, Function& function) {
  if (function.board->has_drm) add_drm(machine, function);
  return 0;
}

int remove_graphics(Machine& machine, Function& function, Caller& caller) {
  if (const int error = disable_vfs(machine, function, caller); error != 0) return error;
  remove_drm(machine, function);
  return 0;
}

int remove_with_vfs(Machine& machine, Function& function, Caller& caller) {
  return disable_vfs(machine, function, caller);
}

// --- i915 with GVT-g: types are fractions of one aperture -----------------------------------------------------------

unsigned gvt_available(const Machine& machine, const Function& function, const VgpuType& type) {
  unsigned used = 0;
  for (const auto& [_, mdev] : machine.mdevs) {
    if (mdev->parent != &function) continue;
    for (const auto& known : function.board->types) {
      if (mdev->type == "i915-" + known.sysfs_id) used += known.framebuffer_mb;
    }
  }
  return (function.board->framebuffer_mb - used) / type.framebuffer_mb;
}

int probe_i915(Machine& machine, Function& function) {
  auto* m = &machine;
  auto* f = &function;
  MdevParent parent;
  parent.driver = "intel_vgpu_mdev";
  parent.type_prefix = "i915";
  for (const auto& type : function.board->types) {
    const auto* t = &type;
    parent.types.push_back({type.sysfs_id, type.name, type.description, [m, f, t] { return gvt_available(*m, *f, *t); },
                            [m, f, t](Mdev&) { return gvt_available(*m, *f, *t) == 0 ? ENOSPC : 0; }});
  }
  parent.add_files = [m](Mdev& mdev) { m->tree.add_text(mdev.directory + "/intel_vgpu/vgpu_id", "1"); };
  parent.destroy = [](Mdev&) {};
  if (!parent.types.empty()) register_mdev_parent(machine, function, std::move(parent));
  return probe_graphics(machine, function);
}

int remove_i915(Machine& machine, Function& function, Caller& caller) {
  if (machine.mdev_parents.contains(function.bdf)) {
    if (const int error = unregister_mdev_parent(machine, function, caller); error != 0) return error;
  }
  return remove_graphics(machine, function, caller);
}

// --- NVSwitches ---------------------------------------------------------------------------------------------------

int probe_switch(Machine& machine, Function& function) {
  unsigned number = 0;
  while (machine.nvswitches.contains(number)) ++number;
  machine.nvswitches[number] = function.bdf;
  if (!machine.tree.exists("dev/nvidia-nvswitchctl")) add_node(machine, "dev/nvidia-nvswitchctl");
  add_node(machine, "dev/nvidia-nvswitch" + std::to_string(number));
  return 0;
}

int remove_switch(Machine& machine, Function& function, Caller& /*caller*/) {
  for (auto at = machine.nvswitches.begin(); at != machine.nvswitches.end(); ++at) {
    if (at->second != function.bdf) continue;
    machine.tree.remove("dev/nvidia-nvswitch" + std::to_string(at->first));
    machine.nvswitches.erase(at);
    break;
  }
  return 0;
}

// drivers/vfio/pci/nvgrace-gpu/main.c
int probe_nvgrace(Machine& machine, Function& function) {
  constexpr std::array<std::uint16_t, 5> kIds = {0x2342, 0x2345, 0x2348, 0x2941, 0x31c2};
  const bool known =
      function.board->vendor == 0x10de && std::find(kIds.begin(), kIds.end(), function.device) != kIds.end();
  return known ? probe_vfio_pci(machine, function) : ENODEV;
}

Driver plain(std::string name, std::string module, DriverMatch id) {
  Driver driver;
  driver.name = std::move(name);
  driver.module = std::move(module);
  driver.ids = {id};
  return driver;
}

Driver vfio(std::string name, std::string module) {
  Driver driver;
  driver.name = std::move(name);
  driver.module = std::move(module);
  driver.only_by_override = true;
  driver.leaves_dma = true;
  driver.probe = probe_vfio_pci;
  driver.remove = remove_vfio_pci;
  return driver;
}

Driver with_sriov(Driver driver) {
  driver.remove = remove_with_vfs;
  driver.configure_sriov = configure_sriov_simply;
  return driver;
}

Driver graphics(std::string name, DriverMatch id) {
  Driver driver = with_sriov(plain(name, name, id));
  driver.probe = probe_graphics;
  driver.remove = remove_graphics;
  return driver;
}

Driver nvidia_driver(const Machine& machine) {
  Driver driver = plain("nvidia", "nvidia", {0x10de, -1, 0x030000, 0xff0000});
  // A VF that is itself a VFIO device leaves its DMA to VFIO.
  driver.leaves_dma = machine.nvidia.framework == VgpuFramework::kVendor;
  driver.probe = probe_nvidia;
  driver.remove = remove_nvidia;
  driver.configure_sriov = configure_nvidia_sriov;
  return driver;
}

// Leaves its VFs where they are when it goes.
Driver nvme_driver() {
  Driver driver = plain("nvme", "nvme", {-1, -1, 0x010802, 0xffffff});
  driver.configure_sriov = configure_sriov_simply;
  return driver;
}

}  // namespace

std::vector<Driver> known_drivers(const Machine& machine) {
  auto port = plain("pcieport", "", {-1, -1, 0x060400, kWholeClass});
  port.leaves_dma = true;
  auto stub = vfio("pci-stub", "");
  stub.probe = nullptr;
  stub.remove = nullptr;
  auto nvgrace = vfio("nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci");
  nvgrace.probe = probe_nvgrace;
  auto switches = plain("nvidia-nvswitch", "nvidia", {0x10de, -1, 0x068000, kWholeClass});
  switches.probe = probe_switch;
  switches.remove = remove_switch;
  auto i915 = graphics("i915", {0x8086, 0x3e92});
  i915.probe = probe_i915;
  i915.remove = remove_i915;
  auto gim = with_sriov(plain("gim", "gim", {0x1002, 0x74a1}));
  return {port,
          stub,
          nvgrace,
          switches,
          i915,
          gim,
          vfio("vfio-pci", "vfio_pci"),
          nvidia_driver(machine),
          graphics("xe", {0x8086, 0x56c0}),
          nvme_driver(),
          plain("e1000e", "e1000e", {0x8086, 0x10d3}),
          plain("snd_hda_intel", "snd_hda_intel", {-1, -1, 0x040300, kWholeClass}),
          plain("xhci_hcd", "xhci_pci", {-1, -1, 0x0c0330, 0xffffff}),
          plain("nvidia-gpu", "i2c_nvidia_gpu", {0x10de, 0x1ad9})};
}

}  // namespace slicebroker::simhost::model
