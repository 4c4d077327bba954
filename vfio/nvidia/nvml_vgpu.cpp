// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/nvml_vgpu.h"

#include <array>
#include <optional>
#include <utility>

namespace slicebroker::vfio::nvidia::nvml {
namespace {

// Far above what exists (some 100 types, 32 vGPUs), and a bound to what a broken library can make us do.
constexpr unsigned kMostIds = 4096;
constexpr int kMostTries = 8;

using Ids = std::vector<unsigned>;

// Lists ids by asking for their number first, and again where it grew in between.
Result<Ids> list_ids(const Target& gpu, const Symbol<Return(DeviceHandle, unsigned*, unsigned*)>& list) {
  Ids ids;
  for (int tries = 0; tries < kMostTries; ++tries) {
    auto count = static_cast<unsigned>(ids.size());
    const Return code = list(gpu.device, &count, ids.empty() ? nullptr : ids.data());
    if (is_absent(code)) return Ids{};
    if (code != Return::kSuccess && code != Return::kInsufficientSize) {
      return fail(refusal(list.name(), code, gpu.subject));
    }
    SLICEBROKER_CHECK(gpu.check_count(list.name(), count, kMostIds));
    if (code == Return::kSuccess && count > ids.size()) {
      return fail(bad_answer(list.name(), gpu.subject, "claims to have written past its buffer"));
    }
    ids.resize(count);
    if (code == Return::kSuccess) return ids;
  }
  return fail(refusal(list.name(), Return::kInsufficientSize, gpu.subject));
}

// Reads a GPU instance or profile id that may be none.
Result<std::optional<std::uint32_t>> read_optional_id(const Target& gpu, unsigned of,
                                                      const Symbol<Return(unsigned, unsigned*)>& read) {
  unsigned id = kNoGpuInstance;
  const Return code = read(of, &id);
  if (is_absent(code)) return std::nullopt;
  if (code != Return::kSuccess) return fail(refusal(read.name(), code, gpu.subject));
  if (id == kNoGpuInstance) return std::nullopt;
  return id;
}

Result<VgpuType> read_type(const Target& gpu, VgpuTypeId id) {
  constexpr unsigned long long kMib = 1024ULL * 1024;
  std::array<char, kVgpuNameBuffer> name{};
  auto size = static_cast<unsigned>(name.size());
  unsigned long long framebuffer = 0;
  VgpuType type;
  type.id = id;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.vgpu_type_name, id, name.data(), &size));
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.vgpu_type_framebuffer, id, &framebuffer));
  SLICEBROKER_TRY(type.gpu_instance_profile_id, read_optional_id(gpu, id, gpu.nvml.vgpu_type_profile));
  type.name = text_of(name);
  type.framebuffer_mib = framebuffer / kMib;
  return type;
}

Result<ActiveVgpu> read_vgpu(const Target& gpu, VgpuInstanceId id) {
  ActiveVgpu vgpu;
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.vgpu_type, id, &vgpu.type_id));
  SLICEBROKER_TRY(vgpu.gpu_instance_id, read_optional_id(gpu, id, gpu.nvml.vgpu_gpu_instance));
  std::array<char, kUuidBuffer> uuid{};
  const Return code = gpu.nvml.vgpu_mdev(id, uuid.data(), static_cast<unsigned>(uuid.size()));
  if (code != Return::kSuccess && !is_absent(code)) {
    return fail(refusal(gpu.nvml.vgpu_mdev.name(), code, gpu.subject));
  }
  vgpu.mdev = Uuid::parse(text_of(uuid));
  return vgpu;
}

}  // namespace

Result<std::vector<VgpuType>> read_vgpu_types(const Target& gpu) {
  SLICEBROKER_TRY(const auto ids, list_ids(gpu, gpu.nvml.supported_vgpus));
  std::vector<VgpuType> types;
  for (const auto id : ids) {
    SLICEBROKER_TRY(auto type, read_type(gpu, id));
    types.push_back(std::move(type));
  }
  return types;
}

Result<std::vector<ActiveVgpu>> read_active_vgpus(const Target& gpu) {
  SLICEBROKER_TRY(const auto ids, list_ids(gpu, gpu.nvml.active_vgpus));
  std::vector<ActiveVgpu> vgpus;
  for (const auto id : ids) {
    auto vgpu = read_vgpu(gpu, id);
    if (!vgpu && vgpu.error().code == ErrorCode::kNotFound) continue;  // ended since it was listed
    if (!vgpu) return fail(std::move(vgpu).error());
    vgpus.push_back(*std::move(vgpu));
  }
  return vgpus;
}

std::optional<bool> find_heterogeneous_mode(const Target& gpu) {
  HeterogeneousMode mode{version_word<HeterogeneousMode>(1), 0};
  if (gpu.nvml.heterogeneous_mode(gpu.device, &mode) != Return::kSuccess) return std::nullopt;
  return mode.mode != 0;
}

}  // namespace slicebroker::vfio::nvidia::nvml
