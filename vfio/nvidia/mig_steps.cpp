// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/mig_steps.h"

#include <algorithm>

#include "vfio/nvidia/nvml.h"

namespace slicebroker::vfio {
namespace {

using nvidia::ComputeInstance;
using nvidia::GpuInstance;

constexpr std::string_view kInstance = "gpu_instance.";

struct OpenGpu {
  nvidia::Nvml nvml;
  nvidia::Gpu gpu;
};

// NVML with one GPU's state. It is closed with the result, before anything unbinds the GPU.
Result<OpenGpu> open_gpu(const Host& host, const PciAddress& address) {
  SLICEBROKER_TRY(auto nvml, nvidia::Nvml::open(host.nvml_library, host.watch));
  SLICEBROKER_TRY(const auto driver, nvml.read_driver());
  const auto at = std::find_if(driver.gpus.begin(), driver.gpus.end(),
                               [&](const nvidia::Gpu& gpu) { return gpu.address == address; });
  if (at == driver.gpus.end()) {
    Error error;
    error.code = ErrorCode::kNotFound;
    error.reason = "GPU_NOT_IN_NVML";
    error.tried = "find the GPU in NVML";
    error.subject = address.to_string();
    error.fact = "the nvidia driver does not list it";
    return fail(std::move(error));
  }
  return OpenGpu{std::move(nvml), *at};
}

std::string numbers(std::uint32_t profile, const nvidia::Placement& placement) {
  return std::to_string(profile) + "," + std::to_string(placement.start) + "," + std::to_string(placement.size);
}

// "profile,start,size;profile,start,size,MIG-uuid;...": the instance, then its compute instances.
std::string encode(const GpuInstance& instance) {
  std::string text = numbers(instance.profile_id, instance.placement);
  for (const auto& compute : instance.compute_instances) {
    text += ";" + numbers(compute.profile_id, compute.placement) + "," + compute.mig_uuid;
  }
  return text;
}

Error malformed(std::string_view text) {
  Error error;
  error.reason = "MALFORMED_RECORD";
  error.tried = "read the recorded GPU instance";
  error.fact = "its text is '" + std::string(text) + "'";
  return error;
}

Result<void> decode_numbers(std::string_view text, std::uint32_t& profile, nvidia::Placement& placement) {
  const auto parts = split(text, ',');
  if (parts.size() < 3) return fail(malformed(text));
  const auto id = parse_number<std::uint32_t>(parts[0]);
  const auto start = parse_number<std::uint32_t>(parts[1]);
  const auto size = parse_number<std::uint32_t>(parts[2]);
  if (!id || !start || !size) return fail(malformed(text));
  profile = *id;
  placement = {*start, *size};
  return {};
}

Result<GpuInstance> decode(std::string_view id, std::string_view text) {
  GpuInstance instance;
  const auto number = parse_number<std::uint32_t>(id);
  if (!number) return fail(malformed(id));
  instance.id = *number;
  const auto parts = split(text, ';');
  SLICEBROKER_CHECK(decode_numbers(parts[0], instance.profile_id, instance.placement));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    ComputeInstance compute;
    SLICEBROKER_CHECK(decode_numbers(parts[i], compute.profile_id, compute.placement));
    compute.mig_uuid = parts[i].substr(parts[i].rfind(',') + 1);
    instance.compute_instances.push_back(std::move(compute));
  }
  return instance;
}

std::vector<std::string> mig_uuids(const GpuInstance& instance) {
  std::vector<std::string> uuids;
  for (const auto& compute : instance.compute_instances) uuids.push_back(compute.mig_uuid);
  std::sort(uuids.begin(), uuids.end());
  return uuids;
}

Result<void> check_same(const PciAddress& gpu, const GpuInstance& before, const GpuInstance& now) {
  if (before.id == now.id && mig_uuids(before) == mig_uuids(now)) return {};
  Error error;
  error.code = ErrorCode::kHostChanged;
  error.reason = "GPU_INSTANCE_NOT_THE_SAME";
  error.tried = "make GPU instance " + std::to_string(before.id) + " again";
  error.subject = gpu.to_string();
  error.fact = "the driver made instance " + std::to_string(now.id) + " with " + join(mig_uuids(now), " ") +
               " in the place of " + join(mig_uuids(before), " ");
  return fail(std::move(error));
}

// Sets the mode, and looks: some drivers take it and wait for a reset.
Result<void> set_mode(const Host& host, const PciAddress& address, nvidia::MigMode mode) {
  SLICEBROKER_TRY(const auto open, open_gpu(host, address));
  if (open.gpu.mig_mode == mode && open.gpu.pending_mig_mode == mode) return {};
  SLICEBROKER_CHECK(open.nvml.set_mig_mode(address, mode));
  SLICEBROKER_TRY(const auto again, open_gpu(host, address));
  if (again.gpu.mig_mode == mode) return {};
  Error error;
  error.reason = "MIG_MODE_NOT_TAKEN";
  error.tried = "switch MIG mode";
  error.subject = address.to_string();
  error.fact = "the driver accepted it and the mode is as before";
  error.hint = "the GPU may need a reset: nvidia-smi --gpu-reset -i " + address.to_string();
  return fail(std::move(error));
}

template <class Step>
Result<Step> step_for_gpu(const Fields& fields) {
  Step step;
  SLICEBROKER_TRY(step.gpu, address_field(fields, "gpu"));
  return step;
}

}  // namespace

Fields DestroyGpuInstances::fields() const {
  return {{"gpu", gpu.to_string()}};
}
Result<DestroyGpuInstances> DestroyGpuInstances::from_fields(const Fields& fields) {
  return step_for_gpu<DestroyGpuInstances>(fields);
}
std::string DestroyGpuInstances::describe() const {
  return "destroy the GPU instances of " + gpu.to_string();
}

Result<Observation> DestroyGpuInstances::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto open, open_gpu(host, gpu));
  Observation seen;
  seen.already_so = open.gpu.instances.empty();
  for (const auto& instance : open.gpu.instances) {
    seen.before[std::string(kInstance) + std::to_string(instance.id)] = encode(instance);
  }
  return seen;
}

Result<void> DestroyGpuInstances::apply(const Host& host) const {
  SLICEBROKER_TRY(const auto open, open_gpu(host, gpu));
  for (const auto& instance : open.gpu.instances) {
    SLICEBROKER_CHECK(open.nvml.destroy_gpu_instance(gpu, instance.id));
  }
  return {};
}

Result<void> DestroyGpuInstances::undo(const Host& host, const Fields& before) const {
  std::vector<GpuInstance> wanted;
  for (const auto& [key, value] : before) {
    if (!key.starts_with(kInstance)) continue;
    SLICEBROKER_TRY(auto instance, decode(std::string_view(key).substr(kInstance.size()), value));
    wanted.push_back(std::move(instance));
  }
  // The driver numbers instances as they come, so they come in the order of their numbers.
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  SLICEBROKER_TRY(const auto open, open_gpu(host, gpu));
  for (const auto& instance : wanted) {
    const auto& now = open.gpu.instances;
    const auto same_place = [&](const GpuInstance& other) { return other.placement == instance.placement; };
    const auto there = std::find_if(now.begin(), now.end(), same_place);
    if (there != now.end() && there->compute_instances.size() >= instance.compute_instances.size()) {
      SLICEBROKER_CHECK(check_same(gpu, instance, *there));
      continue;
    }
    // An undo that was cut short left it without its compute instances; nothing can run on it.
    if (there != now.end()) SLICEBROKER_CHECK(open.nvml.destroy_gpu_instance(gpu, there->id));
    SLICEBROKER_TRY(const auto made, open.nvml.create_gpu_instance(gpu, instance));
    SLICEBROKER_CHECK(check_same(gpu, instance, made));
  }
  return {};
}

Fields DisableMig::fields() const {
  return {{"gpu", gpu.to_string()}};
}
Result<DisableMig> DisableMig::from_fields(const Fields& fields) {
  return step_for_gpu<DisableMig>(fields);
}
std::string DisableMig::describe() const {
  return "switch MIG mode of " + gpu.to_string() + " off";
}

Result<Observation> DisableMig::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto open, open_gpu(host, gpu));
  const bool on = open.gpu.mig_mode == nvidia::MigMode::kOn;
  return Observation{{{"mig_mode", on ? "on" : "off"}}, !on};
}

Result<void> DisableMig::apply(const Host& host) const {
  return set_mode(host, gpu, nvidia::MigMode::kOff);
}

Result<void> DisableMig::undo(const Host& host, const Fields& before) const {
  SLICEBROKER_TRY(const auto mode, text_field(before, "mig_mode"));
  if (mode != "on") return {};
  return set_mode(host, gpu, nvidia::MigMode::kOn);
}

}  // namespace slicebroker::vfio
