// SPDX-License-Identifier: Apache-2.0
#include "vfio/sriov/disable_vfs.h"

#include "vfio/host/wait.h"
#include "vfio/mdev/mdev.h"
#include "vfio/nvidia/vendor_vf.h"
#include "vfio/pci/bind_driver.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::vfio {
namespace {

constexpr std::string_view kVfPrefix = "vf.";

Error in_use(const PciAddress& vf, std::string fact) {
  Error error;
  error.code = ErrorCode::kHeld;
  error.reason = "VF_IN_USE";
  error.tried = "disable VFs";
  error.subject = vf.to_string();
  error.fact = std::move(fact);
  return error;
}

std::string by_vendor_tool(const PciAddress& pf) {
  return "disable them with the vendor's tool (/usr/lib/nvidia/sriov-manage -d " + pf.to_string() + ") and repeat";
}

Result<void> check_vf_free(const HostRoot& root, const PciAddress& vf, const std::vector<MdevDevice>& mdevs) {
  for (const auto& mdev : mdevs) {
    if (mdev.parent == vf) return fail(in_use(vf, "it carries the mediated device " + mdev.uuid.to_string()));
  }
  SLICEBROKER_TRY(const auto vendor, nvidia::find_vendor_vf(root, vf));
  if (vendor && vendor->current_type != 0) {
    return fail(in_use(vf, "it carries a vGPU of type " + std::to_string(vendor->current_type)));
  }
  SLICEBROKER_TRY(const auto function, read_pci_function(root, vf));
  return check_no_holder(root, function);
}

Result<void> write_count(const Host& host, const PciAddress& pf, std::uint32_t count) {
  return host.root.write_attr_within(pci_path(pf, "sriov_numvfs"), std::to_string(count), host.deadline);
}

Result<PciFunction> read_with_vfs(const Host& host, const PciAddress& pf, std::uint32_t count) {
  Result<PciFunction> state = read_pci_function(host.root, pf);
  wait_until(host.deadline, [&] {
    state = read_pci_function(host.root, pf);
    return !state || state->virtual_functions.size() == count;
  });
  return state;
}

}  // namespace

Fields DisableVfs::fields() const {
  return {{"physical_function", physical_function.to_string()}};
}

Result<DisableVfs> DisableVfs::from_fields(const Fields& fields) {
  DisableVfs step;
  SLICEBROKER_TRY(step.physical_function, address_field(fields, "physical_function"));
  return step;
}

std::string DisableVfs::describe() const {
  return "disable the VFs of " + physical_function.to_string();
}

Result<Observation> DisableVfs::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto pf, read_pci_function(host.root, physical_function));
  Observation seen;
  seen.already_so = pf.vf_count == 0;
  seen.before = {{"count", std::to_string(pf.vf_count)}, {"driver", pf.driver.value_or("")}};
  for (const auto& address : pf.virtual_functions) {
    SLICEBROKER_TRY(const auto vf, read_pci_function(host.root, address));
    seen.before[std::string(kVfPrefix) + address.to_string()] = vf.driver.value_or("") + "|" + vf.driver_override;
  }
  return seen;
}

Result<void> DisableVfs::apply(const Host& host) const {
  SLICEBROKER_TRY(const auto pf, read_pci_function(host.root, physical_function));
  std::vector<Error> problems;
  SLICEBROKER_TRY(const auto mdevs, list_mdev_devices(host.root, problems));
  for (const auto& vf : pf.virtual_functions) SLICEBROKER_CHECK(check_vf_free(host.root, vf, mdevs));
  auto written = write_count(host, physical_function, 0);
  if (!written) {
    Error error = caused_by("disable VFs", physical_function.to_string(), std::move(written).error());
    error.hint = by_vendor_tool(physical_function);
    return fail(std::move(error));
  }
  SLICEBROKER_TRY(const auto now, read_with_vfs(host, physical_function, 0));
  if (now.vf_count == 0) return {};
  Error error =
      in_use(physical_function, "the driver took the write and keeps " + std::to_string(now.vf_count) + " VFs");
  error.code = ErrorCode::kFailed;
  error.reason = "VFS_NOT_DISABLED";
  error.hint = by_vendor_tool(physical_function);
  return fail(std::move(error));
}

Result<void> DisableVfs::undo(const Host& host, const Fields& before) const {
  SLICEBROKER_TRY(const auto count, number_field(before, "count"));
  SLICEBROKER_TRY(const auto driver, text_field(before, "driver"));
  SLICEBROKER_TRY(auto pf, read_pci_function(host.root, physical_function));
  if (pf.driver.value_or("") != driver) {
    return fail(in_use(physical_function, "its driver is " + pf.driver.value_or("none") + " and not yet " + driver));
  }
  if (pf.vf_count != count) {
    if (pf.vf_count != 0) {
      return fail(in_use(physical_function, "it has " + std::to_string(pf.vf_count) + " VFs, made by somebody else"));
    }
    SLICEBROKER_CHECK(write_count(host, physical_function, count));
  }
  SLICEBROKER_TRY(pf, read_with_vfs(host, physical_function, count));
  for (const auto& [key, value] : before) {
    if (!key.starts_with(kVfPrefix)) continue;
    SLICEBROKER_TRY(const auto vf, address_field({{key, key.substr(kVfPrefix.size())}}, key));
    const auto bar = value.find('|');
    SLICEBROKER_CHECK(restore_driver(host, vf, value.substr(0, bar), value.substr(bar + 1)));
  }
  return {};
}

}  // namespace slicebroker::vfio
