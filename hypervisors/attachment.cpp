// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/attachment.h"

#include <array>
#include <utility>

namespace slicebroker::hypervisors {
namespace {

constexpr std::array<std::pair<Surface, std::string_view>, 4> kSurfaceNames{{
    {Surface::kVendorVf, "vendor-vf"},
    {Surface::kMdev, "mdev"},
    {Surface::kVf, "vf"},
    {Surface::kGpu, "gpu"},
}};

}  // namespace

std::string_view name(Surface surface) {
  for (const auto& [known, text] : kSurfaceNames) {
    if (known == surface) return text;
  }
  return "unknown";
}

std::optional<Surface> parse_surface(std::string_view text) {
  for (const auto& [surface, known] : kSurfaceNames) {
    if (known == text) return surface;
  }
  return std::nullopt;
}

}  // namespace slicebroker::hypervisors
