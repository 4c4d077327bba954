// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/nvml_mig.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace slicebroker::vfio::nvidia::nvml {
namespace {

// Far above what exists (18 profiles, 8 instances), and a bound to what a broken library can make us do.
constexpr unsigned kMostProfiles = 64;
constexpr unsigned kMostInstances = 64;

using InstanceKey = std::pair<std::uint32_t, std::uint32_t>;  // ids of GPU and compute instance
using MigUuids = std::map<InstanceKey, std::string>;

Placement placement_of(const InstancePlacement& placement) {
  return {placement.start, placement.size};
}

template <class Info>
GpuInstanceProfile profile_of(const Info& info) {
  GpuInstanceProfile profile;
  profile.id = info.id;
  profile.slices = info.slice_count;
  profile.max_instances = info.instance_count;
  profile.memory_mib = info.memory_mib;
  if constexpr (requires { info.name; }) {
    constexpr std::string_view kPrefix = "MIG ";
    profile.name = text_of(info.name);
    if (profile.name.starts_with(kPrefix)) profile.name.erase(0, kPrefix.size());
  }
  return profile;
}

template <class Info>
Return versioned_profile(const Target& gpu, unsigned selector, std::uint32_t version, GpuInstanceProfile& profile) {
  Info info{};
  info.version = version_word<Info>(version);
  const Return code = gpu.nvml.profile_info_v(gpu.device, selector, &info);
  if (code == Return::kSuccess) profile = profile_of(info);
  return code;
}

// Tries the newest form first. An older driver refuses a newer form with the same value as a selector that does not
// exist, and the versioned calls refuse every GPU without MIG mode, so the oldest form has the last word.
Return read_profile(const Target& gpu, unsigned selector, GpuInstanceProfile& profile) {
  const auto form_matters = [](Return code) {
    return is_absent(code) || code == Return::kInvalidArgument || code == Return::kArgumentVersionMismatch;
  };
  Return code = versioned_profile<ProfileInfoV3>(gpu, selector, 3, profile);
  if (!form_matters(code)) return code;
  code = versioned_profile<ProfileInfoV2>(gpu, selector, 2, profile);
  if (!form_matters(code)) return code;
  if (!gpu.nvml.profile_info.found()) return code;
  ProfileInfoV1 info{};
  code = gpu.nvml.profile_info(gpu.device, selector, &info);
  if (code == Return::kSuccess) profile = profile_of(info);
  return code;
}

Result<MigUuids::value_type> read_mig_device(const Target& gpu, DeviceHandle device) {
  InstanceKey key;
  std::array<char, kUuidBuffer> uuid{};
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.mig_gpu_instance_id, device, &key.first));
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.mig_compute_instance_id, device, &key.second));
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.uuid, device, uuid.data(), static_cast<unsigned>(uuid.size())));
  return MigUuids::value_type{key, text_of(uuid)};
}

Result<MigUuids> read_mig_uuids(const Target& gpu) {
  unsigned count = 0;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.max_mig_devices, gpu.device, &count));
  SLICEBROKER_CHECK(gpu.check_count(gpu.nvml.max_mig_devices.name(), count, kMostInstances));
  MigUuids uuids;
  for (unsigned index = 0; index < count; ++index) {
    DeviceHandle device = nullptr;
    const auto& by_index = gpu.nvml.mig_device_by_index;
    const Return code = by_index(gpu.device, index, &device);
    // A hole. Drivers also call it an invalid argument (NVIDIA/go-nvlib pkg/nvlib/device).
    if (code == Return::kNotFound || code == Return::kInvalidArgument) continue;
    if (code != Return::kSuccess) return fail(refusal(by_index.name(), code, gpu.subject));
    SLICEBROKER_TRY(auto found, read_mig_device(gpu, device));
    uuids.insert(std::move(found));
  }
  return uuids;
}

Result<GpuInstance> read_instance(const Target& gpu, GpuInstanceHandle handle, const MigUuids& uuids) {
  GpuInstanceInfo info{};
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.gpu_instance_info, handle, &info));
  GpuInstance instance;
  instance.id = info.id;
  instance.profile_id = info.profile_id;
  instance.placement = placement_of(info.placement);
  SLICEBROKER_TRY(auto compute_instances, list_compute_instances(gpu, handle));
  for (auto& [_, compute_instance] : compute_instances) {
    const auto uuid = uuids.find({instance.id, compute_instance.id});
    if (uuid != uuids.end()) compute_instance.mig_uuid = uuid->second;
    instance.compute_instances.push_back(std::move(compute_instance));
  }
  return instance;
}

// Adds the compute instances of one profile to `instances`.
Result<void> add_compute_instances(const Target& gpu, GpuInstanceHandle gpu_instance, const ComputeProfileInfo& profile,
                                   std::vector<OpenComputeInstance>& instances) {
  const auto& list = gpu.nvml.compute_instances;
  std::array<ComputeInstanceHandle, kMostInstances> handles{};
  unsigned count = profile.instance_count;
  SLICEBROKER_CHECK(gpu.check_count(gpu.nvml.compute_profile_info.name(), count, kMostInstances));
  SLICEBROKER_CHECK(gpu.call(list, gpu_instance, profile.id, handles.data(), &count));
  SLICEBROKER_CHECK(gpu.check_count(list.name(), count, kMostInstances));
  for (unsigned i = 0; i < count; ++i) {
    ComputeInstanceInfo info{};
    SLICEBROKER_CHECK(gpu.call(gpu.nvml.compute_instance_info, handles[i], &info));
    instances.push_back({handles[i], {info.id, info.profile_id, placement_of(info.placement), {}}});
  }
  return {};
}

}  // namespace

Result<std::vector<GpuInstanceProfile>> read_profiles(const Target& gpu) {
  std::vector<GpuInstanceProfile> profiles;
  for (unsigned selector = 0; selector < kMostProfiles; ++selector) {
    GpuInstanceProfile profile;
    const Return code = read_profile(gpu, selector, profile);
    if (code == Return::kInvalidArgument || code == Return::kFunctionNotFound) break;  // behind the last selector
    if (code == Return::kNotSupported) continue;                                       // exists, but not on this GPU
    if (code != Return::kSuccess) return fail(refusal(gpu.nvml.profile_info.name(), code, gpu.subject));
    if (std::ranges::find(profiles, profile.id, &GpuInstanceProfile::id) != profiles.end()) continue;
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

Result<std::vector<GpuInstance>> read_instances(const Target& gpu, const std::vector<GpuInstanceProfile>& profiles) {
  const auto& list = gpu.nvml.gpu_instances;
  SLICEBROKER_TRY(const auto uuids, read_mig_uuids(gpu));
  std::vector<GpuInstance> instances;
  for (const auto& profile : profiles) {
    std::array<GpuInstanceHandle, kMostInstances> handles{};
    unsigned count = profile.max_instances;
    SLICEBROKER_CHECK(gpu.check_count(gpu.nvml.profile_info.name(), count, kMostInstances));
    SLICEBROKER_CHECK(gpu.call(list, gpu.device, profile.id, handles.data(), &count));
    SLICEBROKER_CHECK(gpu.check_count(list.name(), count, kMostInstances));
    for (unsigned i = 0; i < count; ++i) {
      SLICEBROKER_TRY(auto instance, read_instance(gpu, handles[i], uuids));
      instances.push_back(std::move(instance));
    }
  }
  std::ranges::sort(instances, {}, &GpuInstance::id);
  return instances;
}

Result<GpuInstance> read_instance(const Target& gpu, GpuInstanceHandle handle) {
  SLICEBROKER_TRY(const auto uuids, read_mig_uuids(gpu));
  return read_instance(gpu, handle, uuids);
}

Result<std::vector<OpenComputeInstance>> list_compute_instances(const Target& gpu, GpuInstanceHandle handle) {
  const auto& profile_info = gpu.nvml.compute_profile_info;
  std::vector<OpenComputeInstance> instances;
  std::vector<std::uint32_t> seen;
  for (unsigned selector = 0; selector < kMostProfiles; ++selector) {
    ComputeProfileInfo profile{};
    const Return code = profile_info(handle, selector, kSharedEngines, &profile);
    if (code == Return::kInvalidArgument) break;
    if (code == Return::kNotSupported) continue;
    if (code != Return::kSuccess) return fail(refusal(profile_info.name(), code, gpu.subject));
    if (std::ranges::find(seen, profile.id) != seen.end()) continue;
    seen.push_back(profile.id);
    SLICEBROKER_CHECK(add_compute_instances(gpu, handle, profile, instances));
  }
  std::ranges::sort(instances, {}, [](const auto& instance) { return instance.value.id; });
  return instances;
}

}  // namespace slicebroker::vfio::nvidia::nvml
