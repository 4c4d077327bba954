// SPDX-License-Identifier: Apache-2.0
// What the resolver is asked, drawn by chance: a host, who holds what of it, a policy, and requests.
//
// What is drawn is a few small numbers; the inventory and everything that names a part of it are made from these. So a
// failure shrinks to few GPUs with little on them, and is printed as those numbers' meaning.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "broker/resolver/resolver.h"

namespace slicebroker::properties {

enum class Board { kA100, kL40s, kT4, kGraceHopper, kMi300x, kGvt, kFlex };
enum class OnDriver { kOwn, kVfioPci, kNone };
enum class Framework { kNone, kVendor, kMdev };

struct InstanceDraft {
  unsigned profile = 0;  // of the board's
  unsigned compute_instances = 1;
};
struct VgpuDraft {
  unsigned function = 0;  // VF, or the GPU itself where it has none
  unsigned type = 0;      // of the board's
  unsigned instance = 0;  // of the GPU's of the type's profile
};
struct CompanionDraft {
  unsigned kind = 0;    // audio, USB, bridge, NVSwitch
  unsigned driver = 0;  // none, its own, vfio-pci, pci-stub
};
struct GpuDraft {
  Board board = Board::kA100;
  OnDriver on = OnDriver::kOwn;
  Framework framework = Framework::kVendor;
  unsigned vfs = 0;
  bool mig = false;
  bool known_to_nvml = true;
  bool hidden_vgpu = false;
  bool mixed_sizes = false;
  bool in_group_before = false;  // shares the IOMMU group of the GPU before it
  bool vfs_in_group = false;     // of the GPU, as without ACS
  bool variant_loaded = true;
  unsigned available = 1;  // of every type, as the driver says
  std::vector<InstanceDraft> instances;
  std::vector<VgpuDraft> vgpus;
  std::vector<CompanionDraft> companions;
};
struct HostDraft {
  std::vector<GpuDraft> gpus;
  bool nvml = true;
  bool iommu = true;
  bool vfio_pci = true;
  bool nvswitch = false;
  std::vector<unsigned> holders;  // of the host's device nodes
};

// Numbers that stand for a part of the host are taken modulo how many there are.
struct HoldDraft {
  unsigned device = 0;
  unsigned kind = 0;
};
struct PolicyDraft {
  unsigned include = 0;  // 0: every GPU; else all but a few
  std::vector<unsigned> exclude;
  std::vector<unsigned> deny;           // surfaces
  std::vector<unsigned> deny_to_first;  // surfaces, to libvirt
  bool no_fallback = false;
  unsigned least_isolation = 0;
  bool members = false;  // audio and USB functions may be taken along
};
struct RequestDraft {
  unsigned kind = 0;    // of selector
  unsigned name = 0;    // of those the host has; rarely none of its own
  unsigned target = 0;  // hypervisor and version
  bool no_fallback = false;
  unsigned isolation = 0;
  bool all_members = false;  // of any IOMMU group may be taken along, or only these
  std::vector<unsigned> members;
  bool allow_nvswitch = false;
  unsigned agreed = 0;  // with whom the XML agreed: mostly nobody
};

struct WorldDraft {
  HostDraft host;
  std::vector<HoldDraft> holds;
  PolicyDraft policy;
  std::vector<RequestDraft> requests;
};

struct World {
  vfio::Inventory host;
  std::vector<broker::Hold> holds;
  broker::Policy policy;
  std::vector<broker::Request> requests;  // at least one

  const broker::Request& request() const { return requests.front(); }
};

vfio::Inventory make_host(const HostDraft& draft);
World make_world(const WorldDraft& draft);

// Everything of a host that can be held, with the GPU it belongs to.
std::vector<broker::LeasedDevice> holdable(const vfio::Inventory& host);
// Selectors of one kind (0..6, as Selector counts them) for everything of a host, the last for what it does not have.
std::vector<std::string> selectors(const vfio::Inventory& host, unsigned kind);

// One line a function, hold, request ...
std::string to_text(const World& world);
std::string to_text(const broker::Candidate& candidate);
std::string to_text(const Result<broker::Resolution>& resolution);

}  // namespace slicebroker::properties
