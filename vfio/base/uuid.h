// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slicebroker {

// A 128-bit UUID. Printed in lower case with dashes, the only form that sysfs and libvirt share.
class Uuid {
 public:
  // Accepts 8-4-4-4-12 hexadecimal digits in either case, or 32 digits without dashes; anything else is nullopt.
  static std::optional<Uuid> parse(std::string_view text);

  // A fresh random UUID (RFC 4122 version 4) from the kernel's generator.
  static Uuid random();

  std::string to_string() const;

  auto operator<=>(const Uuid&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

}  // namespace slicebroker
