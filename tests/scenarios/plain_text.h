// SPDX-License-Identifier: Apache-2.0
// Output without what differs from run to run.
#pragma once

#include <map>
#include <string>

namespace slicebroker::scenarios {

// Columns of tables one gap apart, however wide they were.
std::string with_narrow_columns(const std::string& text);

class PlainText {
 public:
  // UUIDs that stand in `known` stay.
  explicit PlainText(std::string known) : known_(std::move(known)) {}

  // Drawn UUIDs become UUID-1, UUID-2 ... in the order in which they appear (MIG-<uuid> and GPU-<uuid> are the host's
  // and stay), times TIME, and the pids of real processes PID.
  std::string of(const std::string& text);

 private:
  std::string known_;
  std::map<std::string, std::string> names_;
};

}  // namespace slicebroker::scenarios
