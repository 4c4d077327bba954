// SPDX-License-Identifier: Apache-2.0
// Steps that take a GPU's MIG layout away and bring it back. A GPU that goes to a guest whole loses its GPU instances
// with the driver's unbind, and an Ampere card would take its MIG mode along (nvidia.md 1.4), so both are recorded,
// taken down in order, and rebuilt at the same placements on the way back.
#pragma once

#include "vfio/host/host.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// Destroys every GPU instance of a GPU. Undo makes them again; MIG UUIDs follow from (GPU, instance id, engine id), so
// they come back the same (nvidia.md 1.1), which undo verifies. Errors: kHeld while an instance is in use.
struct DestroyGpuInstances {
  static constexpr std::string_view kKind = "destroy-gpu-instances";

  PciAddress gpu;

  Fields fields() const;
  static Result<DestroyGpuInstances> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const DestroyGpuInstances&) const = default;
};

// Switches MIG mode off; undo switches it on again. Errors: kHeld while the GPU has clients or VFs.
struct DisableMig {
  static constexpr std::string_view kKind = "disable-mig";

  PciAddress gpu;

  Fields fields() const;
  static Result<DisableMig> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const DisableMig&) const = default;
};

}  // namespace slicebroker::vfio
