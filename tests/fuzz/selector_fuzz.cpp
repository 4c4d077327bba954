// SPDX-License-Identifier: Apache-2.0
#include "broker/request/selector.h"

#include "tests/fuzz/fuzz.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto selector = broker::parse_selector(fuzz::text_of(data, size));
  if (!selector) {
    fuzz::require_told(selector.error(), ErrorCode::kUsage, "BAD_SELECTOR");
    return 0;
  }
  const auto text = to_string(*selector);
  const auto again = broker::parse_selector(text);
  fuzz::require(again.has_value(), "the canonical text is a selector");
  fuzz::require(*again == *selector, "the canonical text is the same selector");
  fuzz::require(to_string(*again) == text, "the canonical text stays as it is");
  return 0;
}
