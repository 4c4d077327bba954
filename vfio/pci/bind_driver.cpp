// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/bind_driver.h"

#include <algorithm>
#include <array>

#include "vfio/host/holders.h"
#include "vfio/host/wait.h"

namespace slicebroker::vfio {
namespace {

constexpr std::string_view kNone = "(null)";  // how the kernel prints an empty driver_override

Result<std::string> read_driver(const HostRoot& root, const PciAddress& function) {
  SLICEBROKER_TRY(const auto driver, root.find_link_name(pci_path(function, "driver")));
  return driver.value_or("");
}

Result<void> write_override(const Host& host, const PciAddress& function, std::string_view raw) {
  // A lone newline clears it; the kernel takes "(null)" for a driver's name.
  const std::string value = raw.empty() || raw == kNone ? "\n" : std::string(raw) + "\n";
  return host.root.write_attr_within(pci_path(function, "driver_override"), value, host.deadline);
}

// A write that returned proves nothing: a probe that failed, or a driver that is not there, also returns 0.
Result<void> verify_driver(const Host& host, const PciAddress& function, const std::string& wanted) {
  const bool so = wait_until(host.deadline, [&] {
    const auto driver = read_driver(host.root, function);
    return driver && *driver == wanted;
  });
  if (so) return {};
  const auto driver = read_driver(host.root, function);
  Error error;
  error.reason = "DRIVER_NOT_BOUND";
  error.tried = wanted.empty() ? "unbind" : "bind to " + wanted;
  error.subject = function.to_string();
  error.fact = !driver || driver->empty() ? "the function has no driver" : "its driver is " + *driver;
  error.hint = "see the kernel's log: the driver's probe may have refused the function";
  return fail(std::move(error));
}

Result<void> unbind(const Host& host, const PciAddress& function) {
  SLICEBROKER_TRY(const auto state, read_pci_function(host.root, function));
  if (!state.driver) return {};
  SLICEBROKER_CHECK(check_no_holder(host.root, state));
  return host.root.write_attr_within(pci_path(function, "driver/unbind"), function.to_string(), host.deadline);
}

// Unbinds, and lets exactly `driver` take the function by an override.
Result<void> rebind(const Host& host, const PciAddress& function, const std::string& driver) {
  SLICEBROKER_CHECK(write_override(host, function, driver));
  SLICEBROKER_CHECK(unbind(host, function));
  SLICEBROKER_CHECK(host.root.write_attr_within("sys/bus/pci/drivers_probe", function.to_string(), host.deadline));
  return verify_driver(host, function, driver);
}

// devtmpfs makes the group's node when the driver has bound; a VMM that comes too early finds nothing.
Result<void> wait_for_vfio_node(const Host& host, const PciAddress& function) {
  SLICEBROKER_TRY(const auto state, read_pci_function(host.root, function));
  if (state.vfio_devices.empty() || !state.iommu_group) return {};
  const std::string node = "dev/vfio/" + std::to_string(*state.iommu_group);
  if (wait_until(host.deadline, [&] { return host.root.is_there(node) == true; })) return {};
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "VFIO_NODE_MISSING";
  error.tried = "wait for the VFIO node";
  error.subject = host.root.display(node);
  error.fact = "the driver is bound and the node has not appeared";
  return fail(std::move(error));
}

Error changed_by_others(const PciAddress& function, std::string fact, const std::string& driver_before) {
  Error error;
  error.code = ErrorCode::kDrift;
  error.reason = "CHANGED_BY_OTHERS";
  error.tried = "restore the driver";
  error.subject = function.to_string();
  error.fact = std::move(fact);
  error.hint = "if nobody else owns it, bind it to " + (driver_before.empty() ? "no driver" : driver_before);
  return error;
}

}  // namespace

Result<void> check_no_holder(const HostRoot& host, const std::vector<std::string>& nodes, const std::string& subject) {
  SLICEBROKER_TRY(const auto holders, list_holders(host));
  Error error;
  error.code = ErrorCode::kHeld;
  error.reason = "HELD_BY_PROCESS";
  error.tried = "take away";
  error.subject = subject;
  for (const auto& holder : holders_of(holders, nodes)) {
    if (!error.fact.empty()) error.fact += ", ";
    error.fact += describe(holder);
  }
  if (error.fact.empty()) return {};
  error.hint = "end the process and repeat";
  return fail(std::move(error));
}

Result<void> check_no_holder(const HostRoot& host, const PciFunction& function) {
  return check_no_holder(host, device_nodes(function), function.address.to_string());
}

Result<void> restore_driver(const Host& host, const PciAddress& function, const std::string& driver,
                            const std::string& raw_override) {
  SLICEBROKER_TRY(const auto now, read_driver(host.root, function));
  if (now != driver) {
    if (driver.empty()) {
      SLICEBROKER_CHECK(unbind(host, function));
      SLICEBROKER_CHECK(verify_driver(host, function, driver));
    } else {
      SLICEBROKER_CHECK(rebind(host, function, driver));
    }
  }
  SLICEBROKER_TRY(const auto override_now, host.root.read_attr(pci_path(function, "driver_override")));
  if (override_now == raw_override) return {};
  return write_override(host, function, raw_override);
}

Fields BindDriver::fields() const {
  return {{"function", function.to_string()}, {"driver", driver}};
}

Result<BindDriver> BindDriver::from_fields(const Fields& fields) {
  BindDriver step;
  SLICEBROKER_TRY(step.function, address_field(fields, "function"));
  SLICEBROKER_TRY(step.driver, text_field(fields, "driver"));
  return step;
}

std::string BindDriver::describe() const {
  return "bind " + function.to_string() + " to " + driver;
}

Result<Observation> BindDriver::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto state, read_pci_function(host.root, function));
  SLICEBROKER_TRY(const auto power, host.root.find_attr(pci_path(function, "power/control")));
  Observation seen;
  seen.already_so = state.driver == driver;
  seen.before = {{"driver", state.driver.value_or("")}, {"driver_override", state.driver_override}};
  if (power) seen.before["power_control"] = *power;
  return seen;
}

Result<void> BindDriver::apply(const Host& host) const {
  SLICEBROKER_CHECK(rebind(host, function, driver));
  return wait_for_vfio_node(host, function);
}

Result<void> BindDriver::undo(const Host& host, const Fields& before) const {
  SLICEBROKER_TRY(const auto driver_before, text_field(before, "driver"));
  SLICEBROKER_TRY(const auto override_before, text_field(before, "driver_override"));
  SLICEBROKER_TRY(const auto now, read_driver(host.root, function));
  if (now != driver && now != driver_before && !now.empty()) {
    return fail(changed_by_others(function, "it was bound to " + driver + " and is now on " + now, driver_before));
  }
  // Beside what was there before: what apply sets, what an undo that was cut short sets, and none.
  const std::array ours{override_before, driver, driver_before, std::string(kNone), std::string()};
  SLICEBROKER_TRY(const auto override_now, host.root.read_attr(pci_path(function, "driver_override")));
  if (std::find(ours.begin(), ours.end(), override_now) == ours.end()) {
    return fail(changed_by_others(function, "its driver_override is now " + override_now, driver_before));
  }
  SLICEBROKER_CHECK(restore_driver(host, function, driver_before, override_before));
  const auto power = before.find("power_control");
  if (power == before.end()) return {};
  const auto path = pci_path(function, "power/control");
  SLICEBROKER_TRY(const auto power_now, host.root.read_attr(path));
  if (power_now == power->second) return {};
  return host.root.write_attr_within(path, power->second, host.deadline);
}

}  // namespace slicebroker::vfio
