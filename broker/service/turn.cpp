// SPDX-License-Identifier: Apache-2.0
#include "broker/service/turn.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <thread>

namespace slicebroker::broker {
namespace {

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// 0 where nobody has it any more.
pid_t holder_of(int file) {
  auto lock = whole_file();
  return ::fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

}  // namespace

// A record lock is the process's own: children that outlive it do not inherit it.
Turn Turn::wait(const std::string& state_directory, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPause{20};  // of a crowd somebody always looks sooner
  UniqueFd file(
      ::open((state_directory + "/turn").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!file.valid()) return Turn(UniqueFd());  // then everybody looks at once
  pid_t holder = -1;
  auto since = std::chrono::steady_clock::now();
  for (auto lock = whole_file(); ::fcntl(file.get(), F_SETLK, &lock) != 0; std::this_thread::sleep_for(kPause)) {
    const auto now = std::chrono::steady_clock::now();
    if (const auto current = holder_of(file.get()); current != holder) {
      holder = current;
      since = now;
    }
    if (now - since >= patience) break;
  }
  return Turn(std::move(file));
}

}  // namespace slicebroker::broker
