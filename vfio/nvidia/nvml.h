// SPDX-License-Identifier: Apache-2.0
// NVML, loaded by dlopen so that hosts without NVIDIA's driver need nothing.
//
// An open NVML holds every GPU's usage count, and an unbind then never returns (open-gpu-kernel-modules#1119). So an
// Nvml object is opened for one piece of work and closed again before any unbind, rebind or reset.
#pragma once

#include <memory>
#include <string>

#include "vfio/base/result.h"
#include "vfio/host/watch.h"
#include "vfio/nvidia/gpu.h"

namespace slicebroker::vfio::nvidia {

namespace nvml {
class Library;
}

class Nvml {
 public:
  // Loads `library` ("libnvidia-ml.so.1" or a path) and initialises it; a driver without GPUs is no error. Errors:
  // kNotFound no such library (NVML_NOT_FOUND) or no driver (NVML_DRIVER_NOT_LOADED), kFailed a symbol missing
  // (NVML_TOO_OLD) or NVML's own refusal (NVML_<RETURN>).
  // `watch`, where given, is told what NVML is asked for, and whom it avoids is not asked (NVML_SILENT).
  static Result<Nvml> open(const std::string& library, const Watch* watch = nullptr);

  Nvml(Nvml&&) noexcept;
  Nvml& operator=(Nvml&&) noexcept;
  ~Nvml();  // nvmlShutdown; the library itself stays loaded

  // Every GPU on the nvidia driver. Reads only; root sees all, others may get NVML_NO_PERMISSION where MIG is on. A GPU
  // that fails half way, or contradicts itself (NVML_BAD_ANSWER), is left out and named in problems: half a list of
  // instances would look like a free GPU.
  Result<Driver> read_driver() const;

  // Changes of the MIG layout, used by Steps only. Each writes to the GPU and may block in the driver. Every error says
  // what became of the host. Errors: kNotFound no such GPU or instance, kHeld in use (NVML_IN_USE), kRefused not
  // supported (NVML_NOT_SUPPORTED), kHostChanged where a failed change could not be taken back (hint: the command),
  // kFailed otherwise.

  // Makes the mode, kOn or kOff, current. Where the driver could only mark it for the next reset (NVML_IN_USE,
  // NVML_RESET_REQUIRED), the mark is taken back, so that it can't take effect under the GPU's next user.
  Result<void> set_mig_mode(const PciAddress& gpu, MigMode mode) const;

  // Makes a GPU instance at exactly this placement with these compute instances (one with a placement of size 0 goes
  // where the driver puts it); gives the ids and MIG UUIDs that came out. The ids of `wanted` are not looked at. What
  // was made before a failure is destroyed again.
  Result<GpuInstance> create_gpu_instance(const PciAddress& gpu, const GpuInstance& wanted) const;

  // Destroys a GPU instance and its compute instances; where that fails half way, the compute instances are made anew.
  Result<void> destroy_gpu_instance(const PciAddress& gpu, std::uint32_t gpu_instance_id) const;

 private:
  Nvml(std::unique_ptr<nvml::Library> library, const Watch* watch);
  Result<Gpu> read_gpu(unsigned index) const;

  std::unique_ptr<nvml::Library> library_;
  const Watch* watch_;
};

}  // namespace slicebroker::vfio::nvidia
