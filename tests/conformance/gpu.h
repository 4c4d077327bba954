// SPDX-License-Identifier: Apache-2.0
// What cases do to the GPU with MIG and vGPU. Profiles and types are those of its board (an A100 80GB), the only one
// with both.
#pragma once

#include <string>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {

inline const std::string kUuid = "6f1c0000-0000-4000-8000-00000000000a";
inline const std::string kOtherUuid = "6f1c0000-0000-4000-8000-00000000000b";

inline std::string gpu_file(const Run& run, const std::string& name) {
  return device_path(run.roles.sriov_gpu) + "/" + name;
}

// The address of a virtual function of the GPU.
inline std::string vf(const Run& run, int index) {
  return run.host.link(gpu_file(run, "virtfn" + std::to_string(index)));
}

// Two slices of seven: profile 14. At place 0, 2 or 4 it is GPU instance 3, 4 or 5. Until the end of the case.
inline std::string make_2g(Run& run, int place) {
  const std::string id = std::to_string(3 + place / 2);
  run.later([&run, id] {
    if (("\n" + run.host.read(gpu_file(run, "lab/gpu_instances")).text).find("\n" + id + " ") != std::string::npos) {
      run.write(gpu_file(run, "lab/destroy_gi"), id + "\n");
    }
  });
  run.write(gpu_file(run, "lab/create_gi"), "14 " + std::to_string(place) + "\n");
  return id;
}

// Which VF has a GPU instance: its address, "-", or empty where there is no such instance.
inline std::string user_of_gi(const Run& run, const std::string& id) {
  const std::string all = "\n" + run.host.read(gpu_file(run, "lab/gpu_instances")).text;
  const auto start = all.find("\n" + id + " ");
  if (start == std::string::npos) return "";
  const std::string line = all.substr(start + 1, all.find('\n', start + 1) - start - 1);
  return line.substr(line.rfind(' ') + 1);
}

// MIG mode off, for which the virtual functions have to go, and with as many of them again. Until the end of the case.
inline void without_mig(Run& run) {
  const std::string numvfs = gpu_file(run, "sriov_numvfs"), before = run.host.line(numvfs);
  run.later([&run, numvfs, before] {
    run.write(numvfs, "0\n");
    run.write(gpu_file(run, "lab/mig_mode"), "1\n");
    run.write(numvfs, before + "\n");
  });
  run.write(numvfs, "0\n");
  run.write(gpu_file(run, "lab/mig_mode"), "0\n");
  run.write(numvfs, before + "\n");
}

}  // namespace slicebroker::conformance
