// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "vfio/host/host_root.h"

namespace slicebroker::vfio {

// The host as steps and inventories see it.
struct Host {
  HostRoot root;
  std::string nvml_library = "libnvidia-ml.so.1";
  std::chrono::milliseconds deadline{20'000};  // how long one write to the kernel may take
};

}  // namespace slicebroker::vfio
