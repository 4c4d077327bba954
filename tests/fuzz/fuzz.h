// SPDX-License-Identifier: Apache-2.0
// For fuzz targets: what must hold of every input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "vfio/base/error.h"

namespace slicebroker::fuzz {

// Ends the run with the input saved where `holds` is false.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", property);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A refusal that a reader can do something with.
inline void require_told(const Error& error, ErrorCode code, std::string_view reason) {
  require(error.code == code && error.reason == reason, "an error has the code and reason that are documented");
  require(!error.tried.empty() && !error.fact.empty(), "an error says what was tried and what was seen");
}

}  // namespace slicebroker::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
