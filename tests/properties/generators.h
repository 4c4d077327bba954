// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rapidcheck.h>

#include "tests/properties/world.h"

namespace slicebroker::properties {

// How rapidcheck prints a counterexample.
void showValue(const WorldDraft& draft, std::ostream& out);

}  // namespace slicebroker::properties

namespace rc {

template <>
struct Arbitrary<slicebroker::properties::WorldDraft> {
  static Gen<slicebroker::properties::WorldDraft> arbitrary();
};

}  // namespace rc
