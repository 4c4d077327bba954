// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/workers.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>

namespace slicebroker::simhost {
namespace {

constexpr int kUsual = 4;
thread_local bool is_worker = false;

}  // namespace

Workers::Workers(fuse_session* session)
    : session_(session), stop_(::eventfd(0, EFD_CLOEXEC)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  const int device = fuse_session_fd(session);
  ::fcntl(device, F_SETFL, ::fcntl(device, F_GETFL) | O_NONBLOCK);
  for (const int fd : {device, stop_.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
}

void Workers::start() {
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < kUsual; ++i) start_one();
}

void Workers::drain() {
  std::unique_lock lock(mutex_);
  fewer_.wait_for(lock, std::chrono::seconds(1), [this] { return answering_ == 0; });
}

void Workers::stop() {
  ::eventfd_write(stop_.get(), 1);
  std::unique_lock lock(mutex_);
  fewer_.wait(lock, [this] { return threads_ == 0; });
}

void Workers::start_one() {
  ++threads_;
  ++serving_;
  // Signals are for the threads of whoever uses the library.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([this] { run(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool Workers::serve_one(fuse_buf& buffer) {
  epoll_event event{};
  if (::epoll_wait(epoll_.get(), &event, 1, -1) != 1) return errno == EINTR;
  if (event.data.fd == stop_.get()) return false;
  count_answering(1);
  const int got = fuse_session_receive_buf(session_, &buffer);
  if (got > 0) fuse_session_process_buf(session_, &buffer);
  count_answering(-1);
  return got > 0 || got == -EAGAIN || got == -EINTR;
}

void Workers::count_answering(int more) {
  const std::lock_guard lock(mutex_);
  answering_ += more;
  if (answering_ == 0) fewer_.notify_all();
}

void Workers::leave() {
  --threads_;
  --serving_;
  fewer_.notify_all();
}

bool Workers::leave_if_surplus() {
  const std::lock_guard lock(mutex_);
  if (serving_ <= kUsual) return false;
  leave();
  return true;
}

void Workers::run() {
  is_worker = true;
  fuse_buf buffer{};
  bool left = false;
  while (!left && serve_one(buffer)) left = leave_if_surplus();
  std::free(buffer.mem);  // libfuse allocates it with malloc
  if (left) return;
  const std::lock_guard lock(mutex_);
  leave();
}

void Workers::begin_wait() {
  if (!is_worker) return;
  const std::lock_guard lock(mutex_);
  if (--serving_ == 0) start_one();
}

void Workers::end_wait() {
  if (!is_worker) return;
  const std::lock_guard lock(mutex_);
  ++serving_;
}

}  // namespace slicebroker::simhost
