// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "vfio/host/host_root.h"
#include "vfio/host/watch.h"

namespace slicebroker::vfio {

// The host as steps and inventories see it.
struct Host {
  HostRoot root;
  std::string nvml_library = "libnvidia-ml.so.1";
  std::chrono::milliseconds deadline{
      20'000};                                // how long one write to the kernel may take, or one piece of work in NVML
  std::chrono::milliseconds patience{2'000};  // the same for one read of a file
  const Watch* watch = nullptr;               // in a child that is watched: where it says what it does
};

}  // namespace slicebroker::vfio
