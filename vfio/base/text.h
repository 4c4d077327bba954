// SPDX-License-Identifier: Apache-2.0
// Strict text-to-number helpers: the whole text must be the number, in range, without sign or blanks.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker {

inline std::optional<std::uint8_t> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

template <std::unsigned_integral T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
  T value{};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

// "0x1a" or "1a" as sysfs prints hexadecimal attributes.
template <std::unsigned_integral T>
std::optional<T> parse_hex(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  return parse_number<T>(text, 16);
}

// Without leading and trailing blanks, tabs and newlines.
std::string_view trim(std::string_view text);

// The parts between separators; empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);

std::string lower(std::string_view text);

// The parts with `separator` between them.
std::string join(const std::vector<std::string>& parts, std::string_view separator);

}  // namespace slicebroker
