// SPDX-License-Identifier: Apache-2.0
// Near misses: what a mistyped name was probably meant to be. Only ever a hint; nothing is taken for something else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::broker {

// "did you mean X?" for the known name that is fewest edits (insert, delete, replace, swap of neighbours; case does not
// count) from what was typed; empty where none is near. Near: one edit for each six characters typed, at least one and
// at most three (of two PCI addresses four edits make any other). Of equally near ones the first. Pure.
std::string did_you_mean(std::string_view typed, const std::vector<std::string>& known);

// The same with the ordinary hint behind it: "did you mean X? HINT".
std::string hint_for(std::string_view typed, const std::vector<std::string>& known, const std::string& hint);

}  // namespace slicebroker::broker
