// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"
#include "vfio/nvidia/vgpu_name.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto name = vfio::nvidia::parse_vgpu_name(fuzz::text_of(data, size));
  if (!name) return 0;
  fuzz::require(vfio::nvidia::parse_vgpu_name(to_string(*name)) == name, "a name written anew is the same");
  fuzz::require(name->framebuffer_mib() > 0, "a type has memory");
  fuzz::require(vfio::nvidia::mig_profile_of(*name).has_value() == name->slices.has_value(),
                "MIG-backed types have a profile, and no other");
  return 0;
}
