// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/host_root.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include "vfio/host/child.h"
#include "vfio/host/holders.h"

namespace slicebroker::vfio {
namespace {

// A ".." on the way, which every link in sysfs has, is answered with EAGAIN where a mount or rename anywhere on the
// machine came in between (openat2(2)); a VM host mounts often, and tries are cheap.
int open_in_root(int root, const char* path, int flags) {
  constexpr int kMostTries = 10'000;
  open_how how{};
  how.flags = static_cast<decltype(how.flags)>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT;
  int fd = -1;
  for (int tries = 0; tries < kMostTries; ++tries) {
    fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
    if (fd >= 0 || errno != EAGAIN) break;
    ::sched_yield();
  }
  return fd;
}

// One write(2) of the whole value; 0 or an errno. Async-signal-safe: it also runs in a forked child.
int write_whole(int root, const char* path, std::string_view value) {
  const int fd = open_in_root(root, path, O_WRONLY);
  if (fd < 0) return errno;
  const ssize_t written = ::write(fd, value.data(), value.size());
  const int result = written < 0 ? errno : (static_cast<std::size_t>(written) == value.size() ? 0 : EIO);
  ::close(fd);
  return result;
}

Error write_error(const HostRoot& host, std::string_view path, std::string_view value, int os_errno) {
  while (!value.empty() && value.back() == '\n') value.remove_suffix(1);
  return os_error("write '" + std::string(value) + "'", host.display(path), os_errno);
}

Error known_silence(std::string path) {
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "DEVICE_SILENT";
  error.tried = "read";
  error.subject = std::move(path);
  error.fact = "the device does not answer";
  return error;
}

bool missing(const Error& error) {
  return error.os_errno == ENOENT || error.os_errno == ENOTDIR;
}

}  // namespace

HostRoot::HostRoot(UniqueFd root, std::string directory) : root_(std::move(root)), directory_(std::move(directory)) {
  while (directory_.ends_with('/')) directory_.pop_back();
}

Result<HostRoot> HostRoot::open(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail(os_error("open the host's root", directory, errno));
  return HostRoot(std::move(fd), directory);
}

std::string HostRoot::display(std::string_view path) const {
  return directory_ + "/" + std::string(path);
}

HostRoot HostRoot::watched_by(const Watch& watch) const {
  HostRoot root = again();
  root.watch_ = &watch;
  return root;
}

HostRoot HostRoot::again() const {
  HostRoot root(UniqueFd(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0)), directory_);
  root.watch_ = watch_;
  return root;
}

Result<UniqueFd> HostRoot::open_below(std::string_view path, int flags) const {
  if (watch_ != nullptr) {
    const bool looks_up = (flags & (O_PATH | O_DIRECTORY)) != 0;
    if (watch_->avoids(path, looks_up ? Watch::Access::kLookUp : Watch::Access::kRead)) {
      return fail(known_silence(display(path)));
    }
    watch_->begin(Watch::Kind::kFile, path);
  }
  UniqueFd fd(open_in_root(root_.get(), std::string(path).c_str(), flags));
  if (!fd.valid()) return fail(os_error("open", display(path), errno));
  return fd;
}

Result<std::string> HostRoot::read_attr(std::string_view path) const {
  constexpr std::size_t kMost = 1 << 20;
  SLICEBROKER_TRY(auto fd, open_below(path, O_RDONLY));
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < kMost) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return fail(os_error("read", display(path), errno));
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<std::optional<std::string>> HostRoot::find_attr(std::string_view path) const {
  auto text = read_attr(path);
  if (text) return std::optional(*std::move(text));
  if (missing(text.error())) return std::optional<std::string>();
  return fail(std::move(text).error());
}

Result<std::optional<std::string>> HostRoot::find_text(std::string_view path, std::size_t most) const {
  constexpr std::size_t kChunk = 1 << 16;
  auto fd = open_below(path, O_RDONLY);
  if (!fd && missing(fd.error())) return std::optional<std::string>();
  if (!fd) return fail(std::move(fd).error());
  std::string text;
  while (true) {
    const std::size_t size = text.size();
    text.resize(size + kChunk);
    const ssize_t got = ::read(fd->get(), text.data() + size, kChunk);
    if (got < 0) return fail(os_error("read", display(path), errno));
    text.resize(size + static_cast<std::size_t>(got));
    if (text.size() > most) return fail(os_error("read", display(path), EFBIG));
    if (got == 0) return std::optional(std::move(text));
  }
}

Result<std::vector<std::string>> HostRoot::list_dir(std::string_view path) const {
  SLICEBROKER_TRY(auto fd, open_below(path, O_RDONLY | O_DIRECTORY));
  const auto close_dir = [](DIR* dir) { ::closedir(dir); };
  std::unique_ptr<DIR, decltype(close_dir)> dir(::fdopendir(::dup(fd.get())), close_dir);
  if (!dir) return fail(os_error("list", display(path), errno));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view entry_name = entry->d_name;
    if (entry_name != "." && entry_name != "..") names.emplace_back(entry_name);
    errno = 0;
  }
  if (errno != 0) return fail(os_error("list", display(path), errno));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> HostRoot::find_dir(std::string_view path) const {
  auto names = list_dir(path);
  if (!names && missing(names.error())) return std::vector<std::string>();
  return names;
}

Result<std::string> HostRoot::read_link(std::string_view path) const {
  SLICEBROKER_TRY(auto fd, open_below(path, O_PATH | O_NOFOLLOW));
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlinkat(fd.get(), "", target.data(), target.size());
  if (length < 0) return fail(os_error("read link", display(path), errno));
  return std::string(target.data(), static_cast<std::size_t>(length));
}

Result<std::optional<std::string>> HostRoot::find_link_name(std::string_view path) const {
  auto target = read_link(path);
  if (target) return std::optional(target->substr(target->rfind('/') + 1));
  if (missing(target.error())) return std::optional<std::string>();
  return fail(std::move(target).error());
}

Result<bool> HostRoot::is_there(std::string_view path) const {
  auto fd = open_below(path, O_PATH);
  if (fd) return true;
  if (missing(fd.error())) return false;
  return fail(std::move(fd).error());
}

Result<void> HostRoot::write_attr(std::string_view path, std::string_view value) const {
  const int result = write_whole(root_.get(), std::string(path).c_str(), value);
  if (result != 0) return fail(write_error(*this, path, value, result));
  return {};
}

Result<void> HostRoot::write_attr_within(std::string_view path, std::string_view value,
                                         std::chrono::milliseconds deadline) const {
  const std::string path_text(path);  // nothing may allocate in the child
  if (watch_ != nullptr) watch_->begin(Watch::Kind::kWrite, path);
  const auto outcome =
      run_in_child([&] { return write_whole(root_.get(), path_text.c_str(), value); }, deadline, {root_.get()});
  if (watch_ != nullptr) watch_->begin(Watch::Kind::kNothing, "");
  if (outcome.state == ChildOutcome::State::kSilent) {
    Error error;
    error.code = ErrorCode::kNoAnswer;
    error.reason = "WEDGED";
    error.tried = "write '" + std::string(value.substr(0, value.find('\n'))) + "'";
    error.subject = display(path);
    error.fact = "the kernel has not answered in " + std::to_string(deadline.count()) + " ms; process " +
                 std::to_string(outcome.pid) + " is still waiting in it";
    error.hint = "find who uses the device and end it; the write goes through then";
    const auto process = find_process(*this, outcome.pid);
    error.stuck = StuckProcess{outcome.pid, process ? process->start_time : 0};
    return fail(std::move(error));
  }
  if (outcome.os_errno != 0) return fail(write_error(*this, path, value, outcome.os_errno));
  return {};
}

}  // namespace slicebroker::vfio
