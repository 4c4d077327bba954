// SPDX-License-Identifier: Apache-2.0
// simhost as a command.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace slicebroker::simhost {
namespace {

// Prints what the script prints, then its status. $simhost is the command, $m an empty directory, $h a host file.
std::string run(const std::string& script) {
  const auto whole = std::string("simhost=") + SIMHOST_COMMAND +
                     "; m=$(mktemp -d); h=$(mktemp); echo small > $h; exec 2>&1\n" + script +
                     "\necho status $?; rmdir $m && rm $h";
  FILE* const pipe = ::popen(whole.c_str(), "r");
  std::array<char, 4096> buffer{};
  const auto length = std::fread(buffer.data(), 1, buffer.size(), pipe);
  ::pclose(pipe);
  return {buffer.data(), length};
}

TEST(Command, RunsAnotherWithTheHostAsItsRoot) {
  EXPECT_EQ(run("$simhost $m $h -- sh -c 'cat $SLICEBROKER_ROOT/sys/text $SIMHOST/sys/value; exit 7'"),
            "hello\n0\nstatus 7\n");
  EXPECT_EQ(run("$simhost $m $h -- sh -c 'ls $SLICEBROKER_NVML > /dev/null 2>&1 || echo no library'"),
            "no library\nstatus 0\n");
}

TEST(Command, StaysUntilItIsTerminated) {
  EXPECT_EQ(run("$simhost $m $h > $h.out & while ! grep -qs mounted $h.out; do sleep 0.01; done; rm $h.out\n"
                "cat $m/sys/text; kill $!; wait $!"),
            "hello\nstatus 0\n");
}

TEST(Command, EndsWhenItIsUnmounted) {
  EXPECT_EQ(run("$simhost $m $h > $h.out & while ! grep -qs mounted $h.out; do sleep 0.01; done; rm $h.out\n"
                "umount $m; wait $!"),
            "status 0\n");
}

TEST(Command, FailsWhenSomethingWasNotModelled) {
  EXPECT_EQ(run("$simhost $m $h -- sh -c 'echo 1 > $SIMHOST/sys/unmodelled || true' 2>&1 | grep -v '^sh'"),
            "simhost: not modelled: write sys/unmodelled '1'\nstatus 0\n");
  EXPECT_EQ(run("$simhost $m $h -- sh -c 'echo 1 > $SIMHOST/sys/unmodelled || true' > /dev/null 2>&1"), "status 1\n");
}

TEST(Command, EndsAlthoughItsCommandHangs) {
  EXPECT_EQ(run("$simhost $m $h -- sh -c 'echo hang write \\* > $SIMHOST/.simhost/control;"
                " echo 1 > $SIMHOST/sys/value' 2> /dev/null &"
                " while ! grep -qs write $m/.simhost/operations; do sleep 0.01; done; kill $!; wait $!"),
            "status 143\n");
}

TEST(Command, SaysWhatIsWrong) {
  EXPECT_EQ(run("$simhost $m"), "simhost: usage: simhost MOUNTPOINT HOST [-- COMMAND...]\nstatus 2\n");
  EXPECT_EQ(run("$simhost $m no-such-host"), "simhost: no-such-host: no such file, and no such host\nstatus 2\n");
  EXPECT_EQ(run("printf wrong > $h; $simhost $m $h"), "simhost: line 1: this is wrong\nstatus 1\n");
  EXPECT_EQ(run("$simhost $m/none $h 2>&1 | sed s:$m/::"), "simhost: none: No such file or directory\nstatus 0\n");
}

TEST(Command, MountsOverWhatAKilledOneLeft) {
  EXPECT_EQ(run("$simhost $m $h > $h.out & while ! grep -qs mounted $h.out; do sleep 0.01; done; rm $h.out\n"
                "kill -9 $!; wait $! 2> /dev/null; $simhost $m $h -- cat $m/sys/text"),
            "hello\nstatus 0\n");
}

}  // namespace
}  // namespace slicebroker::simhost
