// SPDX-License-Identifier: Apache-2.0
// Cloud Hypervisor's own words for an attachment, per its docs/vfio.md and OpenAPI file. Pure.
#pragma once

#include <string>
#include <vector>

#include "hypervisors/attachment.h"

namespace slicebroker::hypervisors::cloud_hypervisor {

// {"--device", "path=/sys/bus/pci/devices/0000:41:00.0/,id=..."}: one argument list element each.
std::vector<std::string> arguments(const Attachment& attachment);

// The body of PUT vm.add-device: {"path":".../","id":"..."}, compact JSON.
std::string add_device_body(const Attachment& attachment);

}  // namespace slicebroker::hypervisors::cloud_hypervisor
