// SPDX-License-Identifier: Apache-2.0
// What the resolver's vGPU parts share: what could be made where, and who is on the GPU instances already.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/resolver/context.h"

namespace slicebroker::broker {

// One vGPU type at one function that could carry it.
struct Offer {
  hypervisors::Surface surface = hypervisors::Surface::kMdev;
  const vfio::PciFunction* function = nullptr;
  std::string type_id;            // "nvidia-699"; "699" at a vendor VF
  std::uint32_t type_number = 0;  // 699; 0 for a type of another vendor
  std::string type_name;
  std::optional<std::uint32_t> gpu_instance_profile_id;  // set: MIG-backed
  std::uint64_t framebuffer_mib = 0;                     // 0: not known
  std::uint32_t available = 0;                           // how many more the driver would make there
  std::optional<std::string> profile_by_name = {};       // set: MIG-backed, as its name tells where NVML does not

  bool mig_backed() const { return gpu_instance_profile_id || profile_by_name; }
};

// Everything that the host's functions offer: vendor VFs by address and type, then parents of mediated devices.
std::vector<Offer> list_offers(const vfio::Inventory& inventory);

// Judges one offer. `instance` is set where exactly that GPU instance is wanted.
Candidate judge(const Context& context, const Offer& offer, std::optional<std::uint32_t> instance,
                const std::string& slice);

// The candidate that stands for a slice which no function of its GPU can carry.
Candidate unsurfaced(const Context& context, const vfio::nvidia::Gpu& gpu, const std::vector<Offer>& offers,
                     const std::string& slice);

// Rejects with the reason why the driver has none left of an offer.
Candidate no_capacity(const Context& context, const Offer& offer, Candidate candidate);

// NO_GPU_INSTANCE or MIG_MODE_OFF, with the command that makes one.
Candidate no_gpu_instance(const vfio::nvidia::Gpu& gpu, std::uint32_t profile, Candidate candidate);

bool has_instance_of(const vfio::nvidia::Gpu& gpu, std::uint32_t profile);

// What runs on a GPU instance already.
struct Occupant {
  std::string device;  // lease key of the VF or mediated device; empty where only NVML knows of it
  std::string text;
};
std::optional<Occupant> find_occupant(const Context& context, const PciAddress& gpu, std::uint32_t instance);

// A GPU's instances of one profile, and who has them.
struct ProfileUse {
  std::vector<std::uint32_t> free;
  std::vector<std::string> users;    // "GI 3: libvirt:db2 by lease 7", one for each that is taken
  std::vector<std::string> awaited;  // "libvirt:db2 by lease 8": leases that will take one and don't yet
};
ProfileUse find_use(const Context& context, const vfio::nvidia::Gpu& gpu, std::uint32_t profile);

}  // namespace slicebroker::broker
