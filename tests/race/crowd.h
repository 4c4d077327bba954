// SPDX-License-Identifier: Apache-2.0
// Many processes that begin at the same moment.
#pragma once

#include <string>
#include <vector>

namespace slicebroker::race {

struct Command {
  std::vector<std::string> words;  // the program is found by PATH
  std::string input = {};          // its stdin
};

struct Ending {
  int status = 0;      // 128 + N of one that signal N ended
  std::string output;  // stdout and stderr
};

// Starts them all, lets them go together, and waits for each: endings in the order of the commands. Throws
// std::runtime_error where a process can't be made.
std::vector<Ending> run_at_once(const std::vector<Command>& commands);

}  // namespace slicebroker::race
