// SPDX-License-Identifier: Apache-2.0
// Which device of the machine plays which part, found by what each one is. Numbers of groups, of vfioN and of virtual
// functions differ with kernel and QEMU, so no case may name one.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "tests/conformance/host.h"

namespace slicebroker::conformance {

enum class Framework { kMdev, kVendor };

struct Roles {
  std::string sriov_gpu;       // MIG, vGPU on its virtual functions
  std::string mig_gpu;         // MIG, no vGPU, alone in its group
  std::string grouped_gpu;     // no MIG; shares its group with the next two
  std::string companion;       // on a host driver
  std::string idle_companion;  // on none
  std::string nic;             // alone in its group, on a host driver
  std::string sriov_plain;     // not a GPU, with virtual functions that the host enables at will
  Framework framework = Framework::kMdev;
  bool simulated = false;
  int kernel_major = 0;
  int kernel_minor = 0;

  bool kernel_at_least(int major, int minor) const {
    return kernel_major > major || (kernel_major == major && kernel_minor >= minor);
  }
};

inline std::string device_path(const std::string& address) {
  return "sys/bus/pci/devices/" + address;
}
inline std::string driver_path(const std::string& driver) {
  return "sys/bus/pci/drivers/" + driver;
}

// Throws std::runtime_error that names the part nobody plays.
Roles find_roles(const Host& host);

// virtfn0, virtfn1, ...: the addresses of a PF's virtual functions.
std::vector<std::string> virtual_functions(const Host& host, const std::string& pf);

}  // namespace slicebroker::conformance
