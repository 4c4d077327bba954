// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vfio/host/host.h"
#include "vfio/pci/pci_function.h"
#include "vfio/step_types.h"

namespace slicebroker::vfio {

// Step: one PCI function to a driver, by driver_override (Documentation/ABI/testing/sysfs-bus-pci). Never new_id:
// it would take every card of the same model. The driver must be loaded.
// Recorded: driver, raw driver_override, power/control (vfio-pci changes it: pm_runtime_allow on bind).
// apply and undo refuse (kHeld, HELD_BY_PROCESS) while a process has the function open: an unbind would wait for it
// in the kernel, unkillable.
struct BindDriver {
  static constexpr std::string_view kKind = "bind-driver";

  PciAddress function;
  std::string driver;

  Fields fields() const;
  static Result<BindDriver> from_fields(const Fields& fields);
  std::string describe() const;
  Result<Observation> observe(const Host& host) const;
  Result<void> apply(const Host& host) const;
  Result<void> undo(const Host& host, const Fields& before) const;
  bool operator==(const BindDriver&) const = default;
};

// kHeld, reason HELD_BY_PROCESS, naming pid and command, where a process has the function open at this moment.
Result<void> check_no_holder(const HostRoot& host, const PciFunction& function);

// The same for any set of device nodes; `subject` is named in the error.
Result<void> check_no_holder(const HostRoot& host, const std::vector<std::string>& nodes, const std::string& subject);

// Puts a function back to a driver ("" for none) and a raw driver_override, from wherever it is now. Used by the
// undo of every step that makes functions change hands.
Result<void> restore_driver(const Host& host, const PciAddress& function, const std::string& driver,
                            const std::string& raw_override);

}  // namespace slicebroker::vfio
