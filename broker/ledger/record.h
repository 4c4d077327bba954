// SPDX-License-Identifier: Apache-2.0
// Values of the ledger as JSON text and back.
#pragma once

#include <string>
#include <string_view>

#include "hypervisors/attachment.h"
#include "vfio/base/result.h"
#include "vfio/step_types.h"

namespace slicebroker::broker {

std::string fields_text(const vfio::Fields& fields);
std::string attachment_text(const hypervisors::Attachment& attachment);

// Errors: kFailed MALFORMED_RECORD.
Result<vfio::Fields> parse_fields(std::string_view text);
Result<hypervisors::Attachment> parse_attachment(std::string_view text);

Error malformed_record(std::string_view column, std::string_view text);

}  // namespace slicebroker::broker
