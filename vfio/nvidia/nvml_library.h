// SPDX-License-Identifier: Apache-2.0
// libnvidia-ml as a table of functions, and its return values as Errors. Used by the nvml_*.cpp files only.
#pragma once

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "vfio/base/result.h"
#include "vfio/nvidia/nvml_abi.h"

namespace slicebroker::vfio::nvidia::nvml {

template <class Signature>
class Symbol;

// One function of the library. One that the library lacks answers kFunctionNotFound, which is also what NVML itself
// answers where the driver below it is the older one.
template <class... Args>
class Symbol<Return(Args...)> {
 public:
  Symbol(void* library, const char* name)
      : name_(name), function_(reinterpret_cast<Return (*)(Args...)>(::dlsym(library, name))) {}

  const char* name() const { return name_; }
  bool found() const { return function_ != nullptr; }
  Return operator()(Args... args) const { return found() ? function_(args...) : Return::kFunctionNotFound; }

 private:
  const char* name_;
  Return (*function_)(Args...);
};

// The functions used, with their names in the library. Signatures: NVIDIA/go-nvml gen/nvml/nvml.h.
struct Functions {
  void* library;

  Symbol<Return()> init{library, "nvmlInit_v2"};
  Symbol<Return(unsigned flags)> init_with_flags{library, "nvmlInitWithFlags"};
  Symbol<Return()> shutdown{library, "nvmlShutdown"};
  Symbol<Return(char*, unsigned)> driver_version{library, "nvmlSystemGetDriverVersion"};

  Symbol<Return(unsigned*)> device_count{library, "nvmlDeviceGetCount_v2"};
  Symbol<Return(unsigned, DeviceHandle*)> device_by_index{library, "nvmlDeviceGetHandleByIndex_v2"};
  Symbol<Return(const char*, DeviceHandle*)> device_by_bus_id{library, "nvmlDeviceGetHandleByPciBusId_v2"};
  Symbol<Return(DeviceHandle, PciInfo*)> pci_info{library, "nvmlDeviceGetPciInfo_v3"};
  Symbol<Return(DeviceHandle, char*, unsigned)> uuid{library, "nvmlDeviceGetUUID"};
  Symbol<Return(DeviceHandle, char*, unsigned)> name{library, "nvmlDeviceGetName"};
  Symbol<Return(DeviceHandle, unsigned*)> minor_number{library, "nvmlDeviceGetMinorNumber"};

  Symbol<Return(DeviceHandle, Memory*)> memory{library, "nvmlDeviceGetMemoryInfo"};

  Symbol<Return(DeviceHandle, unsigned*, unsigned*)> mig_mode{library, "nvmlDeviceGetMigMode"};
  Symbol<Return(DeviceHandle, unsigned, Return*)> set_mig_mode{library, "nvmlDeviceSetMigMode"};
  Symbol<Return(DeviceHandle, unsigned, ProfileInfoV1*)> profile_info{library, "nvmlDeviceGetGpuInstanceProfileInfo"};
  Symbol<Return(DeviceHandle, unsigned, void*)> profile_info_v{library, "nvmlDeviceGetGpuInstanceProfileInfoV"};

  Symbol<Return(DeviceHandle, unsigned, GpuInstanceHandle*, unsigned*)> gpu_instances{library,
                                                                                      "nvmlDeviceGetGpuInstances"};
  Symbol<Return(DeviceHandle, unsigned, GpuInstanceHandle*)> gpu_instance_by_id{library,
                                                                                "nvmlDeviceGetGpuInstanceById"};
  Symbol<Return(GpuInstanceHandle, GpuInstanceInfo*)> gpu_instance_info{library, "nvmlGpuInstanceGetInfo"};
  Symbol<Return(DeviceHandle, unsigned, const InstancePlacement*, GpuInstanceHandle*)> create_gpu_instance{
      library, "nvmlDeviceCreateGpuInstanceWithPlacement"};
  Symbol<Return(GpuInstanceHandle)> destroy_gpu_instance{library, "nvmlGpuInstanceDestroy"};

  Symbol<Return(GpuInstanceHandle, unsigned, unsigned, ComputeProfileInfo*)> compute_profile_info{
      library, "nvmlGpuInstanceGetComputeInstanceProfileInfo"};
  Symbol<Return(GpuInstanceHandle, unsigned, ComputeInstanceHandle*, unsigned*)> compute_instances{
      library, "nvmlGpuInstanceGetComputeInstances"};
  Symbol<Return(ComputeInstanceHandle, ComputeInstanceInfo*)> compute_instance_info{library,
                                                                                    "nvmlComputeInstanceGetInfo_v2"};
  Symbol<Return(GpuInstanceHandle, unsigned, ComputeInstanceHandle*)> create_compute_instance{
      library, "nvmlGpuInstanceCreateComputeInstance"};
  Symbol<Return(GpuInstanceHandle, unsigned, const InstancePlacement*, ComputeInstanceHandle*)>
      create_compute_instance_at{library, "nvmlGpuInstanceCreateComputeInstanceWithPlacement"};
  Symbol<Return(ComputeInstanceHandle)> destroy_compute_instance{library, "nvmlComputeInstanceDestroy"};

  Symbol<Return(DeviceHandle, unsigned*)> max_mig_devices{library, "nvmlDeviceGetMaxMigDeviceCount"};
  Symbol<Return(DeviceHandle, unsigned, DeviceHandle*)> mig_device_by_index{library,
                                                                            "nvmlDeviceGetMigDeviceHandleByIndex"};
  Symbol<Return(DeviceHandle, unsigned*)> mig_gpu_instance_id{library, "nvmlDeviceGetGpuInstanceId"};
  Symbol<Return(DeviceHandle, unsigned*)> mig_compute_instance_id{library, "nvmlDeviceGetComputeInstanceId"};

  Symbol<Return(DeviceHandle, unsigned*, VgpuTypeId*)> supported_vgpus{library, "nvmlDeviceGetSupportedVgpus"};
  Symbol<Return(VgpuTypeId, char*, unsigned*)> vgpu_type_name{library, "nvmlVgpuTypeGetName"};
  Symbol<Return(VgpuTypeId, unsigned*)> vgpu_type_profile{library, "nvmlVgpuTypeGetGpuInstanceProfileId"};
  Symbol<Return(VgpuTypeId, unsigned long long*)> vgpu_type_framebuffer{library, "nvmlVgpuTypeGetFramebufferSize"};
  Symbol<Return(DeviceHandle, unsigned*, VgpuInstanceId*)> active_vgpus{library, "nvmlDeviceGetActiveVgpus"};
  Symbol<Return(VgpuInstanceId, VgpuTypeId*)> vgpu_type{library, "nvmlVgpuInstanceGetType"};
  Symbol<Return(VgpuInstanceId, unsigned*)> vgpu_gpu_instance{library, "nvmlVgpuInstanceGetGpuInstanceId"};
  Symbol<Return(VgpuInstanceId, char*, unsigned)> vgpu_mdev{library, "nvmlVgpuInstanceGetMdevUUID"};
  Symbol<Return(DeviceHandle, HeterogeneousMode*)> heterogeneous_mode{library, "nvmlDeviceGetVgpuHeterogeneousMode"};
};

// The loaded and initialised library; shut down again by the destructor.
class Library {
 public:
  // Errors: see Nvml::open().
  static Result<std::unique_ptr<Library>> open(const std::string& file);

  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library();

  const Functions& functions() const { return functions_; }

 private:
  explicit Library(const Functions& functions) : functions_(functions) {}
  Functions functions_;
};

// What NVML's refusal of `function` means to us: reason NVML_<RETURN>, the code that follows from it, a remedy.
Error refusal(std::string_view function, Return code, std::string subject);

// NVML claimed success but its answer can't be true: NVML_BAD_ANSWER.
Error bad_answer(std::string_view function, std::string subject, std::string fact);

// True where the driver has no such thing to tell about: the information is left empty.
inline bool is_absent(Return code) {
  return code == Return::kNotSupported || code == Return::kFunctionNotFound;
}

// The text in a buffer that the driver filled, whether it terminated it or not.
template <class Buffer>
std::string text_of(const Buffer& buffer) {
  return std::string(std::data(buffer), ::strnlen(std::data(buffer), std::size(buffer)));
}

// What calls are about, named in their errors: one GPU, or without a device the driver as a whole.
struct Target {
  const Functions& nvml;
  DeviceHandle device = nullptr;
  std::string subject;

  // Calls a function whose failure is an error.
  template <class... Params>
  Result<void> call(const Symbol<Return(Params...)>& function, std::type_identity_t<Params>... args) const {
    const Return code = function(args...);
    if (code != Return::kSuccess) return fail(refusal(function.name(), code, subject));
    return {};
  }

  // Refuses a count that no GPU has.
  Result<void> check_count(std::string_view function, unsigned count, unsigned most) const;
};

}  // namespace slicebroker::vfio::nvidia::nvml
