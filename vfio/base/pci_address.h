// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slicebroker {

// The address of one PCI function (BDF) within a host or a guest.
struct PciAddress {
  std::uint32_t domain = 0;  // 16 bits on most hosts; VMD and Hyper-V use more
  std::uint8_t bus = 0;
  std::uint8_t device = 0;    // 0..31
  std::uint8_t function = 0;  // 0..7

  // Reads `41:00.0`, `0000:41:00.0`, `00000000:41:00.0` (NVML) and `pci_0000_41_00_0` (libvirt nodedev),
  // hexadecimal in either case. Anything else is nullopt.
  static std::optional<PciAddress> parse(std::string_view text);

  // The kernel's form: `0000:41:00.0`.
  std::string to_string() const;

  auto operator<=>(const PciAddress&) const = default;
};

}  // namespace slicebroker
