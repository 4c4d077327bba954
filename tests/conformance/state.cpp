// SPDX-License-Identifier: Apache-2.0
// What each case has to leave as it found it.
#include <array>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

constexpr std::array kDeviceFiles = {
    "driver_override",
    "sriov_numvfs",
    "sriov_drivers_autoprobe",
    "nvidia/current_vgpu_type",
    "nvidia/vgpu_params",
    "lab/mig_mode",
    "lab/gpu_instances",
    "lab/compute_instances",
    "nvidia/creatable_vgpu_types",
    "lab/vgpus",
};

void add(std::string& state, const std::string& path, const std::string& what) {
  state += path + ": " + what + "\n";
}

void add_file(std::string& state, const Host& host, const std::string& path) {
  const Text text = host.read(path);
  if (text.error == 0) add(state, path, text.text);
}

void add_device(std::string& state, const Host& host, const std::string& path) {
  add(state, path, host.link(path + "/driver"));
  for (const char* file : kDeviceFiles) add_file(state, host, path + "/" + file);
  for (const std::string& type : host.list(path + "/mdev_supported_types")) {
    add_file(state, host, path + "/mdev_supported_types/" + type + "/available_instances");
  }
  add(state, path + "/vfio-dev", std::to_string(host.list(path + "/vfio-dev").size()));
}

}  // namespace

std::string state_of(const Host& host) {
  std::string state;
  for (const std::string& address : host.list("sys/bus/pci/devices")) add_device(state, host, device_path(address));
  for (const std::string& uuid : host.list("sys/bus/mdev/devices")) add(state, "mdev", uuid);
  // A group that went and came again may have another number.
  add(state, "dev/vfio", std::to_string(host.list("dev/vfio").size()));
  for (const std::string& gpu : host.list("proc/driver/nvidia/gpus")) {
    add_file(state, host, "proc/driver/nvidia/gpus/" + gpu + "/unbindLock");
  }
  return state;
}

}  // namespace slicebroker::conformance
