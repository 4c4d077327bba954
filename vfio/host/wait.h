// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <thread>

namespace slicebroker::vfio {

// Looks again after each pause until `is_so` or the deadline; whether it became so. The first look is at once.
template <class Predicate>
bool wait_until(std::chrono::milliseconds deadline, const Predicate& is_so,
                std::chrono::milliseconds pause = std::chrono::milliseconds(5)) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

}  // namespace slicebroker::vfio
