// SPDX-License-Identifier: Apache-2.0
// RC_PARAMS decides what rapidcheck draws; without it, as many cases as each program can afford.
#include <gtest/gtest.h>

#include <cstdlib>

int main(int argc, char** argv) {
  constexpr int kKeep = 0;
  ::setenv("RC_PARAMS", RC_PARAMETERS, kKeep);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
