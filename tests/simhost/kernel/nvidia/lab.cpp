// SPDX-License-Identifier: Apache-2.0
// <PF>/lab/: how the NVML stand-in of tests/nvml reads and changes a GPU. The same files as those of the lab's kernel
// module (tests/lab/module/control.c has their formats), and besides
//
//   vgpu_limits          r   per line: TYPE MAX-PER-GPU-INSTANCE
//   vgpu_heterogeneous   rw  0 or 1
//   memory               r   the GPU's memory in MiB
//   vgpus                    has one column more: the placement id
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

using Numbers = std::vector<int>;

// What sscanf("%u %u %d") would read.
Numbers read_numbers(std::string_view text) {
  int a = 0, b = 0, c = 0;
  const int count = std::sscanf(std::string(text).c_str(), "%d %d %d", &a, &b, &c);
  Numbers numbers{a, b, c};
  numbers.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return numbers;
}

std::string profiles(const Gpu& gpu) {
  std::string text;
  for (const auto& p : gpu.board().profiles) {
    for (const unsigned number :
         {p.id, p.selector, p.compute_slices, p.size, p.starts, p.max, remaining(gpu, p), p.sm, p.memory_mb}) {
      text += std::to_string(number) + " ";
    }
    text += p.name + "\n";
  }
  return text;
}

std::string gpu_instances(const Gpu& gpu) {
  std::string text;
  for (const auto& gi : gpu.instances) {
    if (!gi) continue;
    std::string users;
    for (const auto* user : gi->users) users += (users.empty() ? "" : ",") + user->carrier->bdf;
    text += std::to_string(gi->id) + " " + std::to_string(gi->profile->id) + " " + std::to_string(gi->start) + " " +
            std::to_string(gi->profile->size) + " " + (users.empty() ? "-" : users) + "\n";
  }
  return text;
}

std::string compute_instances(const Gpu& gpu) {
  std::string text;
  for (const auto& gi : gpu.instances) {
    if (!gi) continue;
    for (const auto& ci : gi->compute) {
      text += std::to_string(gi->id) + " " + std::to_string(ci.id) + " " + std::to_string(ci.slices) + " " +
              std::to_string(ci.start) + " " + ci.uuid + "\n";
    }
  }
  return text;
}

bool creatable_somewhere(const Machine& machine, const Gpu& gpu, const VgpuType& type) {
  const auto& function = *gpu.function;
  if (function.board->vf_total == 0) return available(machine, gpu, function, type) > 0;
  return std::any_of(function.vfs.begin(), function.vfs.end(), [&](const Function* vf) {
    return vf->driver == "nvidia" && available(machine, gpu, *vf, type) > 0;
  });
}

std::string vgpu_types(const Machine& machine, const Gpu& gpu) {
  std::string text;
  if (!has_vgpu_driver(machine, gpu)) return text;
  for (const auto& type : gpu.board().types) {
    text += std::to_string(type.id) + " " + std::to_string(type.gi_profile) + " " +
            std::to_string(type.framebuffer_mb) + " " + std::to_string(type.max) + " " +
            (creatable_somewhere(machine, gpu, type) ? "1" : "0") + " " + type.name + "\n";
  }
  return text;
}

std::string vgpu_limits(const Machine& machine, const Gpu& gpu) {
  std::string text;
  if (!has_vgpu_driver(machine, gpu)) return text;
  for (const auto& type : gpu.board().types) {
    text += std::to_string(type.id) + " " + std::to_string(type.per_instance) + "\n";
  }
  return text;
}

std::string vgpus(const Gpu& gpu) {
  std::string text;
  for (const auto* vgpu : gpu.vgpus) {
    text += vgpu->carrier->bdf + " " + std::to_string(vgpu->type->id) + " " +
            (vgpu->instance != nullptr ? std::to_string(vgpu->instance->id) : "-1") + " " +
            (vgpu->mdev.empty() ? "00000000-0000-0000-0000-000000000000" : vgpu->mdev) + " " +
            std::to_string(vgpu->placement) + "\n";
  }
  return text;
}

int store_gi(Gpu& gpu, std::string_view text) {
  const auto numbers = read_numbers(text);
  if (numbers.empty()) return EINVAL;
  return create_gi(gpu, static_cast<unsigned>(numbers[0]), numbers.size() > 1 ? numbers[1] : -1);
}

int store_ci(Gpu& gpu, std::string_view text) {
  const auto numbers = read_numbers(text);
  if (numbers.size() < 2) return EINVAL;
  return create_ci(gpu, static_cast<unsigned>(numbers[0]), static_cast<unsigned>(numbers[1]),
                   numbers.size() > 2 ? numbers[2] : -1);
}

int store_destroy_ci(Gpu& gpu, std::string_view text) {
  const auto numbers = read_numbers(text);
  if (numbers.size() < 2) return EINVAL;
  return destroy_ci(gpu, static_cast<unsigned>(numbers[0]), static_cast<unsigned>(numbers[1]));
}

int store_destroy_gi(Gpu& gpu, std::string_view text) {
  const auto id = read_number(text, 10);
  return id ? destroy_gi(gpu, static_cast<unsigned>(*id)) : EINVAL;
}

int store_switch(Gpu& gpu, std::string_view text, int (*set)(Gpu&, bool)) {
  const auto on = read_bool(text);
  return on ? set(gpu, *on) : EINVAL;
}

struct Files {
  Machine& machine;
  Gpu& gpu;

  std::string path(const std::string& name) const { return gpu.function->directory + "/lab/" + name; }

  // A GPU that fell off the bus answers nothing.
  template <class Show>
  void readable(const std::string& name, Show show) {
    auto* g = &gpu;
    machine.tree.add_file(path(name), read_only_or([g, show]() -> Text {
                            if (g->lost) return tl::unexpected(ENODEV);
                            return show();
                          }));
  }
  void writable(const std::string& name, int (*store)(Gpu&, std::string_view)) {
    auto* g = &gpu;
    machine.tree.add_file(path(name), write_only([g, store](std::string_view text, Caller&) {
                            return g->lost ? ENODEV : store(*g, text);
                          }));
  }
  void switchable(const std::string& name, bool Gpu::*value, int (*set)(Gpu&, bool)) {
    auto* g = &gpu;
    File file = read_only_or([g, value]() -> Text {
      if (g->lost) return tl::unexpected(ENODEV);
      return g->*value ? "1\n" : "0\n";
    });
    file.mode = 0644;
    file.store = [g, set](std::string_view text, Caller&) { return g->lost ? ENODEV : store_switch(*g, text, set); };
    machine.tree.add_file(path(name), file);
  }
};

}  // namespace

void add_lab_files(Machine& machine, Gpu& gpu) {
  Files files{machine, gpu};
  auto* m = &machine;
  auto* g = &gpu;
  files.switchable("mig_mode", &Gpu::mig_mode, set_mig_mode);
  files.switchable("vgpu_heterogeneous", &Gpu::heterogeneous, set_heterogeneous);
  files.writable("create_gi", store_gi);
  files.writable("destroy_gi", store_destroy_gi);
  files.writable("create_ci", store_ci);
  files.writable("destroy_ci", store_destroy_ci);
  files.readable("gpu", [g] { return std::to_string(g->minor) + " " + g->uuid + " " + g->board().name + "\n"; });
  files.readable("memory", [g] { return std::to_string(g->board().framebuffer_mb) + "\n"; });
  files.readable("profiles", [g] { return profiles(*g); });
  files.readable("gpu_instances", [g] { return gpu_instances(*g); });
  files.readable("compute_instances", [g] { return compute_instances(*g); });
  files.readable("vgpu_types", [m, g] { return vgpu_types(*m, *g); });
  files.readable("vgpu_limits", [m, g] { return vgpu_limits(*m, *g); });
  files.readable("vgpus", [g] { return vgpus(*g); });
}

}  // namespace slicebroker::simhost::model
