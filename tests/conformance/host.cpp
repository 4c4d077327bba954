// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace slicebroker::conformance {
namespace {

constexpr std::size_t kReadSize = 64UL * 1024;

Text text_of(ssize_t count, std::string buffer) {
  if (count < 0) return {errno, ""};
  buffer.resize(static_cast<std::size_t>(count));
  return {0, std::move(buffer)};
}

}  // namespace

File::File(const std::string& path, int flags)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)), error_(fd_ < 0 ? errno : 0) {}

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), error_(other.error_) {}

void File::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Text File::read() const {
  if (error_ != 0) return {error_, ""};
  std::string buffer(kReadSize, '\0');
  const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
  return text_of(count, std::move(buffer));
}

Text File::read_at(off_t offset) const {
  if (error_ != 0) return {error_, ""};
  std::string buffer(kReadSize, '\0');
  const ssize_t count = ::pread(fd_, buffer.data(), buffer.size(), offset);
  return text_of(count, std::move(buffer));
}

int File::write(std::string_view value) const {
  if (error_ != 0) return error_;
  const ssize_t count = ::write(fd_, value.data(), value.size());
  if (count < 0) return errno;
  return static_cast<std::size_t>(count) == value.size() ? 0 : EIO;
}

Host::Host(std::string root) : root_(std::move(root)) {
  if (root_.empty() || root_.back() != '/') root_ += '/';
}

int Host::write(const std::string& relative, std::string_view value) const {
  return open(relative, O_WRONLY).write(value);
}

Text Host::read(const std::string& relative) const {
  const File file = open(relative, O_RDONLY);
  Text all = file.read();
  while (all.error == 0 && !all.text.empty()) {
    const Text more = file.read();
    if (more.error != 0 || more.text.empty()) break;
    all.text += more.text;
  }
  return all;
}

std::string Host::line(const std::string& relative) const {
  std::string text = read(relative).text;
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string Host::link(const std::string& relative) const {
  std::string target(4096, '\0');
  const ssize_t size = ::readlink(path(relative).c_str(), target.data(), target.size());
  if (size < 0) return "";
  target.resize(static_cast<std::size_t>(size));
  return target.substr(target.rfind('/') + 1);
}

bool Host::exists(const std::string& relative) const {
  struct stat status {};
  return ::lstat(path(relative).c_str(), &status) == 0;
}

std::vector<std::string> Host::list(const std::string& relative) const {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path(relative).c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace slicebroker::conformance
