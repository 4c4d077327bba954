// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace slicebroker::broker {

// Rows in columns two blanks apart, the last one as long as it is.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& indent = "");

// Rows that differ in this column only, as one row where the first of them stood: "0000:41:00.4 and 15 more".
std::vector<std::vector<std::string>> folded(const std::vector<std::vector<std::string>>& rows, std::size_t column);

}  // namespace slicebroker::broker
