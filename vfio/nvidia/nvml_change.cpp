// SPDX-License-Identifier: Apache-2.0
// The part of Nvml that changes a GPU's MIG layout.
#include <string>
#include <utility>
#include <vector>

#include "vfio/base/text.h"
#include "vfio/nvidia/nvml.h"
#include "vfio/nvidia/nvml_library.h"
#include "vfio/nvidia/nvml_mig.h"

namespace slicebroker::vfio::nvidia {
namespace {

using nvml::GpuInstanceHandle;
using nvml::Return;
using nvml::Target;

// The error of a change, after `undone` tried to make the host what it was. `command` is what is left to do by hand.
Error after_undo(Error error, Result<void> undone, std::string command) {
  if (undone) {
    error.host = HostOutcome::kRestored;
    return error;
  }
  error.code = ErrorCode::kHostChanged;
  error.host = HostOutcome::kChanged;
  error.hint = std::move(command);
  error.causes.push_back(std::move(undone).error());
  return error;
}

// The error of a change that did not begin.
Error untouched(Error error) {
  error.host = HostOutcome::kUntouched;
  return error;
}

Result<Target> find_gpu(const nvml::Functions& functions, const PciAddress& address) {
  Target gpu{functions, nullptr, address.to_string()};
  SLICEBROKER_CHECK(gpu.call(functions.device_by_bus_id, gpu.subject.c_str(), &gpu.device));
  return gpu;
}

struct MigModes {
  unsigned current = 0;
  unsigned pending = 0;
  bool operator==(const MigModes&) const = default;
};

Result<MigModes> read_mig_modes(const Target& gpu) {
  MigModes modes;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.mig_mode, gpu.device, &modes.current, &modes.pending));
  return modes;
}

// Sets the mode and activates it. The call itself succeeds where only the activation fails.
Result<void> write_mig_mode(const Target& gpu, unsigned mode) {
  Return activation = Return::kSuccess;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.set_mig_mode, gpu.device, mode, &activation));
  if (activation == Return::kSuccess) return {};
  return fail(nvml::refusal(gpu.nvml.set_mig_mode.name(), activation, gpu.subject));
}

// Takes a mode that was set but not activated back. Whether that worked is told by looking, not by the activation.
Result<void> restore_mig_modes(const Target& gpu, const MigModes& before) {
  Return activation = Return::kSuccess;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.set_mig_mode, gpu.device, before.pending, &activation));
  SLICEBROKER_TRY(const auto now, read_mig_modes(gpu));
  if (now == before) return {};
  return fail(nvml::bad_answer(gpu.nvml.set_mig_mode.name(), gpu.subject, "another MIG mode is pending"));
}

Result<void> create_compute_instance(const Target& gpu, GpuInstanceHandle parent, const ComputeInstance& wanted) {
  const nvml::InstancePlacement placement{wanted.placement.start, wanted.placement.size};
  const auto& create_at = gpu.nvml.create_compute_instance_at;
  nvml::ComputeInstanceHandle made = nullptr;
  // An older driver alone decides where a compute instance goes.
  if (placement.size == 0 || !create_at.found()) {
    return gpu.call(gpu.nvml.create_compute_instance, parent, wanted.profile_id, &made);
  }
  return gpu.call(create_at, parent, wanted.profile_id, &placement, &made);
}

Result<void> create_compute_instances(const Target& gpu, GpuInstanceHandle parent,
                                      const std::vector<ComputeInstance>& wanted) {
  for (const auto& instance : wanted) SLICEBROKER_CHECK(create_compute_instance(gpu, parent, instance));
  return {};
}

// Destroys the compute instances, then the GPU instance. `gone` are the compute instances destroyed before a failure.
Result<void> destroy(const Target& gpu, GpuInstanceHandle handle, std::vector<ComputeInstance>& gone) {
  SLICEBROKER_TRY(const auto compute_instances, nvml::list_compute_instances(gpu, handle));
  for (const auto& instance : compute_instances) {
    SLICEBROKER_CHECK(gpu.call(gpu.nvml.destroy_compute_instance, instance.handle));
    gone.push_back(instance.value);
  }
  return gpu.call(gpu.nvml.destroy_gpu_instance, handle);
}

std::string mig_command(const Target& gpu, const std::string& gpu_instance, const std::string& action) {
  return "nvidia-smi mig -i " + gpu.subject + " -gi " + gpu_instance + " " + action;
}

// How to destroy a GPU instance by hand.
std::string destroy_command(const Target& gpu, GpuInstanceHandle handle) {
  nvml::GpuInstanceInfo info{};
  const bool known = gpu.nvml.gpu_instance_info(handle, &info) == Return::kSuccess;
  const auto id = known ? std::to_string(info.id) : "ID";
  return mig_command(gpu, id, "-dci") + "; " + mig_command(gpu, id, "-dgi");
}

// How to make compute instances anew by hand.
std::string create_command(const Target& gpu, std::uint32_t gpu_instance, const std::vector<ComputeInstance>& wanted) {
  std::vector<std::string> profiles;
  for (const auto& instance : wanted) profiles.push_back(std::to_string(instance.profile_id));
  return "compute instances of profiles " + join(profiles, ", ") +
         " were there; make the missing ones with: " + mig_command(gpu, std::to_string(gpu_instance), "-cci PROFILE");
}

// Gives a new GPU instance its compute instances and reads back what came out.
Result<GpuInstance> complete(const Target& gpu, GpuInstanceHandle handle, const GpuInstance& wanted) {
  SLICEBROKER_CHECK(create_compute_instances(gpu, handle, wanted.compute_instances));
  SLICEBROKER_TRY(auto made, nvml::read_instance(gpu, handle));
  if (made.placement != wanted.placement) {
    return fail(nvml::bad_answer(gpu.nvml.create_gpu_instance.name(), gpu.subject, "made at another placement"));
  }
  return made;
}

}  // namespace

Result<void> Nvml::set_mig_mode(const PciAddress& address, MigMode mode) const {
  auto gpu = find_gpu(library_->functions(), address);
  if (!gpu) return fail(untouched(std::move(gpu).error()));
  const auto before = read_mig_modes(*gpu);
  if (!before) return fail(untouched(before.error()));
  const unsigned wanted = mode == MigMode::kOn ? nvml::kMigEnabled : nvml::kMigDisabled;
  if (*before == MigModes{wanted, wanted}) return {};

  auto written = write_mig_mode(*gpu, wanted);
  if (written) return {};
  if (const auto now = read_mig_modes(*gpu); now && *now == *before) return fail(untouched(std::move(written).error()));
  return fail(after_undo(std::move(written).error(), restore_mig_modes(*gpu, *before),
                         "nvidia-smi -i " + address.to_string() + " -mig " + std::to_string(before->pending)));
}

Result<GpuInstance> Nvml::create_gpu_instance(const PciAddress& address, const GpuInstance& wanted) const {
  auto gpu = find_gpu(library_->functions(), address);
  if (!gpu) return fail(untouched(std::move(gpu).error()));
  const nvml::InstancePlacement placement{wanted.placement.start, wanted.placement.size};
  GpuInstanceHandle handle = nullptr;
  const auto& create = gpu->nvml.create_gpu_instance;
  if (auto created = gpu->call(create, gpu->device, wanted.profile_id, &placement, &handle); !created) {
    return fail(untouched(std::move(created).error()));
  }
  auto made = complete(*gpu, handle, wanted);
  if (made) return made;
  auto command = destroy_command(*gpu, handle);
  std::vector<ComputeInstance> gone;
  return fail(after_undo(std::move(made).error(), destroy(*gpu, handle, gone), std::move(command)));
}

Result<void> Nvml::destroy_gpu_instance(const PciAddress& address, std::uint32_t gpu_instance_id) const {
  auto gpu = find_gpu(library_->functions(), address);
  if (!gpu) return fail(untouched(std::move(gpu).error()));
  GpuInstanceHandle handle = nullptr;
  if (auto found = gpu->call(gpu->nvml.gpu_instance_by_id, gpu->device, gpu_instance_id, &handle); !found) {
    return fail(untouched(std::move(found).error()));
  }
  std::vector<ComputeInstance> gone;
  auto destroyed = destroy(*gpu, handle, gone);
  if (destroyed) return {};
  if (gone.empty()) return fail(untouched(std::move(destroyed).error()));
  return fail(after_undo(std::move(destroyed).error(), create_compute_instances(*gpu, handle, gone),
                         create_command(*gpu, gpu_instance_id, gone)));
}

}  // namespace slicebroker::vfio::nvidia
