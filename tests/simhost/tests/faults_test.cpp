// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace slicebroker::simhost {
namespace {

using testing::HasSubstr;

TEST(ParseFault, TakesEveryForm) {
  const auto fail = parse_fault("fail write */drivers_probe ENODEV after=2 times=1");
  ASSERT_TRUE(fail) << fail.error();
  EXPECT_EQ(fail->os_errno, ENODEV);
  EXPECT_EQ(fail->kind, OperationKind::kWrite);
  EXPECT_EQ(fail->after, 2u);
  EXPECT_EQ(fail->times, 1u);

  EXPECT_EQ(fail->moment, Fault::Moment::kBefore);
  EXPECT_EQ(parse_fault("fail write vmm/* EIO when=after")->moment, Fault::Moment::kAfter);

  const auto kill = parse_fault("kill any * after=4 when=after who=program");
  ASSERT_TRUE(kill) << kill.error();
  EXPECT_EQ(kill->moment, Fault::Moment::kAfter);
  EXPECT_EQ(kill->victim, Fault::Victim::kProgram);
  EXPECT_EQ(kill->times, 1u);

  const auto command = parse_fault("do list sys/bus after=1 : process 7 qemu /dev/vfio/1");
  ASSERT_TRUE(command) << command.error();
  EXPECT_EQ(command->command, "process 7 qemu /dev/vfio/1");
  EXPECT_EQ(parse_fault("slow read * 20")->delay, std::chrono::milliseconds(20));
  EXPECT_EQ(parse_fault("hang link sys/*")->kind, OperationKind::kLink);
}

TEST(ParseFault, SaysWhatIsWrong) {
  struct Case {
    const char* line;
    const char* error;
  };
  for (const auto& c : {Case{"fail write", "KIND and GLOB"}, Case{"fail stat * EIO", "'stat'"},
                        Case{"fail read * EWRONG", "'EWRONG'"}, Case{"fail read *", "no such errno: ''"},
                        Case{"slow read * fast", "'fast'"}, Case{"hang read * soon", "'soon'"},
                        Case{"hang read * of=", "of="}, Case{"hang read * when=after", "when=after"},
                        Case{"do read * clear", "no ' : COMMAND'"}, Case{"kill read * times=0", "times=0"}}) {
    const auto fault = parse_fault(c.line);
    ASSERT_FALSE(fault) << c.line;
    EXPECT_THAT(fault.error(), HasSubstr(c.error)) << c.line;
  }
}

TEST(Operations, CountsFromOneAndHitsByIndex) {
  Operations operations;
  operations.begin(OperationKind::kRead, "sys/before", "sh");
  operations.restart_count();
  operations.add(*parse_fault("fail any * EIO after=1 times=1"));
  EXPECT_TRUE(operations.begin(OperationKind::kRead, "sys/a", "sh").empty());
  EXPECT_EQ(operations.begin(OperationKind::kWrite, "sys/b", "sh").size(), 1u);
  EXPECT_TRUE(operations.begin(OperationKind::kRead, "sys/c", "sh").empty());
  EXPECT_THAT(operations.log({}), testing::ElementsAre("1 read sys/a", "2 write sys/b", "3 read sys/c"));
}

TEST(Operations, AreOfAProgram) {
  Operations operations;
  operations.add(*parse_fault("hang any sys/* of=broker after=1"));
  EXPECT_TRUE(operations.begin(OperationKind::kRead, "sys/a", "broker").empty());
  EXPECT_TRUE(operations.begin(OperationKind::kRead, "sys/b", "vmm").empty());
  EXPECT_EQ(operations.begin(OperationKind::kRead, "sys/c", "broker").size(), 1u);
  EXPECT_THAT(operations.log("broker"), testing::ElementsAre("1 read sys/a", "3 read sys/c"));
}

TEST(Operations, MatchesKindAndPath) {
  Operations operations;
  operations.add(*parse_fault("fail write sys/*/probe EIO"));
  EXPECT_TRUE(operations.begin(OperationKind::kRead, "sys/bus/pci/probe", "sh").empty());
  EXPECT_TRUE(operations.begin(OperationKind::kWrite, "sys/bus/pci/probed", "sh").empty());
  EXPECT_EQ(operations.begin(OperationKind::kWrite, "sys/bus/pci/probe", "sh").size(), 1u);
}

}  // namespace
}  // namespace slicebroker::simhost
