// SPDX-License-Identifier: Apache-2.0
// A scenario as a text file: commands on a simulated host, each followed by what it printed and how it ended.
//
//   host a100-mdev                         the host of tests/simhost/hosts, or HOST.host beside it; first line
//   # words for the reader
//   ! gpu 0000:41:00.0 lost                a line for the host's control file
//   = remember                             the host as it is now
//   = same                                 it must be as at the last "= remember", or at the beginning
//   $ slicebroker list gpus                a command for the shell: SLICEBROKER_ROOT, _NVML and _STATE are set,
//                                          and the hypervisors of tests/vmm are there
//   % slicebroker list gpus                the same, run once even if it must change nothing: the host changes
//   meanwhile
//     ...                                  what it printed, stdout and stderr in one, indented by two spaces
//     [4]                                  how it ended, where that was not 0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace slicebroker::scenarios {

struct Entry {
  enum class Kind { kComment, kControl, kCommand, kCommandOnce, kRemember, kSame };
  Kind kind = Kind::kComment;
  std::string text;    // without its mark; of a comment the whole line
  std::string output;  // of a command: lines as they stand
  int status = 0;
};

struct Transcript {
  std::string host;
  std::vector<Entry> entries;
};

// The error names the line.
tl::expected<Transcript, std::string> parse_transcript(std::string_view text);
std::string to_text(const Transcript& transcript);

}  // namespace slicebroker::scenarios
