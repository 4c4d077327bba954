// SPDX-License-Identifier: Apache-2.0
// Devices that may not be leased until somebody has looked at them. A quarantine never expires and survives reboots.
#pragma once

#include <cstdint>
#include <string>

#include "broker/resolver/resolver.h"

namespace slicebroker::broker {

struct Quarantine {
  LeasedDevice device;  // what may not be leased; gpu is 0000:00:00.0 where the host does not tell it
  std::string code;     // "OPERATOR", or the reason of the failure: "WEDGED"
  std::string detail;   // in words; may be empty
  std::string since;    // UTC, ISO 8601
  std::string by;       // "uid 0"; "slicebroker" for its own
  // Of the lease whose work was silent: the quarantine ends with that lease if the host is restored then. 0: by hand.
  std::int64_t generation = 0;
};

// The same as the resolver takes it.
Hold hold_of(const Quarantine& quarantine);

}  // namespace slicebroker::broker
