// SPDX-License-Identifier: Apache-2.0
// Commands about GPUs: MIG, vGPUs.
#include <algorithm>
#include <cerrno>
#include <sstream>

#include "tests/simhost/kernel/command.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

tl::expected<Gpu*, std::string> bound_gpu_of(Call& call) {
  auto gpu = gpu_of(call);
  if (gpu && !(*gpu)->bound) return tl::unexpected((*gpu)->function->bdf + " is not on the nvidia driver");
  return gpu;
}

tl::expected<unsigned, std::string> number_of(const std::string& word) {
  const auto number = read_number(word, 10);
  if (!number) return tl::unexpected("a number is expected and not '" + word + "'");
  return static_cast<unsigned>(*number);
}
// The slices of "ci=2,1", or one instance over all of it.
Outcome add_compute_instances(Gpu& gpu, const GpuInstance& gi, const std::string& wanted) {
  if (wanted == "none") return {};
  if (wanted.empty()) return failed("compute instance", create_ci(gpu, gi.id, gi.profile->compute_slices, -1));
  std::istringstream list(wanted);
  for (std::string word; std::getline(list, word, ',');) {
    const auto slices = number_of(word);
    if (!slices) return bad(slices.error());
    const auto made = failed("compute instance", create_ci(gpu, gi.id, *slices, -1));
    if (!made) return made;
  }
  return {};
}

}  // namespace

Outcome run_gpu(Call& call) {
  const auto gpu = gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto state = call.words.next();
  if (state != "lost" && state != "returns") return bad("'lost' or 'returns' is expected and not '" + state + "'");
  (*gpu)->lost = state == "lost";
  return {};
}

Outcome run_mig(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  return failed("MIG mode", set_mig_mode(**gpu, *on));
}

Outcome run_heterogeneous(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  return failed("heterogeneous mode", set_heterogeneous(**gpu, *on));
}

Outcome run_gi(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto profile_name = call.words.next();
  const auto start = call.words.option("start");
  const auto compute = call.words.option("ci");
  const auto& profiles = (*gpu)->board().profiles;
  const auto profile = std::find_if(profiles.begin(), profiles.end(),
                                    [&](const GiProfile& known) { return known.name == profile_name; });
  if (profile == profiles.end()) return bad((*gpu)->board().key + " has no profile '" + profile_name + "'");
  const auto at = start ? number_of(*start) : 0U;
  if (!at) return bad(at.error());
  std::set<unsigned> before;
  for (const auto& gi : (*gpu)->instances) {
    if (gi) before.insert(gi->id);
  }
  const int error = create_gi(**gpu, profile->id, start ? static_cast<int>(*at) : -1);
  if (error != 0) return failed("GPU instance " + profile_name, error);
  for (const auto& gi : (*gpu)->instances) {
    if (gi && !before.contains(gi->id)) return add_compute_instances(**gpu, *gi, compute.value_or(""));
  }
  return {};
}

Outcome run_destroy_gi(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto id = number_of(call.words.next());
  if (!id) return bad(id.error());
  auto* gi = find_gi(**gpu, *id);
  if (gi != nullptr && gi->users.empty()) gi->compute.clear();
  return failed("GPU instance", destroy_gi(**gpu, *id));
}

Outcome run_ci(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto gi = number_of(call.words.next());
  const auto slices = number_of(call.words.next());
  if (!gi || !slices) return bad("'ci GPU INSTANCE SLICES' is expected");
  return failed("compute instance", create_ci(**gpu, *gi, *slices, -1));
}

Outcome run_destroy_ci(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto gi = number_of(call.words.next());
  const auto ci = number_of(call.words.next());
  if (!gi || !ci) return bad("'destroy-ci GPU INSTANCE COMPUTE-INSTANCE' is expected");
  return failed("compute instance", destroy_ci(**gpu, *gi, *ci));
}

Outcome run_vgpu(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto type = call.words.next();
  const auto uuid = call.words.option("uuid");
  auto& machine = call.machine;
  const auto parent = machine.mdev_parents.find((*function)->bdf);
  if (parent != machine.mdev_parents.end()) {
    if (!uuid) return bad("a mediated device needs uuid=");
    return failed("vGPU", create_mdev(machine, **function, parent->second.type_prefix + "-" + type, *uuid));
  }
  if (!(*function)->vgpu) return bad((*function)->bdf + " can carry no vGPU");
  const auto id = number_of(type);
  if (!id) return bad(id.error());
  auto& gpu = *(*function)->physical->gpu;
  const auto* known = find_vgpu_type(gpu.board(), *id);
  if (known == nullptr) return bad(gpu.board().key + " has no vGPU type " + type);
  return failed("vGPU", create_vgpu(machine, gpu, *(*function)->vgpu, *known));
}

// Of a VF, or of an mdev by its UUID.
Outcome run_remove_vgpu(Call& call) {
  const auto name = call.words.next();
  auto& machine = call.machine;
  const auto mdev = machine.mdevs.find(name);
  if (mdev != machine.mdevs.end()) return failed("vGPU", remove_mdev(machine, *mdev->second, call.caller));
  auto* function = machine.find_function(name);
  if (function == nullptr || !function->vgpu) return bad("there is no vGPU '" + name + "'");
  if (is_open(machine, function->vfio)) return failed("vGPU", EBUSY);
  destroy_vgpu(*function->vgpu);
  return {};
}

}  // namespace slicebroker::simhost::model
