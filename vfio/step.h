// SPDX-License-Identifier: Apache-2.0
// Reversible changes of the host, as values: planned without a host, written down before they run, and undone from
// what was written down, also by another process after a crash.
#pragma once

#include <concepts>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "vfio/base/result.h"
#include "vfio/host/host.h"
#include "vfio/mdev/create_mdev.h"
#include "vfio/nvidia/assign_vgpu_type.h"
#include "vfio/nvidia/mig_steps.h"
#include "vfio/pci/bind_driver.h"
#include "vfio/sriov/disable_vfs.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// The contract of a step.
//   fields/from_fields  the step as text, to write it down and to make it again
//   describe            one line in the imperative, for plans and errors
//   observe             reads what the step will change; already_so: nothing to do, and nothing to undo later
//   apply               changes the host and verifies by looking; may block up to the host's deadline a write
//   undo                restores the recorded values; a host that is already as before is success; never touches
//                       what is no longer as the step left it
template <class S>
concept IsStep = requires(const S step, const Host& host, const Fields& fields) {
  { S::kKind } -> std::convertible_to<std::string_view>;
  { step.fields() } -> std::same_as<Fields>;
  { S::from_fields(fields) } -> std::same_as<Result<S>>;
  { step.describe() } -> std::same_as<std::string>;
  { step.observe(host) } -> std::same_as<Result<Observation>>;
  { step.apply(host) } -> std::same_as<Result<void>>;
  { step.undo(host, fields) } -> std::same_as<Result<void>>;
};

// Every step there is.
using Step = std::variant<CreateMdev, AssignVgpuType, BindDriver, DisableVfs, DestroyGpuInstances, DisableMig>;

std::string_view kind(const Step& step);
Fields fields(const Step& step);
std::string describe(const Step& step);
// In a child, so that neither a silent device nor NVML keeps the caller: errors as of the step, and DEVICE_SILENT or
// NVML_SILENT (see vfio/host/ask_child.h).
Result<Observation> observe(const Step& step, const Host& host);
Result<void> apply(const Step& step, const Host& host);
Result<void> undo(const Step& step, const Host& host, const Fields& before);

// The step that was written down. Errors: kFailed for a kind or field that this version does not know.
Result<Step> step_from(std::string_view kind, const Fields& fields);

}  // namespace slicebroker::vfio
