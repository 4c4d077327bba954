// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/roles.h"

#include <cstdio>

namespace slicebroker::conformance {
namespace {

struct Function {
  std::string address;
  std::string driver;
  std::vector<std::string> group;
  bool nvidia_gpu = false;
  bool network = false;
  bool sriov = false;
  bool mig = false;
  bool virtual_function = false;
};

Function look_at(const Host& host, const std::string& address) {
  const std::string path = device_path(address);
  const std::string device_class = host.line(path + "/class");
  Function function;
  function.address = address;
  function.nvidia_gpu = host.line(path + "/vendor") == "0x10de" && device_class.starts_with("0x03");
  function.network = device_class.starts_with("0x02");
  function.sriov = host.exists(path + "/sriov_totalvfs");
  function.mig = !host.line(path + "/lab/profiles").empty();
  function.virtual_function = host.exists(path + "/physfn");
  function.driver = host.link(path + "/driver");
  function.group = host.list(path + "/iommu_group/devices");
  return function;
}

void give(std::string& role, const std::string& address) {
  if (role.empty()) role = address;
}

void assign(const Host& host, Roles& roles, const Function& function) {
  const bool alone = function.group.size() == 1;
  if (function.virtual_function) return;
  if (function.nvidia_gpu && function.sriov && function.mig) give(roles.sriov_gpu, function.address);
  if (function.nvidia_gpu && !function.sriov && function.mig && alone) give(roles.mig_gpu, function.address);
  if (function.network && alone && !function.driver.empty()) give(roles.nic, function.address);
  if (!function.nvidia_gpu && function.sriov) give(roles.sriov_plain, function.address);
  if (function.nvidia_gpu && function.group.size() > 1) {
    give(roles.grouped_gpu, function.address);
    for (const std::string& other : function.group) {
      if (other == function.address) continue;
      const bool driven = !host.link(device_path(other) + "/driver").empty();
      give(driven ? roles.companion : roles.idle_companion, other);
    }
  }
}

void require(const std::string& role, const char* what) {
  if (role.empty()) throw std::runtime_error(std::string("this machine has no ") + what);
}

}  // namespace

std::vector<std::string> virtual_functions(const Host& host, const std::string& pf) {
  std::vector<std::string> found;
  for (int index = 0;; ++index) {
    const std::string vf = host.link(device_path(pf) + "/virtfn" + std::to_string(index));
    if (vf.empty()) return found;
    found.push_back(vf);
  }
}

Roles find_roles(const Host& host) {
  Roles roles;
  for (const std::string& address : host.list("sys/bus/pci/devices")) assign(host, roles, look_at(host, address));
  require(roles.sriov_gpu, "GPU with MIG and SR-IOV");
  require(roles.mig_gpu, "GPU with MIG, without SR-IOV, alone in its IOMMU group");
  require(roles.grouped_gpu, "GPU that shares its IOMMU group");
  require(roles.companion, "companion of that GPU on a host driver");
  require(roles.idle_companion, "companion of that GPU without a driver");
  require(roles.nic, "network card alone in its IOMMU group, on a driver");
  require(roles.sriov_plain, "device with SR-IOV that is no GPU");
  const auto vfs = virtual_functions(host, roles.sriov_gpu);
  require(vfs.size() < 2 ? "" : vfs[1], "two virtual functions of the GPU with SR-IOV");
  const bool vendor = host.exists(device_path(vfs[0]) + "/nvidia/current_vgpu_type");
  roles.framework = vendor ? Framework::kVendor : Framework::kMdev;
  roles.simulated = host.exists(".simhost");
  if (std::sscanf(host.line("proc/sys/kernel/osrelease").c_str(), "%d.%d", &roles.kernel_major, &roles.kernel_minor) !=
      2) {
    throw std::runtime_error("proc/sys/kernel/osrelease has no version");
  }
  return roles;
}

}  // namespace slicebroker::conformance
