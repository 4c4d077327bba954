// SPDX-License-Identifier: Apache-2.0
// Hosts without NVML: what the names of vGPU types tell, and what they can't.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Isolation;
using broker::Request;
using vfio::Inventory;

Inventory without_nvml(Inventory host) {
  host.nvidia = std::nullopt;
  host.nvml_error = gpu_without_nvml().nvml_error;
  return host;
}

template <class Change>
Inventory with(Inventory host, Change change) {
  change(host);
  return host;
}

Request hardware(const std::string& selector) {
  auto made = request(selector);
  made.isolation = Isolation::kHardware;
  return made;
}

void name_type(Inventory& host, const std::string& id, const std::string& name) {
  for (auto& type : host.mdev_types) {
    if (type.id == id) type.name = name;
  }
}

}  // namespace

std::vector<ResolverCase> by_name_cases() {
  const std::vector<std::string> mdev{"mdev 0000:41:00.4 granted", "mdev 0000:41:00.5 possible"};
  const std::vector<std::string> vendor{"vendor-vf 0000:41:00.4 granted", "vendor-vf 0000:41:00.5 possible"};
  const std::vector<std::string> too_low{"mdev 0000:41:00.4 ISOLATION_TOO_LOW", "mdev 0000:41:00.5 ISOLATION_TOO_LOW"};
  const auto mdevs = without_nvml(mdev_host());
  const auto vendors = without_nvml(vendor_host());
  return {
      {"type by number, no NVML", vendors, {}, request("type=nvidia-699"), vendor},
      {"type by name, no NVML", mdevs, {}, request("type=A100D-1-10C"), mdev},
      {"MIG-backed by its name where hardware is demanded", mdevs, {}, hardware("type=nvidia-699"), mdev},
      {"time-sliced by its name where hardware is demanded", mdevs, {}, hardware("type=nvidia-468"), too_low},
      {"name that tells nothing where hardware is demanded",
       with(mdevs, [](Inventory& host) { name_type(host, "nvidia-699", "nvidia-699"); }),
       {},
       hardware("type=nvidia-699"),
       too_low},
      {"name that tells nothing where anything will do",
       with(mdevs, [](Inventory& host) { name_type(host, "nvidia-699", "nvidia-699"); }),
       {},
       request("type=nvidia-699"),
       mdev},
      {"NVML against the name: time-sliced",
       with(mdev_host(),
            [](Inventory& host) {
              for (auto& type : host.nvidia->gpus[0].vgpu_types) type.gpu_instance_profile_id = std::nullopt;
            }),
       {},
       hardware("type=nvidia-699"),
       too_low},
      {"NVML against the name: MIG-backed",
       with(mdev_host(),
            [](Inventory& host) {
              for (auto& type : host.nvidia->gpus[0].vgpu_types) {
                if (type.id == 468) type.gpu_instance_profile_id = 19;
              }
            }),
       {},
       hardware("type=nvidia-468"),
       mdev},
      {"profile, no NVML", vendors, {}, request("profile=3g.40gb"), vendor},
      {"profile with media engines, no NVML",
       with(mdevs, [](Inventory& host) { name_type(host, "nvidia-699", "NVIDIA A100D-1-10CME"); }),
       {},
       request("profile=1g.10gb+me"),
       mdev},
      {"profile whose types have run out, no NVML",
       with(mdevs, [](Inventory& host) { set_available(host, "nvidia-699", 0); }),
       {},
       request("profile=1g.10gb"),
       {"mdev 0000:41:00.4 NO_CAPACITY", "mdev 0000:41:00.5 NO_CAPACITY"}},
  };
}

}  // namespace slicebroker::test
