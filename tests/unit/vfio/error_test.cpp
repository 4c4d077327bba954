// SPDX-License-Identifier: Apache-2.0
#include "vfio/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace slicebroker {
namespace {

TEST(Error, CodeFollowsFromErrno) {
  struct Case {
    std::string name;
    int os_errno;
    ErrorCode code;
    std::string reason;
  };
  const Case cases[] = {
      {"no such file", ENOENT, ErrorCode::kNotFound, "ENOENT"},
      {"no such device", ENODEV, ErrorCode::kNotFound, "ENODEV"},
      {"busy", EBUSY, ErrorCode::kFailed, "EBUSY"},
      {"no capacity", ENOSPC, ErrorCode::kFailed, "ENOSPC"},
      {"unknown to the C library", 4711, ErrorCode::kFailed, "errno 4711"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto error = os_error("write '1'", "/sys/x", c.os_errno);
    EXPECT_EQ(error.code, c.code);
    EXPECT_EQ(error.reason, c.reason);
    EXPECT_EQ(error.os_errno, c.os_errno);
    EXPECT_EQ(error.tried, "write '1'");
    EXPECT_EQ(error.subject, "/sys/x");
    EXPECT_FALSE(error.fact.empty());
    EXPECT_FALSE(error.host) << "a leaf can't know";
  }
}

TEST(Error, LayerTakesOverWhatIsSaidOnce) {
  Error leaf;
  leaf.code = ErrorCode::kHeld;
  leaf.reason = "HELD_BY_PROCESS";
  leaf.fact = "pid 1 has it open";
  leaf.hint = "end it";
  leaf.host = HostOutcome::kRestored;
  const auto error = caused_by("bind", "0000:41:00.0", leaf);
  EXPECT_EQ(error.code, ErrorCode::kHeld);
  EXPECT_EQ(error.reason, "HELD_BY_PROCESS");
  EXPECT_EQ(error.hint, "end it");
  EXPECT_EQ(error.host, HostOutcome::kRestored);
  EXPECT_EQ(error.fact, "") << "the cause says it";
  ASSERT_EQ(error.causes.size(), 1U);
  EXPECT_EQ(error.causes[0].fact, "pid 1 has it open");
  EXPECT_EQ(error.causes[0].hint, "") << "a hint is said once";
  EXPECT_FALSE(error.causes[0].host);
}

TEST(Error, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (const auto code : {ErrorCode::kFailed, ErrorCode::kUsage, ErrorCode::kNotFound, ErrorCode::kHeld,
                          ErrorCode::kRefused, ErrorCode::kNoAnswer, ErrorCode::kHostChanged, ErrorCode::kDrift}) {
    EXPECT_TRUE(names.insert(name(code)).second) << name(code);
  }
}

}  // namespace
}  // namespace slicebroker
