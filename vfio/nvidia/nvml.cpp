// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/nvml.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vfio/nvidia/nvml_library.h"
#include "vfio/nvidia/nvml_mig.h"
#include "vfio/nvidia/nvml_vgpu.h"
#include "vfio/nvidia/profile_name.h"
#include "vfio/nvidia/vgpu_name.h"

namespace slicebroker::vfio::nvidia {
namespace {

using nvml::Return;
using nvml::Target;

constexpr unsigned kMostGpus = 1024;

MigMode mig_mode_of(unsigned mode) {
  return mode == nvml::kMigEnabled ? MigMode::kOn : MigMode::kOff;
}

template <std::size_t kSize>
Result<std::string> read_text(const Target& gpu,
                              const nvml::Symbol<Return(nvml::DeviceHandle, char*, unsigned)>& read) {
  std::array<char, kSize> text{};
  SLICEBROKER_CHECK(gpu.call(read, gpu.device, text.data(), static_cast<unsigned>(text.size())));
  return nvml::text_of(text);
}

Result<PciAddress> read_address(const Target& gpu) {
  nvml::PciInfo info{};
  SLICEBROKER_CHECK(gpu.call(gpu.nvml.pci_info, gpu.device, &info));
  const auto text = nvml::text_of(info.bus_id);
  const auto address = PciAddress::parse(text);
  if (!address) return fail(nvml::bad_answer(gpu.nvml.pci_info.name(), gpu.subject, "not a PCI address: " + text));
  return *address;
}

Result<void> read_identity(const Target& target, Gpu& gpu) {
  SLICEBROKER_TRY(gpu.uuid, read_text<nvml::kUuidBuffer>(target, target.nvml.uuid));
  SLICEBROKER_TRY(gpu.name, read_text<nvml::kNameBuffer>(target, target.nvml.name));
  unsigned minor = 0;
  const auto& minor_number = target.nvml.minor_number;
  const Return code = minor_number(target.device, &minor);
  if (code != Return::kSuccess && !nvml::is_absent(code)) {
    return fail(nvml::refusal(minor_number.name(), code, target.subject));
  }
  if (code == Return::kSuccess) gpu.minor = minor;
  return {};
}

// Memory that is not told only costs the names of profiles on old drivers and memory= of whole GPUs, so no failure of
// this leaves the GPU out.
std::uint64_t find_memory_mib(const Target& gpu) {
  nvml::Memory memory{};
  return gpu.nvml.memory(gpu.device, &memory) == Return::kSuccess ? memory.total >> 20 : 0;
}

Result<void> read_mig(const Target& target, Gpu& gpu) {
  unsigned current = 0;
  unsigned pending = 0;
  const auto& mig_mode = target.nvml.mig_mode;
  const Return code = mig_mode(target.device, &current, &pending);
  if (nvml::is_absent(code)) return {};
  if (code != Return::kSuccess) return fail(nvml::refusal(mig_mode.name(), code, target.subject));
  gpu.mig_mode = mig_mode_of(current);
  gpu.pending_mig_mode = mig_mode_of(pending);
  SLICEBROKER_TRY(gpu.profiles, nvml::read_profiles(target));
  if (gpu.mig_mode != MigMode::kOn) return {};
  if (gpu.profiles.empty()) {
    return fail(
        nvml::bad_answer(target.nvml.profile_info.name(), target.subject, "MIG is on, yet there is no profile"));
  }
  SLICEBROKER_TRY(gpu.instances, nvml::read_instances(target, gpu.profiles));
  return {};
}

// A driver that is older than the question which profile backs a vGPU type leaves MIG-backed types looking like
// time-sliced ones; their names tell.
void back_types_by_name(Gpu& gpu) {
  for (auto& type : gpu.vgpu_types) {
    const auto type_name = parse_vgpu_name(type.name);
    const auto wanted = type_name ? mig_profile_of(*type_name) : std::nullopt;
    const auto profile = std::find_if(gpu.profiles.begin(), gpu.profiles.end(),
                                      [&](const auto& known) { return profile_name(gpu, known) == wanted; });
    if (profile != gpu.profiles.end()) type.gpu_instance_profile_id = profile->id;
  }
}

// NVML's own library waits for the driver with no end; the announcement ends where the next one begins.
Result<void> ask_of(const Watch* watch, const std::string& what) {
  if (watch == nullptr) return {};
  if (watch->avoids(what, Watch::Access::kRead)) {
    Error error;
    error.code = ErrorCode::kNoAnswer;
    error.reason = "NVML_SILENT";
    error.tried = "ask";
    error.subject = what;
    error.fact = "NVIDIA's driver has not answered in time";
    error.hint = "see the kernel's log for Xid and GSP messages; the GPU may need a reset";
    return fail(std::move(error));
  }
  watch->begin(Watch::Kind::kNvml, what);
  return {};
}

}  // namespace

Nvml::Nvml(std::unique_ptr<nvml::Library> library, const Watch* watch) : library_(std::move(library)), watch_(watch) {}
Nvml::Nvml(Nvml&&) noexcept = default;
Nvml& Nvml::operator=(Nvml&&) noexcept = default;
Nvml::~Nvml() = default;

Result<Nvml> Nvml::open(const std::string& library, const Watch* watch) {
  SLICEBROKER_CHECK(ask_of(watch, "NVML"));
  SLICEBROKER_TRY(auto opened, nvml::Library::open(library));
  return Nvml(std::move(opened), watch);
}

Result<Gpu> Nvml::read_gpu(unsigned index) const {
  const auto& functions = library_->functions();
  Target target{functions, nullptr, "GPU " + std::to_string(index)};
  SLICEBROKER_CHECK(ask_of(watch_, "NVML on its GPU number " + std::to_string(index)));
  SLICEBROKER_CHECK(target.call(functions.device_by_index, index, &target.device));
  Gpu gpu;
  SLICEBROKER_TRY(gpu.address, read_address(target));
  target.subject = gpu.address.to_string();
  SLICEBROKER_CHECK(ask_of(watch_, "NVML on GPU " + target.subject));
  SLICEBROKER_CHECK(read_identity(target, gpu));
  SLICEBROKER_CHECK(read_mig(target, gpu));
  SLICEBROKER_TRY(gpu.vgpu_types, nvml::read_vgpu_types(target));
  SLICEBROKER_TRY(gpu.active_vgpus, nvml::read_active_vgpus(target));
  gpu.memory_mib = find_memory_mib(target);
  gpu.vgpu_heterogeneous = nvml::find_heterogeneous_mode(target);
  if (!functions.vgpu_type_profile.found()) back_types_by_name(gpu);
  return gpu;
}

Result<Driver> Nvml::read_driver() const {
  const Target all{library_->functions(), nullptr, "nvidia driver"};
  SLICEBROKER_CHECK(ask_of(watch_, "NVML"));
  std::array<char, nvml::kDriverVersionBuffer> version{};
  SLICEBROKER_CHECK(all.call(all.nvml.driver_version, version.data(), static_cast<unsigned>(version.size())));
  unsigned count = 0;
  SLICEBROKER_CHECK(all.call(all.nvml.device_count, &count));
  SLICEBROKER_CHECK(all.check_count(all.nvml.device_count.name(), count, kMostGpus));

  Driver driver;
  driver.version = nvml::text_of(version);
  for (unsigned index = 0; index < count; ++index) {
    auto gpu = read_gpu(index);
    if (gpu) {
      driver.gpus.push_back(*std::move(gpu));
    } else {
      driver.problems.push_back(std::move(gpu).error());
    }
  }
  std::ranges::sort(driver.gpus, {}, &Gpu::address);
  return driver;
}

}  // namespace slicebroker::vfio::nvidia
