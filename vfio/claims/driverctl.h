// SPDX-License-Identifier: Apache-2.0
// driverctl's overrides: /etc/driverctl.d/<bus>-<device>, one word each (source: driverctl, save_override). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vfio/base/pci_address.h"
#include "vfio/base/result.h"

namespace slicebroker::vfio {

// "pci-0000:41:00.0" -> "0000:41:00.0"; nullopt: a device of another bus.
std::optional<std::string_view> pci_part_of(std::string_view file_name);

// The driver that the device is pinned to. Errors: kFailed MALFORMED_CLAIM for what is no driver's name.
Result<std::string> parse_driverctl_override(std::string_view text);

}  // namespace slicebroker::vfio
