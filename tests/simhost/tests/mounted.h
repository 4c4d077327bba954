// SPDX-License-Identifier: Apache-2.0
// The host of small_host.cpp, mounted, and what tests do with it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "tests/simhost/simhost.h"

namespace slicebroker::simhost {

std::unique_ptr<SimHost> start_small_host();

// What one open(2), read(2) and so on gave: the text, or "errno EIO".
std::string read_text(const std::string& path);
// 0 or an errno.
int write_text(const std::string& path, const std::string& value, int flags = 0);

// A process of its own.
class Child {
 public:
  explicit Child(const std::function<int()>& work);  // its result is the exit status
  ~Child();                                          // kills it
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const { return pid_; }
  // As waitpid(2) has it.
  int wait();

 private:
  pid_t pid_ = -1;
};

// Looks until it is so; false after ten seconds.
bool becomes(const std::function<bool()>& is_so);

}  // namespace slicebroker::simhost
