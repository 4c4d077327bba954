// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/host_root.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <thread>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/base/text.h"
#include "vfio/host/child.h"
#include "vfio/host/wait.h"

namespace slicebroker::vfio {
namespace {

using namespace std::chrono_literals;
using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(HostRoot, TextIsWholeOrRefused) {
  const FixtureHost fixture;
  const std::string text(200'000, 'x');
  fixture.write("lib/list", text + "\n");
  EXPECT_EQ(fixture.root().find_text("lib/list", text.size() + 1).value(), text + "\n");
  EXPECT_EQ(fixture.root().find_text("lib/other", 1).value(), std::nullopt);
  EXPECT_EQ(fixture.root().find_text("lib/list/below", 1).value(), std::nullopt);
  const auto too_long = fixture.root().find_text("lib/list", text.size());
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().os_errno, EFBIG);
  EXPECT_EQ(too_long.error().subject, fixture.directory() + "/lib/list");
}

TEST(HostRoot, OfAMissingDirectoryIsNotFound) {
  const auto root = HostRoot::open("/nonexistent/root");
  ASSERT_FALSE(root);
  EXPECT_EQ(root.error().os_errno, ENOENT);
  EXPECT_EQ(root.error().subject, "/nonexistent/root");
}

TEST(HostRoot, AttributeLosesOneTrailingNewlineOnly) {
  const FixtureHost fixture;
  struct Case {
    std::string name;
    std::string file;
    std::string text;
  };
  const std::string large(10'000, 'x');
  const Case cases[] = {
      {"plain", "nvidia", "nvidia"},
      {"newline", "nvidia\n", "nvidia"},
      {"two newlines", "nvidia\n\n", "nvidia\n"},
      {"only a newline", "\n", ""},
      {"empty", "", ""},
      {"blanks stay", " a \n", " a "},
      {"lines", "a\nb\n", "a\nb"},
      {"more than a buffer", large, large},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fixture.write("sys/attribute", c.file);
    const auto text = fixture.root().read_attr("sys/attribute");
    ASSERT_TRUE(ok(text));
    EXPECT_EQ(*text, c.text);
  }
}

TEST(HostRoot, LinksLeadNowhereOutside) {
  const FixtureHost fixture;
  const FixtureHost outside;
  outside.write("secret", "outside");
  fixture.write("secret", "inside");
  fixture.link("sys/absolute", "/secret");
  fixture.link("sys/up", "../../../../../../../../../../secret");
  fixture.link("sys/out", outside.directory() + "/secret");
  fixture.link("sys/directory", outside.directory());
  const auto root = fixture.root();
  EXPECT_EQ(root.read_attr("sys/absolute").value(), "inside");
  EXPECT_EQ(root.read_attr("sys/up").value(), "inside");
  EXPECT_EQ(root.read_attr("../../../secret").value(), "inside");
  EXPECT_FALSE(root.read_attr("sys/out"));
  EXPECT_EQ(root.is_there("sys/out"), false);
  EXPECT_THAT(root.find_dir("sys/directory").value(), IsEmpty());
  EXPECT_FALSE(root.write_attr("sys/out", "changed"));
  EXPECT_FALSE(root.write_attr_within("sys/out", "changed", 1s));
  EXPECT_EQ(outside.read("secret"), "outside");
}

TEST(HostRoot, FindOfWhatIsMissingIsNoError) {
  const FixtureHost fixture;
  fixture.write("sys/file", "");
  const auto root = fixture.root();
  for (const char* path : {"sys/missing", "sys/missing/deeper", "sys/file/below"}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(root.find_attr(path).value(), std::nullopt);
    EXPECT_THAT(root.find_dir(path).value(), IsEmpty());
    EXPECT_EQ(root.find_link_name(path).value(), std::nullopt);
    EXPECT_EQ(root.is_there(path), false);
  }
  EXPECT_EQ(root.find_link_name("sys/file").value(), std::nullopt) << "a file is no link";
  const auto read = root.read_attr("sys/missing");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read.error().subject, fixture.directory() + "/sys/missing");
  const auto list = root.list_dir("sys/missing");
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().os_errno, ENOENT);
}

TEST(HostRoot, FindOfWhatCantBeReadIsAnError) {
  const FixtureHost fixture;
  fixture.make_unreadable("sys/attribute");
  const auto found = fixture.root().find_attr("sys/attribute");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().os_errno, ENXIO);
  EXPECT_EQ(fixture.root().find_attr("sys").error().os_errno, EISDIR);
  fixture.link("sys/loop", "loop");
  EXPECT_EQ(fixture.root().is_there("sys/attribute"), true);
  const auto unknown = fixture.root().is_there("sys/loop");
  ASSERT_FALSE(unknown) << "not knowing is not absence";
  EXPECT_EQ(unknown.error().os_errno, ELOOP);
}

TEST(HostRoot, NamesAreSortedWithoutDots) {
  const FixtureHost fixture;
  for (const char* name : {"b", "a", "0000:41:00.10", "0000:41:00.1", ".hidden"}) {
    fixture.write(std::string("sys/list/") + name, "");
  }
  EXPECT_THAT(fixture.root().list_dir("sys/list").value(),
              ElementsAre(".hidden", "0000:41:00.1", "0000:41:00.10", "a", "b"));
}

TEST(HostRoot, LinkIsReadAsItStands) {
  const FixtureHost fixture;
  fixture.link("sys/driver", "../../bus/pci/drivers/nvidia");
  fixture.link("sys/short", "n");
  EXPECT_EQ(fixture.root().read_link("sys/driver").value(), "../../bus/pci/drivers/nvidia") << "its end is missing";
  EXPECT_EQ(fixture.root().find_link_name("sys/driver").value(), "nvidia");
  EXPECT_EQ(fixture.root().find_link_name("sys/short").value(), "n");
}

TEST(HostRoot, WriteIsTheWholeValueAndNeitherMakesNorTruncates) {
  const FixtureHost fixture;
  fixture.write("sys/attribute", "0123456789\n");
  const auto root = fixture.root();
  ASSERT_TRUE(ok(root.write_attr("sys/attribute", "ab")));
  EXPECT_EQ(fixture.read("sys/attribute"), "ab23456789\n");
  ASSERT_TRUE(ok(root.write_attr_within("sys/attribute", "cd", 5s)));
  EXPECT_EQ(fixture.read("sys/attribute"), "cd23456789\n");
  EXPECT_FALSE(root.write_attr("sys/new", "1"));
  EXPECT_FALSE(root.write_attr_within("sys/new", "1", 5s));
  EXPECT_FALSE(fixture.exists("sys/new"));
}

TEST(HostRoot, FailedWriteNamesErrnoPathAndValue) {
  const FixtureHost fixture;
  fixture.make_directory("sys/directory");
  fixture.make_unreadable("sys/socket");
  struct Case {
    std::string name;
    std::string path;
    int os_errno;
    ErrorCode code;
  };
  const Case cases[] = {
      {"missing", "sys/missing", ENOENT, ErrorCode::kNotFound},
      {"directory", "sys/directory", EISDIR, ErrorCode::kFailed},
      {"no device behind it", "sys/socket", ENXIO, ErrorCode::kFailed},
  };
  for (const auto& c : cases) {
    const auto root = fixture.root();
    for (const auto& written :
         {root.write_attr(c.path, "vfio-pci\n"), root.write_attr_within(c.path, "vfio-pci\n", 5s)}) {
      SCOPED_TRACE(c.name);
      ASSERT_FALSE(written);
      EXPECT_EQ(written.error().os_errno, c.os_errno);
      EXPECT_EQ(written.error().code, c.code);
      EXPECT_EQ(written.error().subject, fixture.directory() + "/" + c.path);
      EXPECT_EQ(written.error().tried, "write 'vfio-pci'");
    }
  }
}

TEST(HostRoot, WriteThatTheKernelDoesNotAnswerIsWedged) {
  const FixtureHost fixture;
  fixture.make_fifo("sys/unbind");
  const auto begin = std::chrono::steady_clock::now();
  const auto written = fixture.root().write_attr_within("sys/unbind", "0000:41:00.0\n", 80ms);
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(test::fails(written, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_GE(took, 75ms);
  EXPECT_LT(took, 5s);
  EXPECT_EQ(written.error().subject, fixture.directory() + "/sys/unbind");
  EXPECT_EQ(written.error().tried, "write '0000:41:00.0'");
  EXPECT_FALSE(written.error().hint.empty());

  // The child that is named was really left behind, and ends when the write is let go.
  const auto& fact = written.error().fact;
  const std::string before = "process ";
  const auto at = fact.find(before);
  ASSERT_NE(at, std::string::npos) << fact;
  const auto number = fact.substr(at + before.size(), fact.find(' ', at + before.size()) - at - before.size());
  const auto pid = parse_number<std::uint32_t>(number);
  ASSERT_TRUE(pid) << fact;
  const UniqueFd reader(::open((fixture.directory() + "/sys/unbind").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int status = 0;
  EXPECT_TRUE(
      wait_until(5s, [&] { return ::waitpid(static_cast<pid_t>(*pid), &status, WNOHANG) == static_cast<pid_t>(*pid); }))
      << "no child " << *pid;
}

TEST(HostRoot, SlowWriteWithinTheDeadlineSucceeds) {
  const FixtureHost fixture;
  fixture.make_fifo("sys/unbind");
  std::string got;
  std::thread kernel([&] {
    std::this_thread::sleep_for(30ms);
    got = fixture.read("sys/unbind");
  });
  const auto written = fixture.root().write_attr_within("sys/unbind", "0000:41:00.0", 10s);
  if (!written) (void)!::open((fixture.directory() + "/sys/unbind").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  kernel.join();
  EXPECT_TRUE(ok(written));
  EXPECT_EQ(got, "0000:41:00.0");
}

// Any rename on the machine makes openat2 give up on a path with "..".
TEST(HostRoot, LinksAreReadWhileOthersRename) {
  const FixtureHost fixture;
  fixture.write("sys/devices/a/driver_name", "nvidia\n");
  fixture.link("sys/bus/b", "../devices/../devices/a");
  const FixtureHost other;
  other.make_directory("one");
  std::atomic<bool> ended = false;
  std::thread renamer([&] {
    const std::string one = other.directory() + "/one", two = other.directory() + "/two";
    while (!ended) {
      ::rename(one.c_str(), two.c_str());
      ::rename(two.c_str(), one.c_str());
    }
  });
  const auto root = fixture.root();
  int failures = 0;
  for (int i = 0; i < 20'000; ++i) failures += root.read_attr("sys/bus/b/driver_name") ? 0 : 1;
  ended = true;
  renamer.join();
  EXPECT_EQ(failures, 0);
}

TEST(HostRoot, DisplayIsThePathThatAPersonCanOpen) {
  const FixtureHost fixture;
  EXPECT_EQ(fixture.root().display("sys/x"), fixture.directory() + "/sys/x");
  EXPECT_EQ(HostRoot::open("/").value().display("sys/x"), "/sys/x");
  EXPECT_EQ(HostRoot::open(fixture.directory() + "//").value().display("sys/x"), fixture.directory() + "/sys/x");
}

TEST(RunInChild, SaysHowTheChildEnded) {
  EXPECT_EQ(run_in_child([] { return 0; }, 5s).os_errno, 0);
  EXPECT_EQ(run_in_child([] { return EBUSY; }, 5s).os_errno, EBUSY);
  const auto killed = run_in_child([] { return ::raise(SIGKILL); }, 5s);
  EXPECT_EQ(killed.state, ChildOutcome::State::kDone);
  EXPECT_EQ(killed.os_errno, EIO);
}

TEST(WaitUntil, LooksAtLeastOnceAndAtMostUntilTheDeadline) {
  int looks = 0;
  EXPECT_TRUE(wait_until(0ms, [&] { return ++looks == 1; }));
  EXPECT_TRUE(wait_until(5s, [&] { return ++looks == 4; }));
  EXPECT_FALSE(wait_until(20ms, [&] { return ++looks < 0; }));
}

}  // namespace
}  // namespace slicebroker::vfio
