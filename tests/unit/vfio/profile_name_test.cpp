// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/profile_name.h"

#include <gtest/gtest.h>

namespace slicebroker::vfio::nvidia {
namespace {

// Every board of nvidia.md 1.6: the GPU's memory as nvidia-smi shows it, the share of each profile in eighths, and the
// names that NVIDIA's table gives.
TEST(ProfileName, IsTheTablesForEveryBoard) {
  struct Board {
    std::string name;
    std::uint64_t memory_mib;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> eighths_and_gigabytes;
  };
  const Board boards[] = {
      {"A100-40", 40960, {{1, 5}, {2, 10}, {4, 20}, {8, 40}}},
      {"A100-80 and H100-80", 81559, {{1, 10}, {2, 20}, {4, 40}, {8, 80}}},
      {"H100-94", 95830, {{1, 12}, {2, 24}, {4, 47}, {8, 94}}},
      {"H100-96 on GH200, H20-96", 97871, {{1, 12}, {2, 24}, {4, 48}, {8, 96}}},
      {"GH200-144", 147456, {{1, 18}, {2, 36}, {4, 72}, {8, 144}}},
      {"H200-141, H20-141", 143771, {{1, 18}, {2, 35}, {4, 71}, {8, 141}}},
      {"B200", 183359, {{1, 23}, {2, 45}, {4, 90}, {8, 180}}},
      {"B300", 275040, {{1, 34}, {2, 67}, {4, 135}, {8, 269}}},
      {"GB300", 284208, {{1, 35}, {2, 70}, {4, 139}, {8, 278}}},
      {"GB200", 189471, {{1, 23}, {2, 47}, {4, 93}, {8, 186}}},
      {"A30", 24576, {{2, 6}, {4, 12}, {8, 24}}},
      {"RTX PRO 6000", 97887, {{2, 24}, {4, 48}, {8, 96}}},
      {"RTX PRO 5000", 48935, {{4, 24}, {8, 48}}},
      {"RTX PRO 4500", 32623, {{4, 16}, {8, 32}}},
  };
  for (const auto& board : boards) {
    for (const auto& [eighths, gigabytes] : board.eighths_and_gigabytes) {
      SCOPED_TRACE(board.name + ", " + std::to_string(eighths) + "/8");
      // An instance has a little less than its share.
      EXPECT_EQ(profile_gigabytes(board.memory_mib, board.memory_mib * eighths / 8), gigabytes);
      EXPECT_EQ(profile_gigabytes(board.memory_mib, board.memory_mib * eighths * 95 / 800), gigabytes);
    }
  }
}

// Where the table has an instance's measured size.
TEST(ProfileName, RoundsTheMeasuredSizesAsTheTableDoes) {
  struct Case {
    std::string name;
    std::uint64_t gpu_mib;
    double profile_gib;
    std::uint64_t gigabytes;
  };
  const Case cases[] = {
      {"A100-40 1g.5gb", 40960, 4.75, 5},
      {"A100-40 1g.10gb", 40960, 9.75, 10},
      {"A100-40 3g.20gb", 40960, 19.62, 20},
      {"A100-40 7g.40gb", 40960, 39.5, 40},
      {"H100-94 1g.12gb", 95830, 10.62, 12},
      {"H100-94 1g.24gb", 95830, 21.5, 24},
      {"H100-94 3g.47gb", 95830, 46.12, 47},
      {"H100-94 7g.94gb", 95830, 92.62, 94},
      {"A30 1g.6gb", 24576, 5.81, 6},
      {"A30 2g.12gb", 24576, 11.69, 12},
      {"A30 4g.24gb", 24576, 23.44, 24},
      {"RTX PRO 6000 1g.24gb", 97887, 23.62, 24},
      {"RTX PRO 6000 2g.48gb", 97887, 47.38, 48},
      {"RTX PRO 6000 4g.96gb", 97887, 95, 96},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(profile_gigabytes(c.gpu_mib, static_cast<std::uint64_t>(c.profile_gib * 1024)), c.gigabytes);
  }
}

// A100-40 on a driver of R450.
Gpu nameless() {
  Gpu gpu;
  gpu.memory_mib = 40960;
  gpu.profiles = {{19, "", 1, 7, 4864}, {20, "", 1, 1, 4864}, {15, "", 1, 4, 9984},
                  {14, "", 2, 3, 9984}, {9, "", 3, 2, 20096}, {0, "", 7, 1, 40448}};
  return gpu;
}

TEST(ProfileName, IsDerivedWhereTheDriverGivesNone) {
  const std::pair<std::uint32_t, std::string> names[] = {{19, "1g.5gb"},  {20, "1g.5gb+me"}, {15, "1g.10gb"},
                                                         {14, "2g.10gb"}, {9, "3g.20gb"},    {0, "7g.40gb"}};
  for (const auto& [id, name] : names) EXPECT_EQ(profile_name(nameless(), id), name);
}

TEST(ProfileName, IsTheDriversOwnWhereItGivesOne) {
  auto gpu = nameless();
  gpu.profiles[0].name = "1g.4gb-x";
  EXPECT_EQ(profile_name(gpu, 19), "1g.4gb-x");
}

TEST(ProfileName, IsANumberWhereNothingIsKnown) {
  auto gpu = nameless();
  EXPECT_EQ(profile_name(gpu, 77), "profile 77");
  gpu.memory_mib = 0;
  EXPECT_EQ(profile_name(gpu, 19), "profile 19");
}

}  // namespace
}  // namespace slicebroker::vfio::nvidia
