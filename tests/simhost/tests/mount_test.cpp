// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fstream>

#include "tests/simhost/tests/small_host.h"

namespace slicebroker::simhost {
namespace {

TEST(Mount, Reads) {
  const auto host = start_small_host();
  ASSERT_TRUE(host);
  std::string text;
  std::ifstream(host->root() + "/sys/text") >> text;
  EXPECT_EQ(text, "hello");
}

}  // namespace
}  // namespace slicebroker::simhost
