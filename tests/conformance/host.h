// SPDX-License-Identifier: Apache-2.0
// A host as system calls see it: everything below one directory, "/" for the machine itself. Uses nothing of the
// broker, so that it can't share a mistake with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::conformance {

// What one read of a file gave: an errno, or 0 and the text.
struct Text {
  int error = 0;
  std::string text;
};

// Closes its descriptor. A failed open is one with an errno.
class File {
 public:
  File(const std::string& path, int flags);
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File() { close(); }
  void close();
  int fd() const { return fd_; }
  int error() const { return error_; }
  Text read() const;                        // one read(2) from where the file is
  Text read_at(off_t offset) const;         // one pread(2)
  int write(std::string_view value) const;  // one write(2); EIO where it took less than all

 private:
  int fd_ = -1;
  int error_ = 0;
};

// Paths are relative to the host's root: "sys/bus/pci/devices".
class Host {
 public:
  explicit Host(std::string root);
  std::string path(const std::string& relative) const { return root_ + relative; }
  File open(const std::string& relative, int flags) const { return File(path(relative), flags); }
  int write(const std::string& relative, std::string_view value) const;  // 0 or the errno of open or write
  Text read(const std::string& relative) const;
  std::string line(const std::string& relative) const;  // without its newline; empty where it can't be read
  // The last component of a link's target; empty where there is no link.
  std::string link(const std::string& relative) const;
  bool exists(const std::string& relative) const;                    // a link that leads nowhere exists too
  std::vector<std::string> list(const std::string& relative) const;  // sorted; empty where there is no such directory

 private:
  std::string root_;  // ends in a slash
};

}  // namespace slicebroker::conformance
