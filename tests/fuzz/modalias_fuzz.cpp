// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"
#include "vfio/pci/modalias.h"
#include "vfio/pci/vfio_variant.h"

using namespace slicebroker;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (const auto identity = vfio::parse_modalias(text)) {
    fuzz::require(vfio::parse_modalias(vfio::to_modalias(*identity)) == identity,
                  "a modalias written anew is the same");
  }
  std::string list;
  const auto aliases = vfio::parse_vfio_aliases(text);
  for (const auto& alias : aliases) list += "alias " + alias.pattern + " " + alias.module + "\n";
  const auto again = vfio::parse_vfio_aliases(list);
  fuzz::require(again.size() == aliases.size(), "a list written anew is as long");
  for (std::size_t i = 0; i < again.size(); ++i) {
    fuzz::require(again[i].pattern == aliases[i].pattern && again[i].module == aliases[i].module,
                  "a list written anew is the same");
  }
  return 0;
}
