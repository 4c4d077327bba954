// SPDX-License-Identifier: Apache-2.0
#include "vfio/mdev/description.h"

#include "vfio/base/text.h"

namespace slicebroker::vfio {
namespace {

// The value of a key in parts of "KEY<assign>VALUE"; nullopt where no part has it.
std::optional<std::string_view> find_value(std::string_view text, char separator, char assign, std::string_view key) {
  for (const auto part : split(text, separator)) {
    const auto at = part.find(assign);
    if (at != std::string_view::npos && trim(part.substr(0, at)) == key) return trim(part.substr(at + 1));
  }
  return std::nullopt;
}

// MiB of "1024M" or "128MB". 32 bits: the sum of two stays in range.
std::optional<std::uint32_t> parse_mib(std::optional<std::string_view> text, std::string_view unit) {
  if (!text || !text->ends_with(unit)) return std::nullopt;
  return parse_number<std::uint32_t>(text->substr(0, text->size() - unit.size()));
}

}  // namespace

MdevDescription parse_mdev_description(std::string_view text) {
  MdevDescription description;
  if (const auto framebuffer = parse_mib(find_value(text, ',', '=', "framebuffer"), "M")) {
    description.framebuffer_mib = *framebuffer;
  }
  if (const auto most = find_value(text, ',', '=', "max_instance")) {
    description.max_instances = parse_number<std::uint32_t>(*most);
  }
  const auto low = parse_mib(find_value(text, '\n', ':', "low_gm_size"), "MB");
  const auto high = parse_mib(find_value(text, '\n', ':', "high_gm_size"), "MB");
  if (low && high) description.framebuffer_mib = std::uint64_t{*low} + *high;
  return description;
}

}  // namespace slicebroker::vfio
