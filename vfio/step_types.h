// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "vfio/base/pci_address.h"
#include "vfio/base/result.h"
#include "vfio/base/text.h"
#include "vfio/base/uuid.h"

namespace slicebroker::vfio {

// A step or what it saw, as text: keys and values without structure of their own.
using Fields = std::map<std::string, std::string, std::less<>>;

// What a step found before it ran.
struct Observation {
  Fields before;            // enough to restore it
  bool already_so = false;  // the host is as wanted: not ours to undo
};

// Reading fields back. Errors: kFailed, reason MALFORMED_RECORD, naming the key.
Result<std::string> text_field(const Fields& fields, std::string_view key);
Result<PciAddress> address_field(const Fields& fields, std::string_view key);
Result<Uuid> uuid_field(const Fields& fields, std::string_view key);
Result<std::uint32_t> number_field(const Fields& fields, std::string_view key);
// nullopt where the key is absent.
Result<std::optional<std::uint32_t>> find_number_field(const Fields& fields, std::string_view key);

}  // namespace slicebroker::vfio
