// SPDX-License-Identifier: Apache-2.0
#include "vfio/base/pci_address.h"

#include <array>
#include <cstdio>

#include "vfio/base/text.h"

namespace slicebroker {
namespace {

// `text` with libvirt's node device spelling turned into the kernel's, or nullopt where it is malformed.
std::optional<std::string> kernel_spelling(std::string_view text) {
  constexpr std::string_view kNodedev = "pci_";
  if (!text.starts_with(kNodedev)) return std::string(text);
  const auto parts = split(text.substr(kNodedev.size()), '_');
  if (parts.size() != 4) return std::nullopt;
  std::string spelled(parts[0]);
  spelled.append(":").append(parts[1]).append(":").append(parts[2]).append(".").append(parts[3]);
  return spelled;
}

template <class T>
std::optional<T> field(std::string_view text, std::size_t least, std::size_t most) {
  if (text.size() < least || text.size() > most) return std::nullopt;
  return parse_number<T>(text, 16);
}

}  // namespace

std::optional<PciAddress> PciAddress::parse(std::string_view text) {
  const auto spelled = kernel_spelling(text);
  if (!spelled) return std::nullopt;
  const auto dot = spelled->rfind('.');
  if (dot == std::string::npos) return std::nullopt;
  auto parts = split(std::string_view(*spelled).substr(0, dot), ':');
  if (parts.size() == 2) parts.insert(parts.begin(), "0000");
  if (parts.size() != 3) return std::nullopt;

  const auto domain = field<std::uint32_t>(parts[0], 4, 8);
  const auto bus = field<std::uint8_t>(parts[1], 2, 2);
  const auto device = field<std::uint8_t>(parts[2], 2, 2);
  const auto function = field<std::uint8_t>(std::string_view(*spelled).substr(dot + 1), 1, 1);
  if (!domain || !bus || !device || !function || *device > 31 || *function > 7) return std::nullopt;
  return PciAddress{*domain, *bus, *device, *function};
}

std::string PciAddress::to_string() const {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%04x:%02x:%02x.%x", domain, bus, device, function);
  return text.data();
}

}  // namespace slicebroker
