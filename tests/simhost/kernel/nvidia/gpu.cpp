// SPDX-License-Identifier: Apache-2.0
// A GPU from bind to unbind: /dev/nvidiaN, whose open files keep it from being unbound, and /proc/driver/nvidia.
#include "tests/simhost/kernel/nvidia/gpu.h"

#include <cerrno>

namespace slicebroker::simhost::model {
namespace {

std::string node_path(const Gpu& gpu) {
  return "dev/nvidia" + std::to_string(gpu.minor);
}

std::string proc_path(const Gpu& gpu) {
  return "proc/driver/nvidia/gpus/" + gpu.function->bdf;
}

std::string information(const Gpu& gpu) {
  return "Model: \t\t " + gpu.board().name + "\nIRQ:   \t\t 0\nGPU UUID: \t " + gpu.uuid + "\nBus Type: \t PCIe\n" +
         "Bus Location: \t " + gpu.function->bdf + "\nDevice Minor: \t " + std::to_string(gpu.minor) +
         "\nGPU Excluded:\t No";
}

int open_gpu(Gpu& gpu) {
  if (!gpu.bound || gpu.going) return ENODEV;
  if (gpu.lost) return EIO;
  if (gpu.unbind_locked) return EBUSY;
  ++gpu.users;
  gpu.rebound_under_lock = false;
  return 0;
}

void add_gpu_nodes(Machine& machine, Gpu& gpu) {
  auto* g = &gpu;
  File node;
  node.mode = 0666;
  node.open = [g](Caller&) { return open_gpu(*g); };
  node.release = [g](pid_t) {
    if (g->users > 0) --g->users;
  };
  machine.tree.add_file(node_path(gpu), node);
  for (const auto* shared : {"dev/nvidiactl", "dev/nvidia-uvm"}) {
    if (!machine.tree.exists(shared)) add_node(machine, shared);
  }
  machine.tree.add_file(proc_path(gpu) + "/information", read_only([g] { return information(*g); }));
  // "1" takes the lock where nobody has the GPU open; the caller reads back whether it did.
  machine.tree.add_file(proc_path(gpu) + "/unbindLock", read_write([g] { return g->unbind_locked ? "1" : "0"; },
                                                                   [g](std::string_view text, Caller&) {
                                                                     const auto want = read_bool(text);
                                                                     if (!want) return EINVAL;
                                                                     g->unbind_locked = *want && g->users == 0;
                                                                     return 0;
                                                                   }));
}

int probe_gpu(Machine& machine, Function& function) {
  if (!function.gpu) return ENODEV;
  auto& gpu = *function.gpu;
  if (gpu.lost) return EIO;
  gpu.bound = true;
  gpu.going = gpu.unbind_locked = gpu.heterogeneous = false;
  gpu.users = 0;
  add_gpu_nodes(machine, gpu);
  add_lab_files(machine, gpu);
  if (function.board->has_drm) add_drm(machine, function);
  // Before SR-IOV a GPU is itself the parent of its vGPUs.
  const bool old = has_vgpu_driver(machine, gpu) && function.board->vf_total == 0;
  if (old) register_mdev_parent(machine, function, mdev_parent(machine, gpu, function));
  return 0;
}

int remove_gpu(Machine& machine, Function& function, Caller& caller) {
  auto& gpu = *function.gpu;
  gpu.going = true;
  const auto idle = [&] { return gpu.users == 0; };
  if (!idle() && !caller.wait(idle)) return EINTR;
  if (machine.mdev_parents.contains(function.bdf)) {
    if (const int error = unregister_mdev_parent(machine, function, caller); error != 0) return error;
  }
  if (const int error = disable_vfs(machine, function, caller); error != 0) return error;
  gpu.spent_vfs.clear();
  gpu.rebound_under_lock = gpu.unbind_locked;
  remove_drm(machine, function);
  machine.tree.remove(function.directory + "/lab");
  machine.tree.remove(node_path(gpu));
  machine.tree.remove(proc_path(gpu));
  gpu.instances.clear();
  if (!gpu.board().mig_mode_is_persistent) gpu.mig_mode = false;
  gpu.bound = gpu.unbind_locked = false;
  return 0;
}

}  // namespace

Function::Function() = default;
Function::~Function() = default;
Mdev::Mdev() = default;
Mdev::~Mdev() = default;

// Two rounds of FNV-1a, mixed as MurmurHash3 ends: nothing more is asked of it than to tell seeds apart.
std::string derived_uuid(std::string_view seed) {
  const auto hash = [seed](std::uint64_t value) {
    for (const char c : seed) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    value = (value ^ value >> 33U) * 0xff51afd7ed558ccdU;
    value = (value ^ value >> 33U) * 0xc4ceb9fe1a85ec53U;
    return hex(value ^ value >> 33U, 16);
  };
  const auto high = hash(0xcbf29ce484222325U);
  const auto low = hash(0x84222325cbf29ce4U);
  return high.substr(0, 8) + "-" + high.substr(8, 4) + "-5" + high.substr(13, 3) + "-a" + low.substr(1, 3) + "-" +
         low.substr(4);
}

void give_identity(Machine& machine, Function& function) {
  unsigned minor = 0;
  for (const auto& [_, other] : machine.functions) minor += other->gpu ? 1 : 0;
  function.gpu = std::make_unique<Gpu>();
  function.gpu->function = &function;
  function.gpu->minor = minor;
  function.gpu->uuid = "GPU-" + derived_uuid(function.bdf + function.board->key);
}

bool has_vgpu_driver(const Machine& machine, const Gpu& gpu) {
  return machine.nvidia.framework != VgpuFramework::kNone && !gpu.board().types.empty();
}

int probe_nvidia(Machine& machine, Function& function) {
  return function.physical != nullptr ? probe_vf(machine, function) : probe_gpu(machine, function);
}

int remove_nvidia(Machine& machine, Function& function, Caller& caller) {
  return function.physical != nullptr ? remove_vf(machine, function, caller) : remove_gpu(machine, function, caller);
}

int configure_nvidia_sriov(Machine& machine, Function& function, unsigned count, Caller& caller) {
  auto& gpu = *function.gpu;
  if (!has_vgpu_driver(machine, gpu)) return EOPNOTSUPP;
  if (!machine.nvidia.raw_numvfs && !gpu.unbind_locked && !gpu.rebound_under_lock) return EPERM;
  gpu.spent_vfs.clear();
  return configure_sriov_simply(machine, function, count, caller);
}

}  // namespace slicebroker::simhost::model
