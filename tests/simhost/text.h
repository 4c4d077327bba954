// SPDX-License-Identifier: Apache-2.0
// Words of the control file's lines.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::simhost {

inline std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> result;
  constexpr std::string_view kBlanks = " \t\n";
  for (auto start = line.find_first_not_of(kBlanks); start != std::string_view::npos;) {
    const auto end = std::min(line.find_first_of(kBlanks, start), line.size());
    result.emplace_back(line.substr(start, end - start));
    start = line.find_first_not_of(kBlanks, end);
  }
  return result;
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace slicebroker::simhost
