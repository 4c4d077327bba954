// SPDX-License-Identifier: Apache-2.0
#include "broker/service/turn.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using namespace std::chrono_literals;

class TurnTest : public testing::Test {
 protected:
  // A process that has the turn until it is killed.
  pid_t start_holder() {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const auto turn = Turn::wait(directory_.directory(), 1h);
      [[maybe_unused]] const auto told = ::write(ready[1], ".", 1);
      ::pause();
      ::_exit(0);
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
    return pid;
  }

  static void end(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  std::chrono::milliseconds waited(std::chrono::milliseconds patience) const {
    const auto start = std::chrono::steady_clock::now();
    const auto turn = Turn::wait(directory_.directory(), patience);
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  }

  test::FixtureHost directory_;
};

TEST_F(TurnTest, ComesAtOnceWhereNobodyHasIt) {
  EXPECT_LT(waited(1h), 10s);
  EXPECT_LT(waited(1h), 10s) << "it ended with the object";
}

TEST_F(TurnTest, ComesWhenItsHolderIsKilled) {
  const pid_t holder = start_holder();
  const pid_t killer = ::fork();
  if (killer == 0) {
    ::usleep(100'000);
    ::kill(holder, SIGKILL);
    ::_exit(0);
  }
  EXPECT_GE(waited(1h), 50ms);
  ::waitpid(killer, nullptr, 0);
  end(holder);
}

TEST_F(TurnTest, OfOneThatKeepsItIsNotWaitedFor) {
  const pid_t holder = start_holder();
  EXPECT_GE(waited(300ms), 300ms);
  end(holder);
}

TEST_F(TurnTest, IsNobodysInADirectoryThatIsNotThere) {
  EXPECT_NO_FATAL_FAILURE(Turn::wait(directory_.directory() + "/nowhere", 1h));
}

}  // namespace
}  // namespace slicebroker::broker
