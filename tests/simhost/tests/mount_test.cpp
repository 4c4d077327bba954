// SPDX-License-Identifier: Apache-2.0
// Files of a mounted host behave as those of sysfs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tests/simhost/tests/mounted.h"
#include "vfio/base/unique_fd.h"

namespace slicebroker::simhost {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Mount : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(host_); }
  std::string path(const std::string& below) const { return host_->root() + "/" + below; }

  std::unique_ptr<SimHost> host_ = start_small_host();
};

TEST_F(Mount, ReadsAndWrites) {
  EXPECT_EQ(read_text(path("sys/text")), "hello\n");
  EXPECT_EQ(read_text(path("sys/large")).size(), 20'001u);
  EXPECT_EQ(write_text(path("sys/value"), "5\n"), 0);
  EXPECT_EQ(read_text(path("sys/value")), "5\n");
  EXPECT_EQ(write_text(path("sys/value"), "6\n", O_TRUNC | O_CREAT), 0);
  EXPECT_EQ(write_text(path("sys/value"), "8\n", O_APPEND), 0);
  EXPECT_EQ(read_text(path("sys/value")), "8\n");
  struct stat attributes {};
  ASSERT_EQ(::stat(path("sys/value").c_str(), &attributes), 0);
  EXPECT_EQ(attributes.st_size, 4096);
  EXPECT_EQ(attributes.st_mode, static_cast<mode_t>(S_IFREG | 0644));
}

TEST_F(Mount, ShowsOncePerReadFromTheStart) {
  const UniqueFd fd(::open(path("sys/counter").c_str(), O_RDONLY));
  std::array<char, 8> buffer{};
  EXPECT_EQ(::read(fd.get(), buffer.data(), 1), 1);
  EXPECT_EQ(::read(fd.get(), buffer.data(), buffer.size()), 1);
  EXPECT_EQ(::read(fd.get(), buffer.data(), buffer.size()), 0);
  EXPECT_EQ(::pread(fd.get(), buffer.data(), buffer.size(), 0), 2);
  EXPECT_EQ(buffer[0], '2');
}

TEST_F(Mount, RefusesWhatSysfsRefuses) {
  EXPECT_EQ(read_text(path("sys/create")), "errno EACCES");
  EXPECT_EQ(write_text(path("sys/text"), "x"), EACCES);
  EXPECT_EQ(write_text(path("sys/new"), "x", O_CREAT), EACCES);
  EXPECT_EQ(read_text(path("sys/failing")), "errno EPERM");
  EXPECT_EQ(read_text(path("sys/nothing")), "errno ENOENT");
  EXPECT_EQ(::mkdir(path("sys/new").c_str(), 0755) == 0 ? 0 : errno, EPERM);
  EXPECT_EQ(::unlink(path("sys/text").c_str()) == 0 ? 0 : errno, EPERM);
  EXPECT_EQ(::rmdir(path("sys/made").c_str()) == 0 ? 0 : errno, EPERM);
  EXPECT_EQ(::rename(path("sys/text").c_str(), path("sys/other").c_str()) == 0 ? 0 : errno, EPERM);
  EXPECT_EQ(::symlink("x", path("sys/other").c_str()) == 0 ? 0 : errno, EPERM);
  EXPECT_THAT(host_->unmodelled(), IsEmpty());
}

TEST_F(Mount, RemembersWhatItCannotAnswer) {
  EXPECT_EQ(write_text(path("sys/unmodelled"), "1\n"), EIO);
  EXPECT_EQ(::mkdir(path("dev/new").c_str(), 0755) == 0 ? 0 : errno, EPERM);
  EXPECT_THAT(host_->unmodelled(), ElementsAre("write sys/unmodelled '1'", "mkdir dev/new"));
  EXPECT_EQ(read_text(path(".simhost/unmodelled")), "write sys/unmodelled '1'\nmkdir dev/new\n");
}

TEST_F(Mount, ShowsChangesOfTheTreeAtOnce) {
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(read_text(path("sys/links/a/text")), "errno ENOENT");
    ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
    EXPECT_EQ(read_text(path("sys/links/a/text")), "a\n");
    EXPECT_EQ(read_text(path("sys/made/a/text")), "a\n");
    ASSERT_EQ(write_text(path("sys/made/a/remove"), "1\n"), 0);
  }
}

TEST_F(Mount, GivesEnodevForWhatWasRemovedWhileOpen) {
  ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
  const UniqueFd text(::open(path("sys/made/a/text").c_str(), O_RDONLY));
  const UniqueFd remove(::open(path("sys/made/a/remove").c_str(), O_WRONLY));
  ASSERT_EQ(write_text(path("sys/made/a/remove"), "1\n"), 0);
  char c = 0;
  EXPECT_EQ(::read(text.get(), &c, 1) < 0 ? errno : 0, ENODEV);
  EXPECT_EQ(::write(remove.get(), "1", 1) < 0 ? errno : 0, ENODEV);
}

TEST_F(Mount, KeepsOwnerAndModeThatToolsGiveToANode) {
  EXPECT_EQ(::chown(path("dev/node").c_str(), 64055, 64056), 0);
  EXPECT_EQ(::chmod(path("dev/node").c_str(), 0660), 0);
  struct stat attributes {};
  ASSERT_EQ(::stat(path("dev/node").c_str(), &attributes), 0);
  EXPECT_EQ(attributes.st_uid, 64055u);
  EXPECT_EQ(attributes.st_gid, 64056u);
  EXPECT_EQ(attributes.st_mode, static_cast<mode_t>(S_IFREG | 0660));
}

// The tools of a shell, with what they print and how they end.
TEST_F(Mount, ServesOtherPrograms) {
  struct Case {
    const char* command;
    const char* output;
  };
  ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
  for (const auto& c :
       {Case{"cat sys/text", "hello\n"}, Case{"echo 4 > sys/value && cat sys/value", "4\n"},
        Case{"echo 3 >> sys/value && cat sys/value", "3\n"}, Case{"ls sys/made/a", "remove\ntext\n"},
        Case{"ls -lR . > /dev/null && echo done", "done\n"},
        Case{"find sys -name text | sort", "sys/made/a/text\nsys/text\n"},
        Case{"find -L sys/links -name text", "sys/links/a/text\n"},
        Case{"d=$(mktemp -d) && cp -r proc/sys sys/links $d && ls $d && rm -r $d", "links\nsys\n"},
        Case{"readlink sys/links/a", "../made/a\n"}, Case{"grep -rl hello sys 2>&1 | grep text", "sys/text\n"},
        Case{"tee sys/value < sys/text", "hello\n"}, Case{"stat -c %s sys/text", "4096\n"}}) {
    const auto command = "cd " + host_->root() + " && " + c.command;
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::array<char, 4096> buffer{};
    const auto length = std::fread(buffer.data(), 1, buffer.size(), pipe);
    ::pclose(pipe);
    EXPECT_EQ(std::string(buffer.data(), length), c.output) << c.command;
  }
}

TEST_F(Mount, NumbersOperationsTheSameEveryTime) {
  const auto client = [&] {
    EXPECT_TRUE(host_->command("count"));
    write_text(path("sys/create"), "a\n");
    read_text(path("sys/links/a/text"));
    read_text(path("sys/nothing"));
    read_text(path("dev/node"));
    EXPECT_EQ(std::system(("ls " + path("sys/made") + " > /dev/null").c_str()), 0);
    write_text(path("sys/made/a/remove"), "1\n");
    return host_->operations();
  };
  EXPECT_THAT(client(),
              ElementsAre("1 write sys/create", "2 link sys/links/a", "3 read sys/made/a/text", "4 open dev/node",
                          "5 read dev/node", "6 list sys/made", "7 write sys/made/a/remove"));
  EXPECT_EQ(client(), client());
}

TEST_F(Mount, SnapshotsAreEqualWhenTheHostIs) {
  const auto without_counter = [&] {
    auto snapshot = host_->snapshot();  // in which the counter has counted the snapshots
    const auto at = snapshot.find("sys/counter");
    return snapshot.erase(at, snapshot.find('\n', at) - at);
  };
  const auto before = without_counter();
  for (const auto* const line : {"sys/text: hello\\n\n", "sys/failing: errno 1\n", "sys/create:\n"}) {
    EXPECT_NE(before.find(line), std::string::npos) << line;
  }
  ASSERT_EQ(write_text(path("sys/create"), "a\n"), 0);
  EXPECT_NE(host_->snapshot().find("sys/links/a -> ../made/a\n"), std::string::npos);
  ASSERT_EQ(write_text(path("sys/made/a/remove"), "1\n"), 0);
  EXPECT_TRUE(without_counter() == before);
}

TEST(SimHostStart, SaysWhyItCannot) {
  const auto wrong = SimHost::start("wrong");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error(), "line 1: this is wrong");
  const auto nowhere = SimHost::start("small", "/nowhere/at/all");
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error(), HasSubstr("/nowhere/at/all: No such file"));
}

TEST(SimHostStart, LeavesNothingBehind) {
  auto host = start_small_host();
  ASSERT_TRUE(host);
  const auto root = host->root();
  const UniqueFd open_file(::open((root + "/sys/text").c_str(), O_RDONLY));
  host.reset();
  EXPECT_NE(::access(root.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace slicebroker::simhost
