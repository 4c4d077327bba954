// SPDX-License-Identifier: Apache-2.0
// The text by which a request names what it wants, turned into a type once, at the edge.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/base/result.h"
#include "vfio/base/uuid.h"
#include "vfio/nvidia/mig_uuid.h"

namespace slicebroker::broker {

struct MigSelector {  // MIG-<uuid>, MIG-GPU-<uuid>/gi/ci: exactly this instance
  vfio::nvidia::MigUuid uuid;
  bool operator==(const MigSelector&) const = default;
};
struct ProfileSelector {  // profile=1g.10gb, profile="MIG 1g.10gb": any free GPU instance of the profile
  std::string name;       // "1g.10gb+me"; "1c.3g.40gb" names a compute instance: a part of a GPU instance
  bool operator==(const ProfileSelector&) const = default;
};
struct TypeSelector {  // type=nvidia-558, type="NVIDIA L40S-8Q": any device that offers the vGPU type
  std::string name;
  bool operator==(const TypeSelector&) const = default;
};
struct MemorySelector {  // memory=10GiB: the smallest slice with at least so much framebuffer
  std::uint64_t bytes = 0;
  bool operator==(const MemorySelector&) const = default;
};
struct MdevSelector {  // mdev=UUID: a mediated device that exists
  Uuid uuid;
  bool operator==(const MdevSelector&) const = default;
};
struct VfSelector {  // vf=BDF: a virtual function
  PciAddress address;
  bool operator==(const VfSelector&) const = default;
};
struct GpuSelector {                          // gpu=BDF, gpu=GPU-<uuid>: the whole GPU
  std::variant<PciAddress, std::string> gpu;  // the string is NVML's "GPU-<uuid>" in lower case
  bool operator==(const GpuSelector&) const = default;
};

using Selector =
    std::variant<MigSelector, ProfileSelector, TypeSelector, MemorySelector, MdevSelector, VfSelector, GpuSelector>;

// Errors: kUsage, reason BAD_SELECTOR, saying what was expected, and which key was probably meant. A typo never becomes
// something else.
Result<Selector> parse_selector(std::string_view text);

// The keys that a selector may begin with: "profile=", "type=" ...
std::vector<std::string> selector_keys();

// Where a profile's name has "1c.": the GPU instance's name without it; else empty.
std::string gpu_instance_profile_of(const ProfileSelector& selector);

// A size in the largest unit that gives it exactly: "10GiB", "512MiB", "10GB".
std::string memory_text(std::uint64_t bytes);

// The canonical text; parsing it gives the same selector.
std::string to_string(const Selector& selector);

}  // namespace slicebroker::broker
