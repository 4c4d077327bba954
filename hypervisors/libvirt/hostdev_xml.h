// SPDX-License-Identifier: Apache-2.0
// libvirt <hostdev> elements, per https://libvirt.org/formatdomain.html "Host device assignment". Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hypervisors/attachment.h"

namespace slicebroker::hypervisors::libvirt {

// The elements for one attachment: the device first, then its companions as `<address type='unassigned'/>`.
// managed='no' always (the broker binds; a vendor VF must stay on its driver); no attribute that the schema of
// libvirt 9.0 does not know. The alias is "ua-" + attachment.id, a companion's "ua-" + id + "-1", "-2" ...
std::vector<std::string> hostdev_xml(const Attachment& attachment);

// The aliases by which a live domain's XML and libvirt's detach name the device and its companion at `index`.
std::string hostdev_alias(const Attachment& attachment);
std::string companion_alias(const Attachment& attachment, std::size_t index);

}  // namespace slicebroker::hypervisors::libvirt
