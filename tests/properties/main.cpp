// SPDX-License-Identifier: Apache-2.0
// RC_PARAMS decides what rapidcheck draws; without it more cases than its own 100, as they are cheap.
#include <gtest/gtest.h>

#include <cstdlib>

int main(int argc, char** argv) {
  constexpr int kKeep = 0;
  ::setenv("RC_PARAMS", "max_success=1000", kKeep);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
