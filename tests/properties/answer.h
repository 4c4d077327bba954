// SPDX-License-Identifier: Apache-2.0
// What the resolver's properties share. RC_ASSERT of || or && needs parentheses of its own: without them both sides are
// evaluated.
#pragma once

#include <rapidcheck/gtest.h>

#include "tests/properties/generators.h"

namespace slicebroker::properties {

inline Result<broker::Resolution> resolve(const World& world) {
  return broker::resolve(world.host, world.holds, world.request(), world.policy);
}

// Calls check(candidate) for every accepted one, with the answer in the log of a failure.
template <class Check>
void for_accepted(const World& world, const Check& check) {
  const auto resolution = resolve(world);
  RC_TAG(resolution && resolution->granted() != nullptr ? "granted"
         : resolution                                   ? "refused " + resolution->candidates.front().code
                                                        : "error " + std::string(name(resolution.error().code)));
  if (!resolution) return;
  for (const auto& candidate : resolution->candidates) {
    if (!candidate.accepted()) continue;
    RC_LOG(to_text(candidate));
    check(candidate);
  }
}

}  // namespace slicebroker::properties
