// SPDX-License-Identifier: Apache-2.0
// NVIDIA's driver: a GPU, its MIG layout, its vGPUs. The rules are those of tests/lab/module, and beyond it those of
// NVIDIA's documents.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/simhost/kernel/machine.h"

namespace slicebroker::simhost::model {

struct ComputeInstance {
  unsigned id = 0;
  unsigned slices = 0;
  unsigned start = 0;
  std::string uuid;
};

struct GpuInstance {
  const GiProfile* profile = nullptr;
  unsigned id = 0;
  unsigned start = 0;
  std::vector<Vgpu*> users;
  std::vector<ComputeInstance> compute;  // by id
};

// What a VF, or an mdev of an older board, carries while a vGPU exists on it.
struct Vgpu {
  Gpu* gpu = nullptr;
  Function* carrier = nullptr;
  const VgpuType* type = nullptr;  // nullptr: none
  GpuInstance* instance = nullptr;
  std::string mdev;  // UUID; empty: vendor VFIO
  unsigned placement = 0;
  std::string params;
};

struct Gpu {
  Function* function = nullptr;
  unsigned minor = 0;
  std::string uuid;
  bool mig_mode = false;            // what the GPU itself remembers
  bool lost = false;                // fallen off the bus
  std::set<unsigned> spent_vfs;     // vendor VFIO: bound once already, of no use until SR-IOV is cycled
  bool rebound_under_lock = false;  // as sriov-manage does before it writes sriov_numvfs

  // From here on: while its driver holds it.
  bool bound = false;
  bool going = false;
  bool unbind_locked = false;
  unsigned users = 0;  // opens of /dev/nvidiaN
  bool heterogeneous = false;
  std::vector<std::unique_ptr<GpuInstance>> instances;  // slots: nullptr where one was destroyed
  std::vector<Vgpu*> vgpus;                             // by carrier

  const Board& board() const { return *function->board; }
};

// gpu.cpp
int probe_nvidia(Machine& machine, Function& function);
int remove_nvidia(Machine& machine, Function& function, Caller& caller);
int configure_nvidia_sriov(Machine& machine, Function& function, unsigned count, Caller& caller);
void give_identity(Machine& machine, Function& function);  // minor and UUID, in the order of boot
std::string derived_uuid(std::string_view seed);           // version 5; the same for the same seed
bool has_vgpu_driver(const Machine& machine, const Gpu& gpu);

// mig.cpp
int set_mig_mode(Gpu& gpu, bool on);
int create_gi(Gpu& gpu, unsigned profile, int start);  // -1: anywhere
int destroy_gi(Gpu& gpu, unsigned id);
int create_ci(Gpu& gpu, unsigned gi, unsigned slices, int start);
int destroy_ci(Gpu& gpu, unsigned gi, unsigned ci);
unsigned remaining(const Gpu& gpu, const GiProfile& profile);
GpuInstance* find_gi(const Gpu& gpu, unsigned id);
GpuInstance* pick_gi(const Machine& machine, const Gpu& gpu, const VgpuType& type);

// vgpu.cpp
unsigned available(const Machine& machine, const Gpu& gpu, const Function& carrier, const VgpuType& type);
int create_vgpu(const Machine& machine, Gpu& gpu, Vgpu& vgpu, const VgpuType& type);
void destroy_vgpu(Vgpu& vgpu);
int set_heterogeneous(Gpu& gpu, bool on);
const VgpuType* find_vgpu_type(const Board& board, unsigned id);
// nvidia/ below a VF or an mdev: gpu_instance_id, placement_id, vgpu_params.
void add_vgpu_files(Machine& machine, const std::string& directory, Vgpu& vgpu);
MdevParent mdev_parent(Machine& machine, Gpu& gpu, Function& carrier);

// vendor_vf.cpp
int probe_vf(Machine& machine, Function& vf);
int remove_vf(Machine& machine, Function& vf, Caller& caller);

// lab.cpp
void add_lab_files(Machine& machine, Gpu& gpu);

}  // namespace slicebroker::simhost::model
