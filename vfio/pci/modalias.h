// SPDX-License-Identifier: Apache-2.0
// The one attribute that tells what a PCI function is. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slicebroker::vfio {

struct PciIdentity {
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem_device = 0;
  std::uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface
  bool operator==(const PciIdentity&) const = default;
};

// "pci:v000010DEd000020B5sv000010DEsd00001533bc03sc02i00" (Linux drivers/pci/pci-sysfs.c, modalias_show); nullopt for
// anything else.
std::optional<PciIdentity> parse_modalias(std::string_view text);

// As the kernel writes it.
std::string to_modalias(const PciIdentity& identity);

}  // namespace slicebroker::vfio
