// SPDX-License-Identifier: Apache-2.0
// What is neither a device nor a driver: /proc, /sys/module, /lib/modules, plain device nodes, the NVML library.
#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

std::string loaded_modules(const Machine& machine) {
  std::string text;
  for (const auto& name : machine.tree.list("sys/module")) text += name + " 16384 0 - Live 0x0000000000000000\n";
  return text;
}

// As depmod writes it. A variant driver's entry names its device, vfio-pci's names any.
// Of what lies on the disk: an unloaded module keeps its aliases.
std::string module_aliases(const Machine& machine) {
  std::string text = "# Aliases extracted from modules themselves.\n";
  if (machine.modules.contains("vfio-pci")) text += "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n";
  if (machine.modules.contains("nvgrace-gpu-vfio-pci")) {
    for (const auto* device : {"2342", "2345", "2348", "2941", "31C2"}) {
      text += std::string("alias vfio_pci:v000010DEd0000") + device + "sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n";
    }
  }
  if (machine.nvidia.present) text += "alias pci:v000010DEd*sv*sd*bc03sc02i00* nvidia\n";
  return text;
}

}  // namespace

void add_module(Machine& machine, const std::string& name, const std::string& version) {
  const auto path = "sys/module/" + name;
  if (machine.tree.exists(path)) return;
  machine.tree.add_text(path + "/initstate", "live");
  machine.tree.add_text(path + "/refcnt", "0");
  if (!version.empty()) machine.tree.add_text(path + "/version", version);
  if (name == "vfio_pci") {
    machine.tree.add_text(path + "/parameters/enable_sriov", "N");
    machine.tree.add_text(path + "/parameters/disable_idle_d3", "N");
  }
}

void add_node(Machine& machine, const std::string& path) {
  File node;
  node.mode = 0666;
  node.open = [](Caller&) { return 0; };
  node.release = [](pid_t) {};
  machine.tree.add_file(path, node);
}

void add_proc(Machine& machine) {
  auto* m = &machine;
  auto& tree = machine.tree;
  tree.add_text("proc/sys/kernel/osrelease", machine.kernel);
  tree.add_text("proc/sys/kernel/ostype", "Linux");
  tree.add_text("proc/sys/kernel/random/boot_id", derived_uuid("boot " + std::to_string(machine.boots)));
  tree.add_text("proc/version", "Linux version " + machine.kernel + " (simulated)");
  tree.add_text("proc/cmdline", machine.command_line);
  tree.add_file("proc/modules", read_only_or([m]() -> Text { return loaded_modules(*m); }));
  if (machine.nvidia.present) {
    tree.add_text("proc/driver/nvidia/version",
                  "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " + machine.nvidia.version + "  (simulated)");
    tree.add_directory("proc/driver/nvidia/gpus");
  }
  const auto modules = "lib/modules/" + machine.kernel;
  tree.add_file(modules + "/modules.alias", read_only_or([m]() -> Text { return module_aliases(*m); }));
  tree.add_directory("dev");
  tree.add_directory("sys/kernel/iommu_groups");
  if (machine.nvml != "none") {
    tree.add_link("usr/lib/libnvidia-ml.so.1", machine.nvml == "old" ? SIMHOST_NVML_DIR "/old/libnvidia-ml.so.1"
                                                                     : SIMHOST_NVML_DIR "/libnvidia-ml.so.1");
  }
}

}  // namespace slicebroker::simhost::model
