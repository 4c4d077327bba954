// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "vfio/base/error.h"

namespace slicebroker::broker {

// The failure in it, causes included, that names the processes which hold a device; nullptr where there is none.
const Error* find_holder(const Error& error);

// Says once who is waited for, when that has taken a second.
class Announcement {
 public:
  explicit Announcement(const std::function<void(const std::string&)>& say) : say_(say) {}

  void still_held(const Error& error);

 private:
  const std::function<void(const std::string&)>& say_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool said_ = false;
};

}  // namespace slicebroker::broker
