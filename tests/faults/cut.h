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

enum class Way { kFail, kFailAfter, kFailOn, kHang, kKillBefore, kKillAfter, kTear };

// Only below it is anything made to hang, and there these are numbered by themselves: /proc differs from play to play.
inline constexpr std::string_view kHanging = "sys/";

struct Cut {
  Side side = Side::kHost;
  std::size_t number = 0;  // of the operation, from 1
  Way way = Way::kFail;
  int os_errno = 0;  // kFail, kFailAfter, kFailOn

  bool kills() const { return way == Way::kKillBefore || way == Way::kKillAfter || way == Way::kTear; }
  bool operator==(const Cut&) const = default;
};

// "host 17 fail EIO", "host 17 fail-after EPIPE", "host 17 hang", "ledger 3 tear", "ledger 3 fail-on ENOSPC": and every
// later one.
std::string to_string(const Cut& cut);
std::optional<Cut> parse_cut(std::string_view text);

// Every cut of operations that are named as they were counted: "17 read sys/bus/pci/...", "3 write wal".
std::vector<Cut> list_cuts(Side side, const std::vector<std::string>& operations);

}  // namespace slicebroker::faults
