// SPDX-License-Identifier: Apache-2.0
#include "tests/histories/reference.h"

#include <algorithm>

namespace slicebroker::histories {
namespace {

constexpr int kDone = 0, kNotFound = 3, kHeld = 4, kRefused = 5;

void free_lease(Device& device) {
  device.holder = device.maybe = kNobody;
  device.lost = device.void_lease = false;
}

}  // namespace

std::set<int> Reference::statuses_of_attach(unsigned vm, bool gpu) const {
  if (!runs[vm]) return {kRefused};
  const auto asked = wanted(gpu);
  const auto is_free = [&](unsigned d) {
    return devices[d].holder == kNobody && !devices[d].foreign && !devices[d].quarantined;
  };
  if (std::any_of(asked.begin(), asked.end(), is_free)) return {kDone};
  const auto leased = [&](unsigned d) { return devices[d].holder != kNobody && !devices[d].quarantined; };
  // Without NVML a type that no function offers any more is not known to be one.
  if (!gpu) return {kNotFound, kHeld, kRefused};
  if (std::all_of(asked.begin(), asked.end(), leased)) return {kHeld};
  return {kHeld, kRefused};
}

std::set<int> Reference::statuses_of_detach(unsigned vm) const {
  const auto has = [&](const Device& device) { return device.holder == static_cast<int>(vm); };
  return {std::any_of(devices.begin(), devices.end(), has) ? kDone : kNotFound};
}

void Reference::end_void_leases() {
  for (auto& device : devices) {
    if (device.void_lease) free_lease(device);
  }
}

void Reference::reconcile() {
  for (auto& device : devices) {
    if (device.void_lease || device.lost) free_lease(device);
  }
}

void Reference::end_vm(unsigned vm) {
  runs[vm] = false;
  for (auto& device : devices) {
    if (device.holder == static_cast<int>(vm)) device.lost = true;
  }
}

void Reference::reboot() {
  runs = {};
  for (auto& device : devices) {
    if (device.holder != kNobody) device.void_lease = true;
    device.foreign = false;
  }
}

}  // namespace slicebroker::histories
