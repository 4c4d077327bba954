// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/vgpu_name.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vfio/base/text.h"

namespace slicebroker::vfio::nvidia {
namespace {

constexpr std::size_t kLongest = 80;  // NVML's buffer for a name is 64
constexpr std::uint32_t kMostSlices = 8;
constexpr std::uint32_t kMostGb = 4096;

// Attribute of a MIG-backed type, and what it is in the profile's name.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kAttributes{
    {{"ME", "+me"}, {"NOME", "-me"}, {"MEALL", "+me.all"}, {"GFX", "+gfx"}}};

constexpr std::array<std::string_view, 2> kPrefixes{"NVIDIA ", "GRID "};

// A number as NVIDIA writes it: no leading zero.
std::optional<std::uint32_t> plain_number(std::string_view text, std::uint32_t most) {
  const auto number = parse_number<std::uint32_t>(text);
  if (!number || *number > most || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return number;
}

// "10CME", "8Q", "1B4": the last part of a name.
bool parse_tail(std::string_view tail, VgpuName& name) {
  const auto letter = tail.find_first_not_of("0123456789");
  if (letter == std::string_view::npos || std::string_view("QABC").find(tail[letter]) == std::string_view::npos) {
    return false;
  }
  const auto gigabytes = plain_number(tail.substr(0, letter), kMostGb);
  if (!gigabytes) return false;
  name.framebuffer_gb = *gigabytes;
  name.series = tail[letter];
  name.attribute = tail.substr(letter + 1);
  return true;
}

bool is_attribute(const VgpuName& name) {
  if (name.attribute.empty()) return true;
  if (!name.slices) return name.series == 'B' && name.attribute == "4";
  return std::any_of(kAttributes.begin(), kAttributes.end(), [&](const auto& a) { return a.first == name.attribute; });
}

bool is_board(std::string_view text) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
  const bool prefixed = std::any_of(kPrefixes.begin(), kPrefixes.end(),
                                    [&](std::string_view prefix) { return text.starts_with(prefix); });
  return !text.empty() && printable && !prefixed && trim(text) == text;
}

}  // namespace

std::uint64_t VgpuName::framebuffer_mib() const {
  return framebuffer_gb == 0 ? 512 : std::uint64_t{framebuffer_gb} * 1024;
}

std::optional<VgpuName> parse_vgpu_name(std::string_view text) {
  if (text.size() > kLongest) return std::nullopt;
  for (const auto prefix : kPrefixes) {
    if (text.starts_with(prefix)) {
      text.remove_prefix(prefix.size());
      break;
    }
  }
  VgpuName name;
  const auto dash = text.rfind('-');
  if (dash == std::string_view::npos || !parse_tail(text.substr(dash + 1), name)) return std::nullopt;
  auto board = text.substr(0, dash);
  if (const auto before = board.rfind('-'); before != std::string_view::npos) {
    name.slices = plain_number(board.substr(before + 1), kMostSlices);
    if (name.slices == 0U) return std::nullopt;
    if (name.slices) board = board.substr(0, before);
  }
  if (!is_board(board) || !is_attribute(name)) return std::nullopt;
  name.board = board;
  return name;
}

std::string to_string(const VgpuName& name) {
  return name.board + "-" + (name.slices ? std::to_string(*name.slices) + "-" : "") +
         std::to_string(name.framebuffer_gb) + name.series + name.attribute;
}

std::optional<std::string> mig_profile_of(const VgpuName& name) {
  if (!name.slices) return std::nullopt;
  std::string profile = std::to_string(*name.slices) + "g." + std::to_string(name.framebuffer_gb) + "gb";
  for (const auto& [attribute, suffix] : kAttributes) {
    if (name.attribute == attribute) return profile.append(suffix);
  }
  return name.series == 'C' ? profile : profile + "+gfx";
}

}  // namespace slicebroker::vfio::nvidia
