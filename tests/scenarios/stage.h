// SPDX-License-Identifier: Apache-2.0
// Where a scenario plays: a simulated host, a ledger of its own, and hypervisors beside it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tests/scenarios/plain_text.h"
#include "tests/simhost/simhost.h"

namespace slicebroker::scenarios {

struct Answer {
  std::string output;
  int status = 0;
  bool operator==(const Answer&) const = default;
};

// What ends a scenario: thrown, so that the stage is cleared.
[[noreturn]] void fail(const std::string& what);
std::string read_file(const std::filesystem::path& path);
// Where two texts first differ, for people.
std::string difference(const std::string& wanted, const std::string& seen);

class Stage {
 public:
  // `text` is the transcript's: what is named there stays as it is in answers.
  Stage(const std::filesystem::path& host_file, const std::filesystem::path& binaries, const std::string& text);
  ~Stage();  // ends every process that a command has left
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  simhost::SimHost& host() { return *host_; }

  Answer run(const std::string& command);
  // Runs a command that must change nothing twice.
  Answer run_twice(const std::string& command);

  void remember() { remembered_ = host_->snapshot(); }
  // Fails unless the host is as it was at the last remember(), or at the beginning.
  void check_same() const;

 private:
  std::unique_ptr<simhost::SimHost> host_;
  std::string state_;
  std::string remembered_;
  PlainText plain_;
};

}  // namespace slicebroker::scenarios
