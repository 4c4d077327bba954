// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"
#include "vfio/nvidia/vendor_vf.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto types = vfio::nvidia::parse_creatable_types(fuzz::text_of(data, size));
  std::string table = "ID    : vGPU Name\n";
  for (const auto& type : types) {
    fuzz::require(!type.name.empty(), "a type has a name");
    table += std::to_string(type.id) + "  : " + type.name + "\n";
  }
  fuzz::require(vfio::nvidia::parse_creatable_types(table) == types, "the types written as a table are the same types");
  return 0;
}
