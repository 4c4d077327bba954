// SPDX-License-Identifier: Apache-2.0
// What may hang is done by a child, and who makes it hang is an open VFIO device.
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>
#include <utility>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

constexpr auto kLook = std::chrono::milliseconds(10);
constexpr int kLooksOfAHang = 25;  // asleep each time: long for a write that is only slow
constexpr auto kDeadline = std::chrono::seconds(20);

// The state letter of a process of this machine (not of a simulated host).
char process_state(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = stat.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= stat.size() ? '?' : stat[name_end + 2];
}

}  // namespace

Attempt::Attempt(const std::function<int()>& operation) : pid_(::fork()) {
  if (pid_ < 0) throw Mismatch("cannot fork: " + errno_name(errno));
  if (pid_ > 0) return;
  // What the parent holds open must not be held open by the child that waits for its close.
  ::close_range(3, ~0U, 0);
  ::_exit(operation());
}

Attempt Attempt::write(const Host& host, const std::string& file, std::string value) {
  return Attempt([&host, file, value = std::move(value)] { return host.write(file, value); });
}

Attempt Attempt::read(const Host& host, const std::string& file) {
  return Attempt([&host, file] { return host.read(file).error; });
}

Attempt::Attempt(Attempt&& other) noexcept : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

// No wait: one that still hangs may hang for ever.
Attempt::~Attempt() {
  if (pid_ > 0 && !ended()) ::kill(pid_, SIGKILL);
}

bool Attempt::ended() {
  if (status_ >= 0) return true;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  return true;
}

void Attempt::hangs(const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  int asleep = 0;
  while (asleep < kLooksOfAHang && std::chrono::steady_clock::now() < end) {
    if (ended()) throw Mismatch(what + ": wanted it to wait, saw " + errno_name(status_));
    const char state = process_state(pid_);
    asleep = state == 'S' || state == 'D' ? asleep + 1 : 0;
    std::this_thread::sleep_for(kLook);
  }
  if (asleep < kLooksOfAHang) throw Mismatch(what + ": wanted it to wait, saw that it runs on and on");
}

void Attempt::ends(const std::string& what, int wanted) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!ended()) {
    if (std::chrono::steady_clock::now() >= end)
      throw Mismatch(what + ": wanted " + errno_name(wanted) + ", saw no end");
    std::this_thread::sleep_for(kLook);
  }
  if (status_ != wanted) throw Mismatch(what + ": wanted " + errno_name(wanted) + ", saw " + errno_name(status_));
}

VfioUser::VfioUser(const Run& run, const std::string& group_node, const std::string& device)
    : container_(run.host.path("dev/vfio/vfio"), O_RDWR), group_(run.host.path(group_node), O_RDWR) {
  run.gives("open " + group_node, 0, group_.error());
  if (run.roles.simulated) return;
  run.gives("open dev/vfio/vfio", 0, container_.error());
  int container = container_.fd();
  if (::ioctl(group_.fd(), VFIO_GROUP_SET_CONTAINER, &container) != 0) run.gives("VFIO_GROUP_SET_CONTAINER", 0, errno);
  if (::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) run.gives("VFIO_SET_IOMMU", 0, errno);
  device_ = ::ioctl(group_.fd(), VFIO_GROUP_GET_DEVICE_FD, device.c_str());
  if (device_ < 0) run.gives("VFIO_GROUP_GET_DEVICE_FD", 0, errno);
}

void VfioUser::close() {
  if (device_ >= 0) ::close(std::exchange(device_, -1));
  group_.close();
  container_.close();
}

}  // namespace slicebroker::conformance
