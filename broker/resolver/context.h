// SPDX-License-Identifier: Apache-2.0
// Shared by the resolver's parts only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "broker/resolver/resolver.h"

namespace slicebroker::broker {

struct Context {
  const vfio::Inventory& inventory;
  const std::vector<Hold>& holds;
  const Request& request;  // with the policy's floor of isolation
  const Policy& policy;

  // What holds a device, or nullptr.
  const Hold* hold_on(const std::string& device) const;

  // The first quarantine or foreign claim, which is more than a lease, on one of the functions, or on anything of a
  // GPU; nullptr where there is none.
  const Hold* fence_on(const std::vector<const vfio::PciFunction*>& functions) const;
  const Hold* fence_on_part_of(const PciAddress& gpu) const;
};

// kNotFound: the selector names nothing that exists; the hint has near misses.
Error names_nothing(std::string subject, std::string fact, std::string hint);

// An empty remedy means the reason's own.
Candidate rejected(Candidate candidate, const Reason& reason, std::string fact, std::string remedy = {});
Candidate leased(Candidate candidate, const Hold& hold);  // rejected for what the hold is: lease, quarantine, foreign

// What keeps a function, or with a whole group's surface its companions, from being judged: "PATH does not answer".
std::optional<std::string> silence_text(const Context& context, const vfio::PciFunction& function,
                                        hypervisors::Surface surface);

// "pid 4711 (nv-hostengine) has /dev/nvidia0 open, ..."
std::string holder_text(const std::vector<vfio::Holder>& holders);

// The candidate's check that comes before all others: is its GPU managed, can the target hypervisor attach this surface
// at all, does the policy let it be used, and does it answer? Returns whether so; if not, the candidate carries the
// reason. In this order, so that a denial of what the hypervisor can't do anyway is none.
bool check_permitted(const Context& context, const vfio::PciFunction& function, Candidate& candidate);

// A function with its whole IOMMU group, to vfio-pci or the variant made for it: the surfaces gpu and vf.
Candidate resolve_group(const Context& context, const vfio::PciFunction& function, hypervisors::Surface surface);

// Candidates for slices of one kind, over every function that could carry one.
std::vector<Candidate> resolve_gpu_instance(const Context& context, const vfio::nvidia::Gpu& gpu,
                                            const vfio::nvidia::GpuInstance& instance, const std::string& slice);
Result<std::vector<Candidate>> resolve_profile(const Context& context, const ProfileSelector& selector);
// The same where NVML is absent: by what the names of the vGPU types tell. Empty where none tells of the profile.
std::vector<Candidate> resolve_profile_by_name(const Context& context, const ProfileSelector& selector);
Result<std::vector<Candidate>> resolve_type(const Context& context, const TypeSelector& selector);
Result<std::vector<Candidate>> resolve_memory(const Context& context, const MemorySelector& selector);

// The whole GPUs with at least so much memory, smallest first.
std::vector<Candidate> whole_gpus_of(const Context& context, const MemorySelector& selector);

// Devices that exist already and are taken as they are.
Result<Candidate> resolve_mdev(const Context& context, const MdevSelector& selector);
Result<Candidate> resolve_vf(const Context& context, const VfSelector& selector);

}  // namespace slicebroker::broker
