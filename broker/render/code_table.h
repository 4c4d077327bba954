// SPDX-License-Identifier: Apache-2.0
// Every code that a failure or a candidate may carry, in one table: the resolver's reasons, the compatibility table's,
// and those of the errors of steps, hypervisors, ledger and command line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/resolver/reason.h"
#include "vfio/base/error.h"
#include "vfio/base/result.h"

namespace slicebroker::broker {

// Whether the whole GPU may stand in for a slice whose candidates say so.
enum class MayFallBack { kNo, kYes };

struct CodeEntry {
  std::string code;  // "GROUP_NOT_VIABLE"; "NVML_*" stands for every code that begins so
  std::string said_of;
  std::string meaning;
  std::string remedy;                // empty: the failure's own hint says it
  std::optional<ErrorCode> failure;  // decides the exit status; nullopt: it varies
  MayFallBack fallback = MayFallBack::kNo;
};

// By what they are said of, then in the order of their tables.
std::vector<CodeEntry> list_codes();

// The entry of a code as a failure shows it ("NVML_IN_USE" finds NVML_*), in any case.
// Errors: kNotFound with a near miss.
Result<CodeEntry> find_code(std::string_view code);

}  // namespace slicebroker::broker
