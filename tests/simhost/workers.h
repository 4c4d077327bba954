// SPDX-License-Identifier: Apache-2.0
// The threads that answer the kernel. libfuse's own pool has a fixed size, by which a few hanging writes would stop
// everybody; here one more begins whenever all the others wait.
#pragma once

#include <condition_variable>
#include <mutex>

#include "vfio/base/unique_fd.h"

struct fuse_buf;
struct fuse_session;

namespace slicebroker::simhost {

class Workers {
 public:
  explicit Workers(fuse_session* session);
  ~Workers() { stop(); }
  void start();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Waits until every request that has come is answered, for a second at most: others may go on asking.
  void drain();

  // Ends all of them. They must be able to: nothing may wait any more.
  void stop();

  // Around whatever waits for other requests. Without effect in other threads than these.
  void begin_wait();
  void end_wait();

 private:
  void start_one();
  void run();
  bool serve_one(fuse_buf& buffer);  // false: the session is over
  void count_answering(int more);
  void leave();  // locked
  bool leave_if_surplus();

  fuse_session* session_;
  UniqueFd stop_;   // eventfd
  UniqueFd epoll_;  // of the session and stop_: wakes one of those that wait
  std::mutex mutex_;
  std::condition_variable fewer_;
  int threads_ = 0;
  int serving_ = 0;    // of them, those that do not wait
  int answering_ = 0;  // of them, those that have a request
};

}  // namespace slicebroker::simhost
