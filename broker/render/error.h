// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "vfio/base/error.h"

namespace slicebroker::broker {

// The status that a program ends with for this failure (design: exit codes 1 to 8).
int exit_status(ErrorCode code);

// For people: what was tried and came of it, every cause, what became of the host, what can be done.
std::string error_text(const Error& error);

// {"schema":"slicebroker/1","error":{code,reason,tried,subject,fact,errno,host,hint,causes}}
std::string error_json(const Error& error);

}  // namespace slicebroker::broker
