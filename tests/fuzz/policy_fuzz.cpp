// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy_file.h"
#include "broker/render/render.h"
#include "tests/fuzz/fuzz.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto policy = broker::parse_policy(fuzz::text_of(data, size), "fuzz.toml");
  if (!policy) {
    fuzz::require_told(policy.error(), ErrorCode::kUsage, "BAD_POLICY");
    return 0;
  }
  const auto shown = broker::render_policy(*policy, "fuzz.toml", broker::Format::kTable);
  const auto again = broker::parse_policy(shown, "fuzz.toml");
  fuzz::require(again.has_value(), "what is shown is a policy");
  fuzz::require(*again == *policy, "what is shown is the same policy");
  return 0;
}
