// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/modalias.h"

#include <algorithm>
#include <cstdio>

#include "vfio/base/text.h"

namespace slicebroker::vfio {
namespace {

// Takes `key` and a number of exactly `digits` off the front.
template <class T>
std::optional<T> take(std::string_view& text, std::string_view key, std::size_t digits) {
  if (!text.starts_with(key) || text.size() < key.size() + digits) return std::nullopt;
  const auto number = text.substr(key.size(), digits);
  text.remove_prefix(key.size() + digits);
  return parse_number<T>(number, 16);
}

}  // namespace

std::optional<PciIdentity> parse_modalias(std::string_view text) {
  constexpr std::size_t kId = 8;
  constexpr std::size_t kByte = 2;
  const auto vendor = take<std::uint16_t>(text, "pci:v", kId);
  const auto device = take<std::uint16_t>(text, "d", kId);
  const auto subsystem_vendor = take<std::uint16_t>(text, "sv", kId);
  const auto subsystem_device = take<std::uint16_t>(text, "sd", kId);
  const auto base = take<std::uint32_t>(text, "bc", kByte);
  const auto subclass = take<std::uint32_t>(text, "sc", kByte);
  const auto interface = take<std::uint32_t>(text, "i", kByte);
  if (!vendor || !device || !subsystem_vendor || !subsystem_device || !base || !subclass || !interface) return {};
  if (!text.empty()) return {};
  return PciIdentity{*vendor, *device, *subsystem_vendor, *subsystem_device, *base << 16 | *subclass << 8 | *interface};
}

std::string to_modalias(const PciIdentity& identity) {
  char text[64];
  std::snprintf(text, sizeof text, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", unsigned{identity.vendor},
                unsigned{identity.device}, unsigned{identity.subsystem_vendor}, unsigned{identity.subsystem_device},
                identity.class_code >> 16 & 0xff, identity.class_code >> 8 & 0xff, identity.class_code & 0xff);
  return text;
}

}  // namespace slicebroker::vfio
