// SPDX-License-Identifier: Apache-2.0
// A value or an Error; never ignored. tl::expected stands in for std::expected, which GCC 12 in C++20 mode and
// clang 14 do not have.
#pragma once

#include <utility>

#include <tl/expected.hpp>

#include "vfio/base/error.h"

namespace slicebroker {

template <class T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace slicebroker

#define SLICEBROKER_CONCAT_(a, b) a##b
#define SLICEBROKER_CONCAT(a, b) SLICEBROKER_CONCAT_(a, b)
#define SLICEBROKER_TRY_(declaration, expression, temporary)                \
  auto temporary = (expression);                                            \
  if (!temporary) return ::slicebroker::fail(std::move(temporary).error()); \
  declaration = *std::move(temporary)

// SLICEBROKER_TRY(auto value, f()): declares value from f()'s Result, or returns its Error.
#define SLICEBROKER_TRY(declaration, expression) \
  SLICEBROKER_TRY_(declaration, expression, SLICEBROKER_CONCAT(try_result_, __LINE__))

// SLICEBROKER_CHECK(f()): returns f()'s Error if it has one.
#define SLICEBROKER_CHECK(expression)                                                                                 \
  do {                                                                                                                \
    if (auto check_result = (expression); !check_result) return ::slicebroker::fail(std::move(check_result).error()); \
  } while (false)
