// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/mig_uuid.h"

#include "vfio/base/text.h"

namespace slicebroker::vfio::nvidia {
namespace {

constexpr std::string_view kMig = "MIG-";
constexpr std::string_view kGpu = "GPU-";

// A UUID with its dashes; Uuid::parse() also takes one without.
std::optional<Uuid> parse_dashed(std::string_view text) {
  if (text.find('-') == std::string_view::npos) return std::nullopt;
  return Uuid::parse(text);
}

// "GPU-<uuid>"
std::optional<Uuid> parse_gpu(std::string_view text) {
  if (!text.starts_with(kGpu)) return std::nullopt;
  return parse_dashed(text.substr(kGpu.size()));
}

bool is(const MigUuid& wanted, const Gpu& gpu, const GpuInstance& gpu_instance, const ComputeInstance& instance) {
  if (const auto* legacy = std::get_if<MigUuid::Legacy>(&wanted.form)) {
    return legacy->gpu_instance == gpu_instance.id && legacy->compute_instance == instance.id &&
           parse_gpu(gpu.uuid) == legacy->gpu;
  }
  return MigUuid::parse(instance.mig_uuid) == wanted;
}

}  // namespace

std::optional<MigUuid> MigUuid::parse(std::string_view text) {
  if (!text.starts_with(kMig)) return std::nullopt;
  text.remove_prefix(kMig.size());
  if (const auto uuid = parse_dashed(text)) return MigUuid{*uuid};

  const auto parts = split(text, '/');
  if (parts.size() != 3) return std::nullopt;
  const auto gpu = parse_gpu(parts[0]);
  const auto gpu_instance = parse_number<std::uint32_t>(parts[1]);
  const auto compute_instance = parse_number<std::uint32_t>(parts[2]);
  if (!gpu || !gpu_instance || !compute_instance) return std::nullopt;
  return MigUuid{Legacy{*gpu, *gpu_instance, *compute_instance}};
}

std::string MigUuid::to_string() const {
  const std::string mig(kMig);
  if (const auto* uuid = std::get_if<Uuid>(&form)) return mig + uuid->to_string();
  const auto& legacy = std::get<Legacy>(form);
  return mig + std::string(kGpu) + legacy.gpu.to_string() + "/" + std::to_string(legacy.gpu_instance) + "/" +
         std::to_string(legacy.compute_instance);
}

std::optional<MigSlice> find_instance(const Driver& driver, const MigUuid& uuid) {
  for (const auto& gpu : driver.gpus) {
    for (const auto& gpu_instance : gpu.instances) {
      for (const auto& instance : gpu_instance.compute_instances) {
        if (is(uuid, gpu, gpu_instance, instance)) return MigSlice{&gpu, &gpu_instance, &instance};
      }
    }
  }
  return std::nullopt;
}

}  // namespace slicebroker::vfio::nvidia
