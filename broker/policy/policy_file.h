// SPDX-License-Identifier: Apache-2.0
// The policy as its operator writes it, in TOML (docs/slicebroker-policy.5). The only place that knows the format.
#pragma once

#include <string>
#include <string_view>

#include "broker/policy/policy.h"
#include "vfio/base/result.h"

namespace slicebroker::broker {

inline constexpr const char* kDefaultPolicyFile = "/etc/slicebroker/policy.toml";

// The policy that `text` spells. Nothing is half-applied: one thing wrong and there is no policy.
// Errors: kUsage, reason BAD_POLICY; each cause is one thing wrong, its subject FILE:LINE:COLUMN, `file` is used for
// that only. All of them are told at once, but a syntax error ends the reading.
Result<Policy> parse_policy(std::string_view text, const std::string& file);

// Reads a file. Errors: as parse_policy(); kUsage with errno's name where it can't be read.
Result<Policy> read_policy(const std::string& file);

// The same, but the default policy where there is no such file.
Result<Policy> find_policy(const std::string& file);

}  // namespace slicebroker::broker
