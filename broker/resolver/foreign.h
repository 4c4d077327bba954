// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "broker/resolver/resolver.h"

namespace slicebroker::broker {

// What other tools' claims hold, against this request: all but what the policy lets slicebroker use, what belongs to
// the request's own VM, and what a lease gave to the VM that has it.
std::vector<Hold> foreign_holds(const vfio::Inventory& inventory, const std::vector<Hold>& leases,
                                const Request& request, const Policy& policy);

}  // namespace slicebroker::broker
