// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/holders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::vfio {

static void PrintTo(const Holder& holder, std::ostream* out) {
  *out << holder.pid << " " << holder.command << " " << holder.node;
}

namespace {

using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Holders, NameProcessCommandAndNode) {
  const FixtureHost fixture;
  fixture.add_process(4711, "nv-hostengine", {"/dev/nvidia0"});
  fixture.add_process(815, "qemu-system-x86", {"/dev/vfio/13", "/dev/vfio/devices/vfio2"});
  const auto holders = list_holders(fixture.root());
  ASSERT_TRUE(ok(holders));
  EXPECT_THAT(*holders, testing::UnorderedElementsAre(Holder{4711, "nv-hostengine", "/dev/nvidia0"},
                                                      Holder{815, "qemu-system-x86", "/dev/vfio/13"},
                                                      Holder{815, "qemu-system-x86", "/dev/vfio/devices/vfio2"}));
}

TEST(Holders, OnlyNodesOfOneDeviceCount) {
  struct Case {
    std::string name;
    std::string node;
    bool counts;
  };
  const Case cases[] = {
      {"VFIO group", "/dev/vfio/0", true},
      {"VFIO device", "/dev/vfio/devices/vfio0", true},
      {"NVIDIA GPU", "/dev/nvidia15", true},
      {"null", "/dev/null", false},
      {"VFIO container, which everybody opens", "/dev/vfio/vfio", false},
      {"NVIDIA control, which everybody opens", "/dev/nvidiactl", false},
      {"UVM, which everybody opens", "/dev/nvidia-uvm", false},
      {"capability", "/dev/nvidia-caps/nvidia-cap4", false},
      {"directory", "/dev/vfio/", false},
      {"file of that name", "/tmp/dev/vfio/13", false},
      {"number with more behind", "/dev/vfio/13x", false},
      {"socket", "socket:[12345]", false},
      {"empty pipe", "pipe:[1]", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const FixtureHost fixture;
    fixture.add_process(7, "holder", {c.node});
    EXPECT_EQ(list_holders(fixture.root()).value().size(), c.counts ? 1U : 0U);
  }
}

TEST(Holders, NodeOpenTwiceIsNamedOnce) {
  const FixtureHost fixture;
  fixture.add_process(7, "qemu", {"/dev/vfio/13", "/dev/vfio/13"});
  EXPECT_THAT(list_holders(fixture.root()).value(), ElementsAre(Holder{7, "qemu", "/dev/vfio/13"}));
}

TEST(Holders, ProcessThatEndsMeanwhileIsPassedOver) {
  const FixtureHost fixture;
  fixture.add_process(7, "qemu", {"/dev/vfio/13"});
  fixture.make_directory("proc/8");              // gone before its descriptors were listed
  fixture.write("proc/9/fd/3", "");              // gone between the list and the link
  fixture.link("proc/10/fd/3", "/dev/vfio/14");  // gone before its name was read
  EXPECT_THAT(list_holders(fixture.root()).value(),
              testing::UnorderedElementsAre(Holder{7, "qemu", "/dev/vfio/13"}, Holder{10, "?", "/dev/vfio/14"}));
}

TEST(Holders, OnlyNumbersAreProcesses) {
  const FixtureHost fixture;
  for (const char* name : {"self", "12a", "driver", "99999999999999999999"}) {
    fixture.link("proc/" + std::string(name) + "/fd/3", "/dev/vfio/13");
  }
  EXPECT_THAT(list_holders(fixture.root()).value(), IsEmpty());
}

TEST(Holders, HostWithoutProcHasNone) {
  const FixtureHost fixture;
  fixture.remove("proc");
  EXPECT_THAT(list_holders(fixture.root()).value(), IsEmpty());
}

TEST(FindProcess, ReadsTheStartTimeBehindAnyCommand) {
  const FixtureHost fixture;
  for (const char* command : {"qemu", "qemu (web 1)", ") R 1 2", "a) Z 9 9 9 9", ""}) {
    SCOPED_TRACE(command);
    fixture.add_process(42, command, {}, 123456789);
    const auto process = find_process(fixture.root(), 42);
    ASSERT_TRUE(process);
    EXPECT_EQ(process->pid, 42);
    EXPECT_EQ(process->start_time, 123456789U);
  }
}

TEST(FindProcess, WhatIsDeadOrGarbledIsNoProcess) {
  const FixtureHost fixture;
  fixture.add_process(42, "qemu", {}, 1, 'Z');
  fixture.add_process(43, "qemu", {}, 1, 'X');
  fixture.write("proc/44/stat", "");
  fixture.write("proc/45/stat", "45 (qemu) S 1 2 3\n");
  fixture.write("proc/46/stat", "46 qemu S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n");
  for (const pid_t pid : {42, 43, 44, 45, 46, 47}) EXPECT_EQ(find_process(fixture.root(), pid), std::nullopt) << pid;
}

TEST(FindProcess, ReusedPidIsAnotherProcess) {
  const FixtureHost fixture;
  fixture.add_process(42, "qemu", {}, 1000);
  const auto before = find_process(fixture.root(), 42);
  fixture.add_process(42, "qemu", {}, 2000);
  EXPECT_NE(find_process(fixture.root(), 42), before);
}

TEST(BootId, IsReadOrMissing) {
  const FixtureHost fixture;
  fixture.set_boot_id("aaaa");
  EXPECT_EQ(read_boot_id(fixture.root()).value(), "aaaa");
  fixture.remove("proc/sys");
  EXPECT_FALSE(read_boot_id(fixture.root()));
}

}  // namespace
}  // namespace slicebroker::vfio
