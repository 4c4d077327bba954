// SPDX-License-Identifier: Apache-2.0
// The kernel and the drivers of a simulated host: PCI, IOMMU groups, driver binding, VFIO, SR-IOV, mediated devices and
// NVIDIA's driver. Fills the tree, and changes it as writes to it ask for.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "tests/simhost/processes.h"
#include "tests/simhost/tree.h"

namespace slicebroker::simhost {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // One line of the control file that is about hardware or drivers, e.g. "gpu 0000:41:00.0 lost". False where the
  // model knows no such command.
  virtual tl::expected<void, std::string> command(std::string_view line) = 0;
  // What the next boot reads in place of `description`, the text of this one: whatever outlives a reboot, such as the
  // MIG mode of an Ampere GPU, has to be in it.
  virtual std::string after_reboot(std::string_view description) const { return std::string(description); }
};

// Boots the host that `description` (the text of a host file) describes. The error says line and what is wrong.
// Every boot makes a new boot id. `tree` has nothing but what the front keeps in it (.simhost, proc/<pid> of real
// processes). Tree and processes must outlive the kernel. The caller holds the host's lock here and in every callback.
tl::expected<std::unique_ptr<Kernel>, std::string> boot(std::string_view description, Tree& tree, Processes& processes);

}  // namespace slicebroker::simhost
