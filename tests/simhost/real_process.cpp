// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/real_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

std::string directory_of(pid_t pid) {
  return "/proc/" + std::to_string(pid);
}

std::string link_target(const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  return length < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(length));
}

std::vector<std::string> names_in(const std::string& directory) {
  const auto close_dir = [](DIR* dir) { ::closedir(dir); };
  const std::unique_ptr<DIR, decltype(close_dir)> dir(::opendir(directory.c_str()), close_dir);
  std::vector<std::string> names;
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

// The number behind "Name:\t" in /proc/<pid>/status.
pid_t status_number(pid_t pid, const std::string& field) {
  const auto status = read_real(pid, "status");
  const auto at = status ? status->find("\n" + field + ":\t") : std::string::npos;
  if (at == std::string::npos) return 0;
  const auto start = at + field.size() + 3;
  return number<pid_t>(status->substr(start, status->find('\n', start) - start)).value_or(0);
}

}  // namespace

pid_t process_of(pid_t thread) {
  return status_number(thread, "Tgid");
}

tl::expected<std::string, int> read_real(pid_t pid, const std::string& file) {
  const UniqueFd fd(::open((directory_of(pid) + "/" + file).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return tl::unexpected(errno == ENOENT ? ESRCH : errno);
  std::string text;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return tl::unexpected(errno);
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

std::string program_of(pid_t pid) {
  const auto executable = link_target(directory_of(pid) + "/exe");
  return executable.substr(executable.rfind('/') + 1);
}

std::map<std::string, std::string> open_nodes(pid_t pid, const std::string& mount_point) {
  std::map<std::string, std::string> nodes;
  const auto directory = directory_of(pid) + "/fd/";
  for (const auto& descriptor : names_in(directory)) {
    const auto target = link_target(directory + descriptor);
    if (target.starts_with(mount_point + "/dev/")) nodes[descriptor] = target.substr(mount_point.size());
  }
  return nodes;
}

std::vector<pid_t> real_holders(const std::string& node, const std::string& mount_point) {
  std::vector<pid_t> holders;
  for (const auto& process : names_in("/proc")) {
    const auto pid = number<pid_t>(process);
    if (!pid) continue;
    for (const auto& [descriptor, path] : open_nodes(*pid, mount_point)) {
      if (path == node) holders.push_back(*pid);
    }
  }
  return holders;
}

void kill_real(pid_t pid, Kin kin) {
  std::vector<pid_t> victims{pid};
  const auto program = link_target(directory_of(pid) + "/exe");
  while (kin == Kin::kWholeProgram && !program.empty()) {
    const pid_t parent = status_number(victims.front(), "PPid");
    if (parent <= 1 || parent == ::getpid() || link_target(directory_of(parent) + "/exe") != program) break;
    victims.insert(victims.begin(), parent);
  }
  for (const pid_t victim : victims) {
    if (victim > 1 && victim != ::getpid()) ::kill(victim, SIGKILL);
  }
}

RealProcess::RealProcess(pid_t pid) : pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}

bool RealProcess::exists() const {
  // EPERM: it is there, and somebody else's.
  return pidfd_.valid() && (::syscall(SYS_pidfd_send_signal, pidfd_.get(), 0, nullptr, 0) == 0 || errno == EPERM);
}

}  // namespace slicebroker::simhost
