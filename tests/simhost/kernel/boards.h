// SPDX-License-Identifier: Apache-2.0
// What is known of each piece of hardware that a host description can name: identity, SR-IOV, MIG, vGPU types.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::simhost::model {

// What a MIG profile takes. Sizes and starts are in memory slices.
struct GiProfile {
  unsigned id = 0;        // as NVML and nvidia-smi number them
  unsigned selector = 0;  // NVML_GPU_INSTANCE_PROFILE_*
  unsigned compute_slices = 0;
  unsigned size = 0;
  unsigned starts = 0;  // bitmap
  unsigned max = 0;
  unsigned sm = 0;
  unsigned memory_mb = 0;
  std::string name;
};

struct VgpuType {
  unsigned id = 0;
  int gi_profile = -1;  // -1: time-sliced
  unsigned framebuffer_mb = 0;
  unsigned max = 0;  // per GPU, alone
  std::string name;
  unsigned per_instance = 1;  // how many share one GPU instance
  std::string sysfs_id = {};  // empty: the number
  std::string description = {};
};

struct Board {
  std::string key;   // how descriptions name it
  std::string name;  // how NVML does
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint32_t class_code = 0;
  std::string driver = {};  // which takes it at boot; empty: none
  unsigned vf_total = 0;
  unsigned vf_offset = 0;  // of the first VF's routing id
  unsigned vf_stride = 1;
  std::uint16_t vf_device = 0;  // 0: the PF's
  std::string reset_methods = "flr bus";
  bool has_drm = false;  // /dev/dri nodes while its driver holds it
  unsigned memory_slices = 0;
  bool mig_mode_is_persistent = false;  // Ampere: kept in the InfoROM
  std::vector<GiProfile> profiles = {};
  unsigned framebuffer_mb = 0;  // all of it, which time-sliced vGPUs share
  std::vector<VgpuType> types = {};

  bool is_nvidia_gpu() const { return vendor == 0x10de && class_code >> 16 == 0x03; }
  bool is_bridge() const { return class_code >> 8 == 0x0604; }
};

// nullptr: no such board.
const Board* find_board(std::string_view key);
const std::vector<Board>& all_boards();

}  // namespace slicebroker::simhost::model
