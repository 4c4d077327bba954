// SPDX-License-Identifier: Apache-2.0
// GPUs for which a VFIO driver other than vfio-pci is made.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using vfio::Inventory;

constexpr const char* kGraceDriver = "nvgrace_gpu_vfio_pci";

template <class Change>
Inventory with(Inventory host, Change change) {
  change(host);
  return host;
}

}  // namespace

Inventory grace_hopper() {
  return with(plain_gpu(), [](Inventory& host) {
    function_at(host, kGpu).device = 0x2342;
    host.vfio_variants = {{kGpu, kGraceDriver, true}};
  });
}

std::vector<ResolverCase> variant_cases() {
  const auto gpu = request("gpu=41:00.0");
  const std::vector<std::string> granted{"gpu 0000:41:00.0 granted"};
  const std::vector<std::string> not_loaded{"gpu 0000:41:00.0 VFIO_DRIVER_NOT_LOADED"};
  const auto unload = [](Inventory& host) { host.vfio_variants[0].loaded = false; };
  const auto on = [](const char* driver) {
    return [driver](Inventory& host) {
      function_at(host, kGpu).driver = driver;
      function_at(host, kGpu).vfio_devices = {"vfio0"};
    };
  };
  return {
      {"GH200", grace_hopper(), {}, gpu, granted},
      {"GH200 whose driver is not loaded", with(grace_hopper(), unload), {}, gpu, not_loaded},
      {"GH200 does without vfio-pci",
       with(grace_hopper(), [](Inventory& host) { host.vfio_pci_loaded = false; }),
       {},
       gpu,
       granted},
      {"GH200 on vfio-pci, which can't stand in",
       with(with(grace_hopper(), on("vfio-pci")), unload),
       {},
       gpu,
       not_loaded},
      {"GH200 on its driver, which then need not be looked for",
       with(with(grace_hopper(), on(kGraceDriver)), unload),
       {},
       gpu,
       granted},
      {"companion of a GH200 needs vfio-pci",
       with(grace_hopper(),
            [](Inventory& host) {
              host.vfio_pci_loaded = false;
              add(host, pci(kAudio, {.class_code = 0x040300, .driver = {}, .iommu_group = 13}));
            }),
       {},
       gpu,
       {"gpu 0000:41:00.0 VFIO_PCI_NOT_LOADED"}},
  };
}

}  // namespace slicebroker::test
