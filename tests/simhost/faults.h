// SPDX-License-Identifier: Apache-2.0
// Operations on a simulated host, by number, and the faults that are placed on them. README.md has the grammar.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace slicebroker::simhost {

// What is counted: only what the kernel asks for each time, so that one client's run has the same numbers every time.
enum class OperationKind {
  kRead,   // an attribute's text is made
  kWrite,  // one write(2)
  kOpen,   // of a device node
  kList,   // a directory is opened for listing
  kLink,   // a symbolic link is read or passed through
};
std::string_view name(OperationKind kind);

struct Fault {
  enum class Effect { kFail, kHang, kSlow, kKill, kDo };
  enum class Moment { kBefore, kAfter };  // kFail, kKill: the operation has no effect, or its whole one
  enum class Victim { kProcess, kProgram };

  Effect effect = Effect::kFail;
  std::optional<OperationKind> kind;  // none: any
  std::string glob;                   // of the path below the root; '*' matches '/' too
  std::string program;                // name of the executable that asks; empty: any
  std::uint64_t after = 0;            // this many matching operations pass first
  std::uint64_t times = std::numeric_limits<std::uint64_t>::max();
  int os_errno = 0;                    // kFail
  std::chrono::milliseconds delay{0};  // kSlow
  Moment moment = Moment::kBefore;     // kFail, kKill
  Victim victim = Victim::kProcess;    // kKill
  std::string command;                 // kDo

  std::uint64_t seen = 0;  // matching operations so far
};

// "fail write */drivers_probe EIO after=1". The error says what is wrong with the line.
tl::expected<Fault, std::string> parse_fault(std::string_view line);

// Not locked: callers hold the host's lock.
class Operations {
 public:
  void add(Fault fault) { faults_.push_back(std::move(fault)); }
  void clear_faults() { faults_.clear(); }
  void clear_hangs();
  // The next operation is number 1, and faults count from it.
  void restart_count();

  // Numbers an operation that `program` asks for; returns the faults that hit it, in the order in which they were set.
  std::vector<Fault> begin(OperationKind kind, const std::string& path, const std::string& program);

  // Of all programs, or of one.
  std::vector<std::string> log(std::string_view program) const;

 private:
  struct Entry {
    std::string text;
    std::string program;
  };

  std::vector<Fault> faults_;
  std::vector<Entry> log_;
};

}  // namespace slicebroker::simhost
