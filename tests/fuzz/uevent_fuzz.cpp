// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"
#include "vfio/host/uevent.h"

using namespace slicebroker;

namespace {

constexpr const char* kSubject = "a device";

std::string lines_of(const vfio::Uevent& uevent, char end) {
  std::string text;
  for (const auto& [key, value] : uevent.values) text += key + "=" + value + end;
  return text;
}

void require_subject(const Error& error) {
  fuzz::require_told(error, ErrorCode::kFailed, "MALFORMED_UEVENT");
  fuzz::require(error.subject == kSubject, "an error names its subject");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  const auto attribute = vfio::parse_uevent_attribute(text, kSubject);
  if (attribute) {
    const auto again = vfio::parse_uevent_attribute(lines_of(*attribute, '\n'), kSubject);
    fuzz::require(again && *again == *attribute, "an attribute written anew is the same");
  } else {
    require_subject(attribute.error());
  }
  const auto message = vfio::parse_uevent_message(text, kSubject);
  if (message) {
    const auto header = message->action + "@" + message->devpath + '\0';
    const auto again = vfio::parse_uevent_message(header + lines_of(*message, '\0'), kSubject);
    fuzz::require(again && *again == *message, "a message written anew is the same");
  } else {
    require_subject(message.error());
  }
  return 0;
}
