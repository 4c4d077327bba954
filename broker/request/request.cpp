// SPDX-License-Identifier: Apache-2.0
#include "broker/request/request.h"

namespace slicebroker::broker {

std::optional<Fallback> parse_fallback(std::string_view text) {
  if (text == "none") return Fallback::kNone;
  if (text == "gpu") return Fallback::kGpu;
  return std::nullopt;
}

std::optional<Isolation> parse_isolation(std::string_view text) {
  for (const auto isolation : {Isolation::kAny, Isolation::kTimeSliced, Isolation::kHardware}) {
    if (name(isolation) == text) return isolation;
  }
  return std::nullopt;
}

std::string_view name(Isolation isolation) {
  switch (isolation) {
    case Isolation::kAny: return "any";
    case Isolation::kTimeSliced: return "time-sliced";
    case Isolation::kHardware: return "hardware";
  }
  return "any";
}

}  // namespace slicebroker::broker
