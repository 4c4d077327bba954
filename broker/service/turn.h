// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "vfio/base/unique_fd.h"

namespace slicebroker::broker {

// One broker at a time looks and begins. It keeps nothing right that the ledger does not: a look is void as soon as
// another lease begins, so a crowd that looks together looks again and again, each time for one lease.
class Turn {
 public:
  // Waits behind the others that have the same state directory; not for one that keeps its turn longer than
  // `patience`, since what it looks at may be silent. Ends with the object, or the process.
  static Turn wait(const std::string& state_directory, std::chrono::milliseconds patience);

 private:
  explicit Turn(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace slicebroker::broker
