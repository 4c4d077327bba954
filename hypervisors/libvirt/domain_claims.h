// SPDX-License-Identifier: Apache-2.0
// The devices of libvirt's domains, as libvirt keeps them in files; libvirt itself is not asked.
#pragma once

#include <vector>

#include "vfio/claims/claim.h"

namespace slicebroker::hypervisors::libvirt {

// The host devices of every domain that runs (/run/libvirt/qemu/NAME.xml) or is defined (/etc/libvirt/qemu/NAME.xml),
// by "libvirt:NAME"; one that both tell of is told once, as of a domain that runs. What a defined domain has by its
// slicebroker request is no claim. What can't be read is a problem. Reads only: without libvirt two system calls.
std::vector<vfio::Claim> list_domain_claims(const vfio::HostRoot& host, std::vector<Error>& problems);

}  // namespace slicebroker::hypervisors::libvirt
