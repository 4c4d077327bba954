// SPDX-License-Identifier: Apache-2.0
// mdevctl's definitions: /etc/mdevctl.d/<parent>/<uuid>, JSON (source: mdevctl src/mdev.rs, persistent_path and
// load_from_json). Pure.
#pragma once

#include <string>
#include <string_view>

#include "vfio/base/result.h"

namespace slicebroker::vfio {

struct MdevctlDefinition {
  std::string type_id;     // "nvidia-699"
  bool autostart = false;  // made whenever its parent appears
  bool operator==(const MdevctlDefinition&) const = default;
};

// Errors: kFailed MALFORMED_CLAIM for what mdevctl itself would not load.
Result<MdevctlDefinition> parse_mdevctl_definition(std::string_view text);

}  // namespace slicebroker::vfio
