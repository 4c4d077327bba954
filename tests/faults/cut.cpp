// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/cut.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

namespace slicebroker::faults {
namespace {

constexpr std::array kWayNames = {std::pair(Way::kFail, "fail"),
                                  std::pair(Way::kFailAfter, "fail-after"),
                                  std::pair(Way::kFailOn, "fail-on"),
                                  std::pair(Way::kHang, "hang"),
                                  std::pair(Way::kSilent, "silent"),
                                  std::pair(Way::kSilentAfter, "silent-after"),
                                  std::pair(Way::kLate, "late"),
                                  std::pair(Way::kKillBefore, "kill-before"),
                                  std::pair(Way::kKillAfter, "kill-after"),
                                  std::pair(Way::kTear, "tear")};

// What can happen to operations of a kind whose subject begins so.
struct Fits {
  Side side;
  std::string_view kind;
  std::string_view subject;
  std::vector<int> errnos;        // without an effect
  std::vector<int> errnos_after;  // with its whole effect
  std::vector<int> errnos_on;     // it and every later one
  std::vector<Way> others;
};

// The first line that matches counts. An operation that only looks is killed before it: after it is before the next.
const std::vector<Fits>& table() {
  using enum Way;
  static const std::vector<Fits> lines = {
      {Side::kHost,
       "write",
       "vmm/",
       {EIO, EPIPE, ETIMEDOUT},
       {EPIPE, ETIMEDOUT},
       {},
       {kSilent, kSilentAfter, kLate, kKillBefore, kKillAfter}},
      {Side::kHost, "write", "", {EIO, EBUSY, EINVAL, ENODEV, ENOSPC, EACCES}, {EIO}, {}, {kKillBefore, kKillAfter}},
      // What the kernel tells of processes and of itself is in memory, under no lock that a device could hold.
      {Side::kHost, "read", "proc", {EIO, EACCES}, {}, {}, {kKillBefore}},
      {Side::kHost, "list", "proc", {EACCES, EMFILE}, {}, {}, {kKillBefore}},
      {Side::kHost, "read", "", {EIO, ENODEV, EACCES}, {}, {}, {kKillBefore}},
      {Side::kHost, "open", "", {EIO, EBUSY, EACCES}, {}, {}, {kKillBefore, kKillAfter}},
      // ENOENT would be no failure but an answer: no driver, no such device.
      {Side::kHost, "list", "", {EIO, EACCES, EMFILE}, {}, {}, {kKillBefore}},
      {Side::kHost, "link", "", {EIO, EACCES}, {}, {}, {kKillBefore}},
      {Side::kLedger, "open", "", {EACCES, EMFILE, ENOSPC, EROFS}, {}, {}, {kKillBefore, kKillAfter}},
      {Side::kLedger, "read", "", {EIO}, {}, {}, {kKillBefore}},
      {Side::kLedger, "write", "", {EIO, ENOSPC}, {}, {EIO, ENOSPC}, {kKillBefore, kKillAfter, kTear}},
      {Side::kLedger, "sync", "", {EIO}, {}, {EIO}, {kKillBefore, kKillAfter}},
      {Side::kLedger, "truncate", "", {EIO, ENOSPC}, {}, {ENOSPC}, {kKillBefore, kKillAfter}},
      // That one file can't be removed and the next one can is no state of a disk.
      {Side::kLedger, "unlink", "", {}, {}, {EROFS}, {kKillBefore, kKillAfter}},
      {Side::kLedger, "link", "", {EACCES, ENOSPC, EROFS}, {}, {}, {kKillBefore, kKillAfter}},
  };
  return lines;
}

const Fits* find_fits(Side side, std::string_view kind, std::string_view subject) {
  for (const auto& line : table()) {
    if (line.side == side && line.kind == kind && subject.starts_with(line.subject)) return &line;
  }
  return nullptr;
}

int errno_of(std::string_view text) {
  constexpr int kMost = 256;
  for (int value = 1; value < kMost; ++value) {
    const char* const known = strerrorname_np(value);
    if (known != nullptr && text == known) return value;
  }
  return 0;
}

}  // namespace

std::string to_string(const Cut& cut) {
  std::string text = (cut.side == Side::kHost ? "host " : "ledger ") + std::to_string(cut.number);
  for (const auto& [way, name] : kWayNames) {
    if (way == cut.way) text += std::string(" ") + name;
  }
  if (cut.os_errno != 0) text += std::string(" ") + strerrorname_np(cut.os_errno);
  return text;
}

std::optional<Cut> parse_cut(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string side, way, os_errno;
  Cut cut;
  words >> side >> cut.number >> way >> os_errno;
  cut.side = side == "ledger" ? Side::kLedger : Side::kHost;
  for (const auto& [known, name] : kWayNames) {
    if (way == name) cut.way = known;
  }
  cut.os_errno = errno_of(os_errno);
  if (to_string(cut) != text) return std::nullopt;
  return cut;
}

std::vector<Cut> list_cuts(Side side, const std::vector<std::string>& operations) {
  std::vector<Cut> cuts;
  for (const auto& operation : operations) {
    std::istringstream words(operation);
    std::size_t number = 0;
    std::string kind, subject;
    words >> number >> kind >> subject;
    const auto* fits = find_fits(side, kind, subject);
    if (fits == nullptr) continue;
    for (const int os_errno : fits->errnos) cuts.push_back({side, number, Way::kFail, os_errno});
    for (const int os_errno : fits->errnos_after) cuts.push_back({side, number, Way::kFailAfter, os_errno});
    for (const int os_errno : fits->errnos_on) cuts.push_back({side, number, Way::kFailOn, os_errno});
    for (const auto way : fits->others) cuts.push_back({side, number, way, 0});
  }
  return cuts;
}

std::vector<Cut> list_hangs(const std::vector<std::string>& operations_of_broker) {
  std::vector<Cut> cuts;
  for (const auto& operation : operations_of_broker) {
    if (operation.find(" " + std::string(kHanging)) == std::string::npos) continue;
    cuts.push_back({Side::kHost, cuts.size() + 1, Way::kHang, 0});
  }
  return cuts;
}

}  // namespace slicebroker::faults
