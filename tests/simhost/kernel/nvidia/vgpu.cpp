// SPDX-License-Identifier: Apache-2.0
// vGPUs: which type can be made where, and what it takes from the GPU.
#include <algorithm>
#include <cerrno>

#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

// A GPU hosts one size of time-sliced vGPUs, unless it is in heterogeneous mode (nvidia.md 2.3).
unsigned time_slices_left(const Gpu& gpu, const VgpuType& type) {
  unsigned used = 0;
  for (const auto* vgpu : gpu.vgpus) {
    if (!gpu.heterogeneous && vgpu->type->framebuffer_mb != type.framebuffer_mb) return 0;
    used += vgpu->type->framebuffer_mb;
  }
  if (gpu.heterogeneous) return (gpu.board().framebuffer_mb - used) / type.framebuffer_mb;
  return type.max > gpu.vgpus.size() ? type.max - static_cast<unsigned>(gpu.vgpus.size()) : 0;
}

unsigned free_placement(const Gpu& gpu, const Vgpu& vgpu) {
  unsigned placement = 0;
  const auto taken = [&](const Vgpu* other) {
    return other != &vgpu && other->instance == vgpu.instance && other->placement == placement;
  };
  if (vgpu.instance == nullptr && !gpu.heterogeneous) return 0;
  while (std::any_of(gpu.vgpus.begin(), gpu.vgpus.end(), taken)) ++placement;
  return placement;
}

// "key=value[,key=value]"; a blank clears.
int store_params(Vgpu& vgpu, std::string_view text) {
  constexpr std::size_t kMost = 128;
  const auto first = text.find_first_not_of(" \t\n");
  text.remove_prefix(std::min(first, text.size()));
  if (text.size() >= kMost || (!text.empty() && text.find('=') == std::string_view::npos)) return EINVAL;
  const auto last = text.find_last_not_of(" \t\n");
  vgpu.params = last == std::string_view::npos ? "" : text.substr(0, last + 1);
  return 0;
}

Text show_number(bool exists, unsigned number) {
  if (!exists) return tl::unexpected(ENXIO);
  return std::to_string(number) + "\n";
}

}  // namespace

const VgpuType* find_vgpu_type(const Board& board, unsigned id) {
  const auto at = std::find_if(board.types.begin(), board.types.end(), [&](const VgpuType& t) { return t.id == id; });
  return at == board.types.end() ? nullptr : &*at;
}

// MIG-backed types need MIG mode and a GPU instance of their profile with room; time-sliced ones need MIG mode off. A
// VF carries one vGPU.
unsigned available(const Machine& machine, const Gpu& gpu, const Function& carrier, const VgpuType& type) {
  const bool vf = carrier.physical != nullptr;
  const bool mig_backed = type.gi_profile >= 0;
  const auto on_carrier = [&](const Vgpu* vgpu) { return vgpu->carrier == &carrier; };
  if (vf && std::any_of(gpu.vgpus.begin(), gpu.vgpus.end(), on_carrier)) return 0;
  if (gpu.lost || mig_backed != gpu.mig_mode) return 0;
  const unsigned left = mig_backed ? (pick_gi(machine, gpu, type) != nullptr ? 1U : 0U) : time_slices_left(gpu, type);
  return vf ? std::min(left, 1U) : left;
}

int create_vgpu(const Machine& machine, Gpu& gpu, Vgpu& vgpu, const VgpuType& type) {
  if (gpu.lost) return EIO;
  if (available(machine, gpu, *vgpu.carrier, type) == 0) return ENOSPC;
  vgpu.gpu = &gpu;
  vgpu.type = &type;
  if (type.gi_profile >= 0) {
    vgpu.instance = pick_gi(machine, gpu, type);
    vgpu.instance->users.push_back(&vgpu);
  }
  vgpu.placement = free_placement(gpu, vgpu);
  gpu.vgpus.push_back(&vgpu);
  std::stable_sort(gpu.vgpus.begin(), gpu.vgpus.end(),
                   [](const Vgpu* a, const Vgpu* b) { return a->carrier->bdf < b->carrier->bdf; });
  return 0;
}

void destroy_vgpu(Vgpu& vgpu) {
  if (vgpu.type == nullptr) return;
  if (vgpu.instance != nullptr) std::erase(vgpu.instance->users, &vgpu);
  std::erase(vgpu.gpu->vgpus, &vgpu);
  vgpu.instance = nullptr;
  vgpu.type = nullptr;
  vgpu.mdev.clear();
  vgpu.params.clear();
  vgpu.placement = 0;
}

// NVML's IN_USE and NOT_SUPPORTED, as errnos.
int set_heterogeneous(Gpu& gpu, bool on) {
  if (gpu.mig_mode) return EOPNOTSUPP;
  if (gpu.heterogeneous == on) return 0;
  if (!gpu.vgpus.empty()) return EBUSY;
  gpu.heterogeneous = on;
  return 0;
}

void add_vgpu_files(Machine& machine, const std::string& directory, Vgpu& vgpu) {
  auto* v = &vgpu;
  auto& tree = machine.tree;
  tree.add_file(directory + "/nvidia/gpu_instance_id", read_only_or([v] {
                  return show_number(v->instance != nullptr, v->instance != nullptr ? v->instance->id : 0);
                }));
  tree.add_file(directory + "/nvidia/placement_id",
                read_only_or([v] { return show_number(v->type != nullptr, v->placement); }));
  tree.add_file(
      directory + "/nvidia/vgpu_params",
      read_write([v] { return v->params; }, [v](std::string_view text, Caller&) { return store_params(*v, text); }));
}

// What a function offers as the parent of mdevs, for NVIDIA's driver.
MdevParent mdev_parent(Machine& machine, Gpu& gpu, Function& carrier) {
  auto* m = &machine;
  auto* g = &gpu;
  auto* f = &carrier;
  MdevParent parent;
  parent.driver = "nvidia-vgpu-vfio";
  parent.type_prefix = "nvidia";
  for (const auto& type : gpu.board().types) {
    const auto* t = &type;
    parent.types.push_back({std::to_string(type.id), type.name,
                            "num_heads=1, frl_config=60, framebuffer=" + std::to_string(type.framebuffer_mb) +
                                "M, max_resolution=4096x2160, max_instance=" + std::to_string(type.max),
                            [m, g, f, t] { return available(*m, *g, *f, *t); },
                            [m, g, f, t](Mdev& mdev) {
                              mdev.vgpu = std::make_unique<Vgpu>();
                              mdev.vgpu->carrier = f;
                              mdev.vgpu->mdev = mdev.uuid;
                              return create_vgpu(*m, *g, *mdev.vgpu, *t);
                            }});
  }
  parent.add_files = [m](Mdev& mdev) { add_vgpu_files(*m, mdev.directory, *mdev.vgpu); };
  parent.destroy = [](Mdev& mdev) { destroy_vgpu(*mdev.vgpu); };
  return parent;
}

}  // namespace slicebroker::simhost::model
