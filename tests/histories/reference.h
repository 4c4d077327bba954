// SPDX-License-Identifier: Apache-2.0
// What slicebroker should do, in a few dozen lines that know nothing of how: who has which device, what may be asked
// for, and which answers are right.
#pragma once

#include <array>
#include <set>
#include <string>
#include <vector>

namespace slicebroker::histories {

constexpr std::array<const char*, 3> kDevices = {"0000:41:00.4", "0000:41:00.5", "0000:81:00.0"};
constexpr std::array<const char*, 2> kVms = {"vm1", "vm2"};
constexpr unsigned kGpu = 2;  // in kDevices; the others are virtual functions
constexpr int kNobody = -1;

struct Device {
  int holder = kNobody;     // the VM that has a lease on it
  int maybe = kNobody;      // the VM that an operation which was cut may have left it to
  bool lost = false;        // its guest is gone, so the lease ends when somebody looks
  bool void_lease = false;  // of an earlier boot
  bool foreign = false;
  bool quarantined = false;
};

class Reference {
 public:
  std::array<Device, kDevices.size()> devices{};
  std::array<bool, kVms.size()> runs{};

  // "gpu=..." for one, "type=..." for the others.
  std::vector<unsigned> wanted(bool gpu) const { return gpu ? std::vector{kGpu} : std::vector{0U, 1U}; }

  bool is_settled() const {
    for (const auto& device : devices) {
      if (device.maybe != kNobody) return false;
    }
    return true;
  }

  // Exit statuses that `attach` may have, once what is void has ended.
  std::set<int> statuses_of_attach(unsigned vm, bool gpu) const;
  // `detach VM`.
  std::set<int> statuses_of_detach(unsigned vm) const;

  void end_void_leases();
  void reconcile();
  void end_vm(unsigned vm);
  void reboot();
};

}  // namespace slicebroker::histories
