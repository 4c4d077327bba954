// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/nvml_library.h"

#include <algorithm>
#include <utility>

namespace slicebroker::vfio::nvidia::nvml {
namespace {

struct Meaning {
  Return code;
  std::string_view name;
  ErrorCode means;
  std::string_view fact;
  std::string_view hint;
};

constexpr Meaning kMeanings[] = {
    {Return::kUninitialized, "UNINITIALIZED", ErrorCode::kFailed, "NVML is not initialised", ""},
    {Return::kInvalidArgument, "INVALID_ARGUMENT", ErrorCode::kFailed, "NVML does not accept an argument", ""},
    {Return::kNotSupported, "NOT_SUPPORTED", ErrorCode::kRefused, "this GPU or its driver can't do this", ""},
    {Return::kNoPermission, "NO_PERMISSION", ErrorCode::kFailed, "the driver does not permit this", "run as root"},
    {Return::kNotFound, "NOT_FOUND", ErrorCode::kNotFound, "the driver knows no such thing", ""},
    {Return::kInsufficientSize, "INSUFFICIENT_SIZE", ErrorCode::kFailed, "the answer outgrew its buffer", ""},
    {Return::kInsufficientPower, "INSUFFICIENT_POWER", ErrorCode::kFailed, "the GPU lacks external power",
     "check the GPU's power cables"},
    {Return::kDriverNotLoaded, "DRIVER_NOT_LOADED", ErrorCode::kNotFound, "the nvidia kernel driver is not loaded",
     "load it with: modprobe nvidia"},
    {Return::kTimeout, "TIMEOUT", ErrorCode::kNoAnswer, "the driver did not answer in time", ""},
    {Return::kIrqIssue, "IRQ_ISSUE", ErrorCode::kFailed, "the GPU's interrupts do not work", "see the kernel log"},
    {Return::kLibraryNotFound, "LIBRARY_NOT_FOUND", ErrorCode::kNotFound, "NVML lacks a library of its own",
     "install NVIDIA's driver anew"},
    {Return::kFunctionNotFound, "TOO_OLD", ErrorCode::kFailed, "this version of NVIDIA's driver lacks the function",
     "install a newer NVIDIA driver"},
    {Return::kCorruptedInforom, "CORRUPTED_INFOROM", ErrorCode::kFailed, "the GPU's InfoROM is corrupted", ""},
    {Return::kGpuIsLost, "GPU_IS_LOST", ErrorCode::kFailed, "the GPU has fallen off the bus",
     "see the kernel log for Xid 79, then reset the GPU or reboot"},
    {Return::kResetRequired, "RESET_REQUIRED", ErrorCode::kFailed, "the GPU must be reset first", "reset the GPU"},
    {Return::kOperatingSystem, "OPERATING_SYSTEM", ErrorCode::kFailed, "the operating system keeps NVML from the GPU",
     "check the device cgroup for /dev/nvidia*"},
    {Return::kLibRmVersionMismatch, "LIB_RM_VERSION_MISMATCH", ErrorCode::kFailed,
     "library and kernel driver are of different versions", "reload the nvidia modules or reboot"},
    {Return::kInUse, "IN_USE", ErrorCode::kHeld, "something is using it",
     "end the processes that use the GPU: nvidia-smi, fuser /dev/nvidia*"},
    {Return::kMemory, "MEMORY", ErrorCode::kFailed, "NVML is out of memory", ""},
    {Return::kNoData, "NO_DATA", ErrorCode::kFailed, "the driver has no data", ""},
    {Return::kVgpuEccNotSupported, "VGPU_ECC_NOT_SUPPORTED", ErrorCode::kRefused, "not possible while ECC is on", ""},
    {Return::kInsufficientResources, "INSUFFICIENT_RESOURCES", ErrorCode::kFailed,
     "the GPU has no room for it at this placement", ""},
    {Return::kArgumentVersionMismatch, "ARGUMENT_VERSION_MISMATCH", ErrorCode::kFailed,
     "the driver does not know this version of a structure", ""},
    {Return::kNotReady, "NOT_READY", ErrorCode::kFailed, "the GPU is not ready", "repeat in a moment"},
    {Return::kGpuNotFound, "GPU_NOT_FOUND", ErrorCode::kNotFound, "the driver has no GPU", ""},
    {Return::kInvalidState, "INVALID_STATE", ErrorCode::kFailed, "the GPU is not in a state that allows this", ""},
    {Return::kUnknown, "UNKNOWN", ErrorCode::kFailed, "the driver failed within", "see the kernel log"},
};

Error no_library(const std::string& file, const char* why) {
  Error error;
  error.code = ErrorCode::kNotFound;
  error.reason = "NVML_NOT_FOUND";
  error.tried = "load NVML";
  error.subject = file;
  error.fact = why != nullptr ? why : "the library can't be loaded";
  error.hint = "install NVIDIA's driver, or name its library in SLICEBROKER_NVML";
  return error;
}

// The first function missing without which there is nothing to do, or nullptr.
const char* missing_function(const Functions& nvml) {
  if (!nvml.init.found() && !nvml.init_with_flags.found()) return nvml.init.name();
  const auto missing = [](const auto&... symbols) {
    const char* name = nullptr;
    ((name == nullptr && !symbols.found() ? name = symbols.name() : nullptr), ...);
    return name;
  };
  return missing(nvml.shutdown, nvml.driver_version, nvml.device_count, nvml.device_by_index, nvml.device_by_bus_id,
                 nvml.pci_info, nvml.uuid, nvml.name);
}

}  // namespace

Error refusal(std::string_view function, Return code, std::string subject) {
  const auto number = std::to_string(static_cast<int>(code));
  const auto* meaning = std::ranges::find(kMeanings, code, &Meaning::code);
  const bool known = meaning != std::end(kMeanings);
  Error error;
  error.code = known ? meaning->means : ErrorCode::kFailed;
  error.reason = "NVML_" + (known ? std::string(meaning->name) : number);
  error.tried = function;
  error.subject = std::move(subject);
  error.fact = (known ? std::string(meaning->fact) : "a return value we do not know") + " (NVML " + number + ")";
  if (known) error.hint = meaning->hint;
  return error;
}

Error bad_answer(std::string_view function, std::string subject, std::string fact) {
  Error error;
  error.reason = "NVML_BAD_ANSWER";
  error.tried = function;
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  return error;
}

Result<void> Target::check_count(std::string_view function, unsigned count, unsigned most) const {
  if (count <= most) return {};
  return fail(bad_answer(function, subject, "counts " + std::to_string(count) + ", more than any GPU has"));
}

Result<std::unique_ptr<Library>> Library::open(const std::string& file) {
  // Never closed again: nobody promises that NVML can be unloaded, and opening it anew is then free.
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return fail(no_library(file, ::dlerror()));

  const Functions functions{handle};
  if (const char* missing = missing_function(functions); missing != nullptr) {
    auto error = refusal(missing, Return::kFunctionNotFound, file);
    error.fact = "the library has no " + std::string(missing);
    return fail(std::move(error));
  }
  // A host whose GPUs are all on vfio-pci is a usual one here, so it must not fail; only the flag promises that.
  const bool flags = functions.init_with_flags.found();
  const Return code = flags ? functions.init_with_flags(kInitNoGpus) : functions.init();
  if (code != Return::kSuccess) {
    return fail(refusal(flags ? functions.init_with_flags.name() : functions.init.name(), code, file));
  }
  return std::unique_ptr<Library>(new Library(functions));
}

Library::~Library() {
  functions_.shutdown();
}

}  // namespace slicebroker::vfio::nvidia::nvml
