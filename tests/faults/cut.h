// SPDX-License-Identifier: Apache-2.0
// A cut: one operation of a play, and what is done to it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::faults {

enum class Side {
  kHost,    // and its hypervisors: simhost's operations
  kLedger,  // what is done to the ledger's files: ledger_fault.c
};

enum class Way { kFail, kFailAfter, kFailOn, kHang, kSilent, kSilentAfter, kLate, kKillBefore, kKillAfter, kTear };

// Only what the broker does below it is made to hang, and is numbered by itself: what it finds in /proc, and when a VMM
// looks at its device, differs from play to play.
inline constexpr std::string_view kHanging = "sys/";
inline constexpr std::string_view kBroker = "slicebroker";

struct Cut {
  Side side = Side::kHost;
  std::size_t number = 0;  // of the operation, from 1
  Way way = Way::kFail;
  int os_errno = 0;  // kFail, kFailAfter, kFailOn

  bool hypervisor_is_silent() const { return way == Way::kSilent || way == Way::kSilentAfter || way == Way::kLate; }
  bool kills() const { return way == Way::kKillBefore || way == Way::kKillAfter || way == Way::kTear; }
  bool operator==(const Cut&) const = default;
};

// "host 17 fail EIO", "host 17 fail-after EPIPE", "host 17 hang", "ledger 3 tear", "ledger 3 fail-on ENOSPC": and every
// later one.
std::string to_string(const Cut& cut);
std::optional<Cut> parse_cut(std::string_view text);

// Every cut of operations that are named as they were counted: "17 read sys/bus/pci/...", "3 write wal".
std::vector<Cut> list_cuts(Side side, const std::vector<std::string>& operations);

// Every way in which one of the broker's own operations on the host never returns.
std::vector<Cut> list_hangs(const std::vector<std::string>& operations_of_broker);

}  // namespace slicebroker::faults
