// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/model/model.h"

namespace slicebroker::model {

struct Exploration {
  std::size_t states = 0;
  std::size_t edges = 0;
  Moves moves;
  std::string violation;           // empty: there is none
  std::vector<std::string> trace;  // the shortest way to it
};

// Visits every state that can be reached, nearest first, until one violates what must hold.
Exploration explore(const Bounds& bounds, const Rules& rules);

}  // namespace slicebroker::model
