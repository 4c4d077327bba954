// SPDX-License-Identifier: Apache-2.0
// What the ledger reads back: attachments, and "KIND\n" with a step's fields.
#include "broker/ledger/record.h"

#include "tests/fuzz/fuzz.h"
#include "vfio/step.h"

using namespace slicebroker;

namespace {

void require_step(std::string_view kind, const vfio::Fields& fields) {
  const auto step = vfio::step_from(kind, fields);
  if (!step) {
    fuzz::require_told(step.error(), ErrorCode::kFailed, "MALFORMED_RECORD");
    return;
  }
  fuzz::require(!describe(*step).empty(), "a step can be described");
  const auto again = vfio::step_from(vfio::kind(*step), vfio::fields(*step));
  fuzz::require(again && *again == *step, "a step written down is the same step");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  const auto attachment = broker::parse_attachment(text);
  if (attachment) {
    const auto again = broker::parse_attachment(broker::attachment_text(*attachment));
    fuzz::require(again && *again == *attachment, "an attachment written down is the same");
  } else {
    fuzz::require_told(attachment.error(), ErrorCode::kFailed, "MALFORMED_RECORD");
  }
  const auto newline = text.find('\n');
  if (newline == std::string_view::npos) return 0;
  const auto fields = broker::parse_fields(text.substr(newline + 1));
  if (!fields) {
    fuzz::require_told(fields.error(), ErrorCode::kFailed, "MALFORMED_RECORD");
    return 0;
  }
  const auto again = broker::parse_fields(broker::fields_text(*fields));
  fuzz::require(again && *again == *fields, "fields written down are the same");
  require_step(text.substr(0, newline), *fields);
  return 0;
}
