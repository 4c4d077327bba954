// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hypervisors/attachment.h"
#include "vfio/base/result.h"
#include "vfio/host/holders.h"
#include "vfio/host/host.h"

namespace slicebroker::broker {

// The nodes by which a VMM holds what was attached: "/dev/vfio/13", "/dev/vfio/devices/vfio0". A device that is gone
// has none. Reads only, in a child (see vfio/host/ask_child.h). Errors: a device that is there and can't be read, so
// nobody can tell who has it.
Result<std::vector<std::string>> attached_nodes(const vfio::Host& host, const hypervisors::Attachment& attachment);

// The one process that has them open: the VMM, once it has taken the device. nullopt where none has, or several, or
// it can't be told. Reads only.
std::optional<vfio::ProcessIdentity> find_vmm(const vfio::Host& host, const hypervisors::Attachment& attachment);

}  // namespace slicebroker::broker
