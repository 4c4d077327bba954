// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy_file.h"

#include "broker/render/render.h"
#include "tests/fuzz/fuzz.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr const char* kFile = "policy.toml";
  const auto policy = broker::parse_policy(fuzz::text_of(data, size), kFile);
  if (policy) {
    const auto again = broker::parse_policy(broker::render_policy(*policy, kFile, broker::Format::kTable), kFile);
    fuzz::require(again && *again == *policy, "a policy shown and read again is the same");
    return 0;
  }
  fuzz::require(policy.error().code == ErrorCode::kUsage && policy.error().reason == "BAD_POLICY",
                "an error has the code and reason that are documented");
  fuzz::require(!policy.error().causes.empty(), "an error says what is wrong");
  for (const auto& cause : policy.error().causes) {
    fuzz::require(cause.subject.starts_with(kFile) && !cause.fact.empty(), "each thing wrong says where it is");
  }
  return 0;
}
