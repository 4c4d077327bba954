// SPDX-License-Identifier: Apache-2.0
// A VF on NVIDIA's driver: the parent of one mdev, or with the vendor-specific VFIO framework itself a VFIO device of a
// chosen type (nvidia.md 3.2).
#include <cerrno>

#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

std::string creatable(const Machine& machine, const Function& vf) {
  const auto& gpu = *vf.physical->gpu;
  std::string text = machine.nvidia.types_in_columns ? "" : "ID    : vGPU Name\n";
  for (const auto& type : gpu.board().types) {
    if (available(machine, gpu, vf, type) == 0) continue;
    std::string id = std::to_string(type.id);
    if (machine.nvidia.types_in_columns) {
      text += type.name + "         " + id + "\n";
    } else {
      id.resize(std::max<std::size_t>(id.size(), 6), ' ');
      text += id + ": " + type.name + "\n";
    }
  }
  return text;
}

int store_type(Machine& machine, Function& vf, std::string_view text) {
  auto& gpu = *vf.physical->gpu;
  const auto id = read_number(text, 10);
  if (!id || *id > 0xffffffff) return EINVAL;
  if (*id == 0) {
    if (vf.vgpu->type != nullptr && is_open(machine, vf.vfio)) return EBUSY;
    destroy_vgpu(*vf.vgpu);
    return 0;
  }
  const auto* type = find_vgpu_type(gpu.board(), static_cast<unsigned>(*id));
  return type == nullptr ? EINVAL : create_vgpu(machine, gpu, *vf.vgpu, *type);
}

int probe_vendor_vf(Machine& machine, Function& vf) {
  auto* m = &machine;
  auto* f = &vf;
  if (!vf.group) return EINVAL;
  register_vfio(machine, vf.directory, *vf.group, vf.vfio, [f] { return f->vgpu->type != nullptr; });
  machine.tree.add_file(vf.directory + "/nvidia/creatable_vgpu_types",
                        read_only_or([m, f]() -> Text { return creatable(*m, *f); }));
  machine.tree.add_file(vf.directory + "/nvidia/current_vgpu_type",
                        read_write([f] { return std::to_string(f->vgpu->type != nullptr ? f->vgpu->type->id : 0); },
                                   [m, f](std::string_view text, Caller&) { return store_type(*m, *f, text); }));
  add_vgpu_files(machine, vf.directory, *vf.vgpu);
  return 0;
}

}  // namespace

int probe_vf(Machine& machine, Function& vf) {
  auto& pf = *vf.physical;
  if (pf.driver != "nvidia" || !has_vgpu_driver(machine, *pf.gpu)) return ENODEV;
  vf.vgpu = std::make_unique<Vgpu>();
  vf.vgpu->carrier = &vf;
  if (machine.nvidia.framework == VgpuFramework::kMdev) {
    register_mdev_parent(machine, vf, mdev_parent(machine, *pf.gpu, vf));
    return 0;
  }
  if (!pf.gpu->spent_vfs.insert(vf.vf_index).second) return ENODEV;
  return probe_vendor_vf(machine, vf);
}

int remove_vf(Machine& machine, Function& vf, Caller& caller) {
  if (machine.nvidia.framework == VgpuFramework::kMdev) return unregister_mdev_parent(machine, vf, caller);
  remove_if_there(machine, vf.directory + "/nvidia");
  if (const int error = unregister_vfio(machine, vf.vfio, caller); error != 0) return error;
  destroy_vgpu(*vf.vgpu);
  return 0;
}

}  // namespace slicebroker::simhost::model
