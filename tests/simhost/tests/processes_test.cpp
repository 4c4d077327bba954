// SPDX-License-Identifier: Apache-2.0
// /proc of a mounted host, as slicebroker reads it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "tests/simhost/tests/mounted.h"
#include "vfio/host/child.h"
#include "vfio/host/holders.h"
#include "vfio/host/host_root.h"

namespace slicebroker::simhost {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

class Proc : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(host_); }
  std::string path(const std::string& below) const { return host_->root() + "/" + below; }
  vfio::HostRoot root() const { return *vfio::HostRoot::open(host_->root()); }
  int command(const std::string& line) { return write_text(path(".simhost/control"), line); }
  std::vector<std::string> processes() const { return *root().list_dir("proc"); }

  std::unique_ptr<SimHost> host_ = start_small_host();
};

TEST_F(Proc, ShowsSimulatedProcesses) {
  ASSERT_EQ(command("process 7000001 nv-hostengine unit=nvidia-dcgm.service /dev/many /dev/node"), 0);
  EXPECT_EQ(read_text(path("proc/7000001/comm")), "nv-hostengine\n");
  EXPECT_EQ(read_text(path("proc/7000001/cmdline")), std::string("nv-hostengine\0", 14));
  EXPECT_EQ(read_text(path("proc/7000001/cgroup")), "0::/system.slice/nvidia-dcgm.service\n");
  EXPECT_THAT(*root().list_dir("proc/7000001/fd"), ElementsAre("3", "4"));
  EXPECT_EQ(*root().read_link("proc/7000001/fd/4"), "/dev/node");
  const auto identity = vfio::find_process(root(), 7000001);
  ASSERT_TRUE(identity);
  EXPECT_EQ(read_text(path("sys/opens")), "1\n");

  EXPECT_EQ(read_text(path("dev/node")), "errno EBUSY");
  ASSERT_EQ(command("close 7000001 /dev/node"), 0);
  EXPECT_EQ(read_text(path("dev/node")), "errno EINVAL");
  ASSERT_EQ(command("end 7000001"), 0);
  EXPECT_EQ(read_text(path("sys/opens")), "0\n");
  EXPECT_FALSE(vfio::find_process(root(), 7000001));
  ASSERT_EQ(command("process 7000001 again"), 0);
  EXPECT_NE(vfio::find_process(root(), 7000001), identity);
}

TEST_F(Proc, RefusesProcessesThatCannotBe) {
  ASSERT_EQ(command("process 7000001 one /dev/node"), 0);
  for (const auto* const line : {"process 7000001 two", "process 7000002 two /dev/node", "process 7000002 two /dev/no",
                                 "process x two", "end 7000002", "close 7000001 /dev/many", "open 7000001"}) {
    EXPECT_EQ(command(line), EINVAL) << line;
  }
  EXPECT_THAT(processes(), Not(Contains("7000002")));
}

TEST_F(Proc, ShowsRealProcessesThatUseTheHost) {
  const auto own = std::to_string(::getpid());
  EXPECT_EQ(read_text(path("proc/" + own + "/stat")).substr(0, own.size() + 2), own + " (");
  EXPECT_EQ(read_text(path("proc/" + own + "/cmdline")), read_text("/proc/self/cmdline"));
  EXPECT_THAT(processes(), Not(Contains("1")));

  const UniqueFd node(::open(path("dev/many").c_str(), O_RDWR));
  EXPECT_EQ(*root().read_link("proc/" + own + "/fd/" + std::to_string(node.get())), "/dev/many");
  EXPECT_EQ(host_->snapshot().find("proc/" + own), std::string::npos);
}

TEST_F(Proc, ForgetsProcessesThatEnded) {
  Child child([&] { return read_text(path("sys/text")).size() == 6 ? 0 : 1; });
  const auto pid = std::to_string(child.pid());
  EXPECT_EQ(child.wait(), 0);
  EXPECT_THAT(processes(), Not(Contains(pid)));
  EXPECT_EQ(read_text(path("proc/" + pid + "/comm")), "errno ENOENT");
}

TEST_F(Proc, FindsAWriterThatHangs) {
  ASSERT_EQ(command("hang write sys/value"), 0);
  const auto written = root().write_attr_within("sys/value", "5", std::chrono::milliseconds(300));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().reason, "WEDGED");
  const auto writers = vfio::list_late_writers(root());
  ASSERT_TRUE(writers);
  EXPECT_EQ(writers->size(), 1u);
  ASSERT_EQ(command("release"), 0);
  EXPECT_TRUE(becomes([&] { return vfio::list_late_writers(root())->empty(); }));
}

TEST_F(Proc, FindsHoldersRealAndSimulated) {
  ASSERT_EQ(command("process 7000001 qemu /dev/vfio/7"), 0);
  const UniqueFd node(::open(path("dev/vfio/7").c_str(), O_RDWR));
  const auto holders = vfio::list_holders(root());
  ASSERT_TRUE(holders);
  const auto own = std::find_if(holders->begin(), holders->end(), [](const auto& h) { return h.pid == ::getpid(); });
  ASSERT_NE(own, holders->end());
  EXPECT_EQ(own->node, "/dev/vfio/7");
  const vfio::Holder qemu{7000001, "qemu", "/dev/vfio/7"};
  EXPECT_EQ(std::count(holders->begin(), holders->end(), qemu), 1);
  EXPECT_EQ(holders->size(), 2u);
}

TEST_F(Proc, ClosesBeforeCloseReturns) {
  for (int round = 0; round < 50; ++round) {
    const UniqueFd node(::open(path("dev/node").c_str(), O_RDWR));
    ASSERT_TRUE(node.valid()) << round;
  }
}

TEST_F(Proc, ANodeStaysOpenWithTheChildThatInheritedIt) {
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  std::optional<Child> heir;
  {
    const UniqueFd node(::open(path("dev/node").c_str(), O_RDWR));
    heir.emplace([&] {
      char c = 0;
      ::close(gate[1]);
      return static_cast<int>(::read(gate[0], &c, 1));
    });
  }
  EXPECT_EQ(read_text(path("dev/node")), "errno EBUSY");
  ::close(gate[1]);
  EXPECT_EQ(heir->wait(), 0);
  heir.reset();
  EXPECT_EQ(read_text(path("dev/node")), "errno EINVAL");
  ::close(gate[0]);
}

TEST_F(Proc, AHeirOfAProcessThatEndedIsAHolder) {
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  Child opener([&] {
    const int node = ::open(path("dev/node").c_str(), O_RDWR);
    if (::fork() != 0) return node < 0 ? 1 : 0;
    char c = 0;
    ::close(gate[1]);
    return static_cast<int>(::read(gate[0], &c, 1));
  });
  EXPECT_EQ(opener.wait(), 0);
  int holders = 0;
  for (const auto& process : processes()) {
    const auto descriptors = *root().find_dir("proc/" + process + "/fd");
    for (const auto& descriptor : descriptors) {
      holders += *root().read_link("proc/" + process + "/fd/" + descriptor) == "/dev/node";
    }
  }
  EXPECT_EQ(holders, 1);
  ::close(gate[1]);
  ::close(gate[0]);
  EXPECT_EQ(write_text(path("sys/wait_for_node"), "1"), 0);
}

TEST_F(Proc, AWriteThatWaitsForAHolderEndsWithIt) {
  ASSERT_EQ(command("process 7000001 qemu /dev/node"), 0);
  Child writer([&] { return write_text(path("sys/wait_for_node"), "1"); });
  ASSERT_TRUE(becomes([&] { return !host_->operations().empty(); }));
  ASSERT_EQ(command("end 7000001"), 0);
  EXPECT_EQ(writer.wait(), 0);

  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  Child holder([&] {
    const int node = ::open(path("dev/node").c_str(), O_RDWR);
    ::close(gate[0]);
    return ::write(gate[1], "x", 1) == 1 && node >= 0 ? ::pause() : 1;
  });
  char c = 0;
  ASSERT_EQ(::read(gate[0], &c, 1), 1);
  Child second([&] { return write_text(path("sys/wait_for_node"), "1"); });
  ASSERT_TRUE(becomes([&] { return host_->operations().back().ends_with("write sys/wait_for_node"); }));
  ::kill(holder.pid(), SIGKILL);
  EXPECT_EQ(second.wait(), 0);
  ::close(gate[0]);
  ::close(gate[1]);
}

}  // namespace
}  // namespace slicebroker::simhost
