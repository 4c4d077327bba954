// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "tests/fuzz/fuzz.h"
#include "vfio/mdev/description.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto description = vfio::parse_mdev_description(fuzz::text_of(data, size));
  const auto framebuffer = description.framebuffer_mib.value_or(0);
  constexpr std::uint64_t kMostOfOne = std::numeric_limits<std::uint32_t>::max();
  fuzz::require(framebuffer <= 2 * kMostOfOne, "memory does not overflow");
  if (framebuffer > kMostOfOne) return 0;  // two of Intel's sizes, which no single one can say
  std::string text = "num_heads=1";
  if (description.framebuffer_mib) text += ", framebuffer=" + std::to_string(framebuffer) + "M";
  if (description.max_instances) text += ", max_instance=" + std::to_string(*description.max_instances);
  fuzz::require(vfio::parse_mdev_description(text) == description, "written anew it says the same");
  return 0;
}
