// SPDX-License-Identifier: Apache-2.0
#include "vfio/base/uuid.h"

#include <sys/random.h>

#include <cassert>
#include <cstdlib>

#include "vfio/base/text.h"

namespace slicebroker {

std::optional<Uuid> Uuid::parse(std::string_view text) {
  constexpr std::size_t kDashed = 36;
  constexpr std::size_t kPlain = 32;
  if (text.size() != kDashed && text.size() != kPlain) return std::nullopt;
  Uuid uuid;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash_place = text.size() == kDashed && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash_place != (text[i] == '-')) return std::nullopt;
    if (dash_place) continue;
    const auto value = hex_digit(text[i]);
    if (!value) return std::nullopt;
    auto& byte = uuid.bytes_[digits / 2];
    byte = static_cast<std::uint8_t>((byte << 4) | *value);
    ++digits;
  }
  return uuid;
}

Uuid Uuid::random() {
  Uuid uuid;
  const auto got = getrandom(uuid.bytes_.data(), uuid.bytes_.size(), 0);
  if (got != static_cast<ssize_t>(uuid.bytes_.size())) std::abort();  // no host runs without its random generator
  uuid.bytes_[6] = static_cast<std::uint8_t>((uuid.bytes_[6] & 0x0f) | 0x40);
  uuid.bytes_[8] = static_cast<std::uint8_t>((uuid.bytes_[8] & 0x3f) | 0x80);
  return uuid;
}

std::string Uuid::to_string() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes_[i] >> 4];
    text += kHex[bytes_[i] & 0x0f];
  }
  return text;
}

}  // namespace slicebroker
