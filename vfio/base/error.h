// SPDX-License-Identifier: Apache-2.0
// What went wrong, in a form that every layer can add one line to and only entry points print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker {

// The class of a failure; the command line's exit status follows from it (see exit_status()).
enum class ErrorCode {
  kFailed,       // tried and did not happen
  kUsage,        // bad input: selector, option, XML, configuration
  kNotFound,     // what was named does not exist
  kHeld,         // somebody else has it
  kRefused,      // unsupported, unsafe or against policy
  kNoAnswer,     // the kernel or the VMM did not answer in time
  kHostChanged,  // the host was changed and could not be restored
  kDrift,        // ledger and host disagree
};

// What became of the host because of the operation that failed.
enum class HostOutcome { kUntouched, kRestored, kChanged };

// A process that was left behind in the kernel. Its pid alone may be another's later.
struct StuckProcess {
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot; 0: not known
  bool operator==(const StuckProcess&) const = default;
};

// One failure. A leaf states the operation, its subject, and errno with the path and value; each layer above
// adds at most one Error whose causes hold the layer below.
struct Error {
  ErrorCode code = ErrorCode::kFailed;
  std::string reason;                      // stable identifier such as GROUP_NOT_VIABLE; empty: the code's own name
  std::string tried;                       // the operation: "bind to vfio-pci"
  std::string subject;                     // device, group, path or VM
  std::string fact;                        // what was seen, one sentence
  int os_errno = 0;                        // 0: no system call failed
  std::string hint;                        // what the reader can do about it
  std::vector<Error> causes;               // the layer below, in order
  std::optional<HostOutcome> host;         // set by whoever knows
  std::optional<StuckProcess> stuck = {};  // still waiting for the answer that did not come
};

// The stable name of a code: "NOT_FOUND".
std::string_view name(ErrorCode code);

// The symbolic name of an errno: "EBUSY"; "errno 4711" for one the C library does not know.
std::string errno_name(int os_errno);

// A leaf error of a failed system call. The code follows from errno: ENOENT and ENODEV are kNotFound, else kFailed.
Error os_error(std::string tried, std::string subject, int os_errno);

// Wraps a cause in one more line of context; code, reason, hint and host outcome are taken over.
Error caused_by(std::string tried, std::string subject, Error cause);

}  // namespace slicebroker
