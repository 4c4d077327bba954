// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "vfio/host/host.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// Step: makes one mediated device. Undo removes it, and only if it still is of the type and parent that was made.
// Errors of apply: ENOSPC and EUSERS no capacity; kRefused GPU_INSTANCE_MISMATCH when the driver, which picks the GPU
// instance of a MIG-backed vGPU, gave another one than `gpu_instance_id`.
struct CreateMdev {
  static constexpr std::string_view kKind = "create-mdev";

  PciAddress parent;
  std::string type_id;
  Uuid uuid;
  std::optional<std::uint32_t> gpu_instance_id;  // the one that was asked for; nullopt: any

  Fields fields() const;
  static Result<CreateMdev> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const CreateMdev&) const = default;
};

// kRefused, reason GPU_INSTANCE_MISMATCH, where a vGPU's instance is not the one that was asked for.
Result<void> check_gpu_instance(std::optional<std::uint32_t> wanted, std::optional<std::uint32_t> given,
                                const std::string& subject);

}  // namespace slicebroker::vfio
