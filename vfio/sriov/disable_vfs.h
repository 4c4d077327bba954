// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vfio/host/host.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// Step: switches a physical function's VFs off, which a handover of the whole function needs (a bind of a PF with
// live VFs crashes hosts: xenopsd PR 689). Undo makes the same number again, each with its driver and raw override.
// apply refuses while a VF is held or carries a mediated device or a vGPU type: the kernel would remove them silently.
// Unconfirmed: whether NVIDIA's driver takes a plain write to sriov_numvfs on every release; where it refuses, the
// step fails, nothing is changed, and /usr/lib/nvidia/sriov-manage -d is the remedy.
struct DisableVfs {
  static constexpr std::string_view kKind = "disable-vfs";

  PciAddress physical_function;

  Fields fields() const;
  static Result<DisableVfs> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const DisableVfs&) const = default;
};

}  // namespace slicebroker::vfio
