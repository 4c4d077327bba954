// SPDX-License-Identifier: Apache-2.0
// Faults, the control file and reboots of a mounted host.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "tests/simhost/tests/mounted.h"
#include "vfio/base/unique_fd.h"

namespace slicebroker::simhost {
namespace {

using testing::HasSubstr;
using testing::Not;

class Control : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(host_); }
  std::string path(const std::string& below) const { return host_->root() + "/" + below; }
  void command(const std::string& line) {
    const auto done = host_->command(line);
    EXPECT_TRUE(done) << line << ": " << (done ? "" : done.error());
  }
  bool wait_for_operation(const std::string& operation) {
    return becomes([&] {
      for (const auto& line : host_->operations()) {
        if (line.ends_with(operation)) return true;
      }
      return false;
    });
  }

  std::unique_ptr<SimHost> host_ = start_small_host();
};

bool was_killed(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST_F(Control, TakesCommandsFromAFile) {
  EXPECT_EQ(write_text(path(".simhost/control"), "# comment\nvalue 7\n"), 0);
  EXPECT_EQ(read_text(path("sys/value")), "7\n");
  EXPECT_EQ(write_text(path(".simhost/control"), "value 8\n"), EINVAL);
  EXPECT_EQ(read_text(path(".simhost/error")), "value 8: the small host does not know this\n");
  EXPECT_EQ(write_text(path(".simhost/control"), "fail read\n"), EINVAL);
  EXPECT_EQ(read_text(path(".simhost/error")), "fail read: fail needs KIND and GLOB\n");
  EXPECT_EQ(read_text(path(".simhost/operations")), "1 read sys/value\n");
  EXPECT_THAT(host_->snapshot(), Not(HasSubstr("simhost")));
}

TEST_F(Control, FailsOperations) {
  command("fail read sys/t* ENXIO times=1");
  command("fail list sys/made EACCES");
  command("fail link sys/links/* ELOOP");
  command("fail open dev/node EPERM");
  ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
  EXPECT_EQ(read_text(path("sys/text")), "errno ENXIO");
  EXPECT_EQ(read_text(path("sys/text")), "hello\n");
  EXPECT_EQ(::open(path("sys/made").c_str(), O_RDONLY | O_DIRECTORY) < 0 ? errno : 0, EACCES);
  EXPECT_EQ(read_text(path("sys/links/a/text")), "errno ELOOP");
  EXPECT_EQ(read_text(path("dev/node")), "errno EPERM");
  command("clear");
  EXPECT_EQ(read_text(path("sys/links/a/text")), "a\n");
}

TEST_F(Control, FailsTheOperationOfANumber) {
  command("count");
  command("fail any * EIO after=1 times=1");
  EXPECT_EQ(read_text(path("sys/text")), "hello\n");
  EXPECT_EQ(write_text(path("sys/value"), "5"), EIO);
  EXPECT_EQ(read_text(path("sys/value")), "0\n");
}

TEST_F(Control, FailsAnOperationThatHadItsEffect) {
  command("fail write sys/value EIO times=1 when=after");
  EXPECT_EQ(write_text(path("sys/value"), "5"), EIO);
  EXPECT_EQ(read_text(path("sys/value")), "5\n");
  command("fail open dev/node EIO times=1 when=after");
  EXPECT_EQ(read_text(path("dev/node")), "errno EIO");
  EXPECT_EQ(read_text(path("dev/node")), "errno EINVAL") << "nobody has it open, and it can't be read";
}

TEST_F(Control, HangsUntilReleasedAndBlocksNobodyElse) {
  command("hang write sys/value times=30");
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 30; ++i) {
    children.push_back(std::make_unique<Child>([&] { return write_text(path("sys/value"), "5"); }));
  }
  ASSERT_TRUE(wait_for_operation("30 write sys/value"));
  EXPECT_EQ(read_text(path("sys/value")), "0\n");
  EXPECT_EQ(write_text(path("sys/value"), "6"), 0);  // the same file, past the hanging ones
  EXPECT_EQ(read_text(path("sys/value")), "6\n");
  command("release");
  for (const auto& child : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_EQ(read_text(path("sys/value")), "5\n");
}

TEST_F(Control, AHangingWriterCannotBeKilled) {
  command("hang write sys/value");
  Child child([&] { return write_text(path("sys/value"), "5"); });
  ASSERT_TRUE(wait_for_operation("write sys/value"));
  ::kill(child.pid(), SIGKILL);
  // It is woken by the signal and goes back to sleep.
  EXPECT_TRUE(becomes([&] {
    return read_text(path("proc/" + std::to_string(child.pid()) + "/stat")).find(") D ") != std::string::npos;
  }));
  command("release");
  EXPECT_TRUE(was_killed(child.wait()));
  EXPECT_EQ(read_text(path("sys/value")), "5\n");
}

TEST_F(Control, EndsWhileSomebodyHangs) {
  command("hang write sys/value");
  Child child([&] { return write_text(path("sys/value"), "5"); });
  ASSERT_TRUE(wait_for_operation("write sys/value"));
  host_.reset();
  EXPECT_EQ(WEXITSTATUS(child.wait()), EINTR);
}

TEST_F(Control, SlowsDown) {
  command("slow read sys/text 50");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read_text(path("sys/text")), "hello\n");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST_F(Control, KillsBeforeOrAfterTheEffect) {
  command("kill write sys/value");
  EXPECT_TRUE(was_killed(Child([&] { return write_text(path("sys/value"), "5"); }).wait()));
  EXPECT_EQ(read_text(path("sys/value")), "0\n");
  command("kill write sys/value when=after");
  EXPECT_TRUE(was_killed(Child([&] { return write_text(path("sys/value"), "5"); }).wait()));
  EXPECT_EQ(read_text(path("sys/value")), "5\n");
  EXPECT_EQ(write_text(path("sys/value"), "6"), 0);  // once only
}

TEST_F(Control, KillsAForkWithItsProgram) {
  command("kill write sys/value who=program");
  Child program([&] {
    Child fork([&] { return write_text(path("sys/value"), "5"); });
    fork.wait();
    return 0;
  });
  EXPECT_TRUE(was_killed(program.wait()));
}

TEST_F(Control, ChangesTheHostInTheMiddle) {
  command("do list sys/made after=1 : value 7");
  const auto list = [&] { ::close(::open(path("sys/made").c_str(), O_RDONLY | O_DIRECTORY)); };
  list();
  EXPECT_EQ(read_text(path("sys/value")), "0\n");
  list();
  EXPECT_EQ(read_text(path("sys/value")), "7\n");
}

TEST_F(Control, RebootLosesWhatTheModelDoesNotKeep) {
  const auto boot_id = read_text(path("proc/sys/kernel/random/boot_id"));
  ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
  EXPECT_EQ(read_text(path("sys/made/a/text")), "a\n");
  const UniqueFd open_file(::open(path("sys/text").c_str(), O_RDONLY));
  const UniqueFd open_node(::open(path("dev/node").c_str(), O_RDWR));
  command("process 7000001 qemu /dev/many");
  Child child([&] { return write_text(path("sys/wait_for_node"), "1"); });
  ASSERT_TRUE(wait_for_operation("write sys/wait_for_node"));

  command("value 7");
  command("reboot");
  EXPECT_EQ(WEXITSTATUS(child.wait()), EINTR);
  EXPECT_NE(read_text(path("proc/sys/kernel/random/boot_id")), boot_id);
  EXPECT_EQ(read_text(path("sys/made/a/text")), "errno ENOENT");
  EXPECT_EQ(read_text(path("sys/value")), "7\n");
  EXPECT_EQ(read_text(path("proc/7000001/comm")), "errno ENOENT");
  char c = 0;
  EXPECT_EQ(::read(open_file.get(), &c, 1) < 0 ? errno : 0, ENODEV);
  EXPECT_EQ(read_text(path("sys/text")), "hello\n");
  EXPECT_EQ(read_text(path("dev/node")), "errno EINVAL");  // open, and nothing to read
}

TEST_F(Control, RebootsFromTheControlFileAndInTheMiddleOfAnOperation) {
  EXPECT_EQ(write_text(path(".simhost/control"), "reboot\n"), 0);
  command("do write sys/value : reboot");
  EXPECT_EQ(write_text(path("sys/value"), "5"), ENODEV);
  EXPECT_EQ(write_text(path("sys/value"), "5"), 0);
}

}  // namespace
}  // namespace slicebroker::simhost
