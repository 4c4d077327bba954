// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/vgpu_name.h"

#include <gtest/gtest.h>

namespace slicebroker::vfio::nvidia {
namespace {

TEST(VgpuName, TellsBoardMemoryAndProfile) {
  struct Case {
    std::string name;
    std::string text;
    VgpuName parsed;
    std::optional<std::string> profile;
  };
  const Case cases[] = {
      {"time-sliced", "NVIDIA L40S-8Q", {"L40S", {}, 8, 'Q', ""}, {}},
      {"time-sliced of GRID's days", "GRID A100D-4C", {"A100D", {}, 4, 'C', ""}, {}},
      {"without prefix", "A40-48A", {"A40", {}, 48, 'A', ""}, {}},
      {"half a gigabyte", "GRID M10-0Q", {"M10", {}, 0, 'Q', ""}, {}},
      {"four displays", "GRID P4-1B4", {"P4", {}, 1, 'B', "4"}, {}},
      {"board with a dash", "NVIDIA RTX6000-Ada-4Q", {"RTX6000-Ada", {}, 4, 'Q', ""}, {}},
      {"MIG-backed", "GRID A100D-1-10C", {"A100D", 1, 10, 'C', ""}, "1g.10gb"},
      {"MIG-backed, all of it", "NVIDIA H100-7-80C", {"H100", 7, 80, 'C', ""}, "7g.80gb"},
      {"MIG-backed, half the GPU", "NVIDIA H100XL-3-47C", {"H100XL", 3, 47, 'C', ""}, "3g.47gb"},
      {"with media engines", "NVIDIA H100-1-10CME", {"H100", 1, 10, 'C', "ME"}, "1g.10gb+me"},
      {"without media engines", "NVIDIA DC-1-24CNOME", {"DC", 1, 24, 'C', "NOME"}, "1g.24gb-me"},
      {"all media engines", "NVIDIA DC-1-24CMEALL", {"DC", 1, 24, 'C', "MEALL"}, "1g.24gb+me.all"},
      {"graphics", "NVIDIA DC-1-24CGFX", {"DC", 1, 24, 'C', "GFX"}, "1g.24gb+gfx"},
      {"graphics by its series",
       "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q",
       {"RTX Pro 6000 Blackwell DC", 1, 24, 'Q', ""},
       "1g.24gb+gfx"},
      {"dash and slices", "NVIDIA RTX6000-Ada-2-24C", {"RTX6000-Ada", 2, 24, 'C', ""}, "2g.24gb"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto name = parse_vgpu_name(c.text);
    ASSERT_TRUE(name);
    EXPECT_EQ(name->board, c.parsed.board);
    EXPECT_EQ(name->slices, c.parsed.slices);
    EXPECT_EQ(name->framebuffer_gb, c.parsed.framebuffer_gb);
    EXPECT_EQ(name->series, c.parsed.series);
    EXPECT_EQ(name->attribute, c.parsed.attribute);
    EXPECT_EQ(mig_profile_of(*name), c.profile);
    EXPECT_EQ(parse_vgpu_name(to_string(*name)), name);
  }
  EXPECT_EQ(parse_vgpu_name("GRID M10-0Q")->framebuffer_mib(), 512U);
  EXPECT_EQ(parse_vgpu_name("GRID A100D-1-10C")->framebuffer_mib(), 10240U);
}

TEST(VgpuName, OfAnotherFormTellsNothing) {
  struct Case {
    std::string name;
    std::string text;
  };
  const Case cases[] = {
      {"empty", ""},
      {"only a prefix", "NVIDIA "},
      {"Intel's", "i915-GVTg_V5_4"},
      {"Kepler's", "GRID K120Q"},
      {"unknown series", "NVIDIA L40S-8Z"},
      {"small letters", "nvidia l40s-8q"},
      {"no memory", "NVIDIA L40S-Q"},
      {"no series", "NVIDIA L40S-8"},
      {"leading zero", "NVIDIA L40S-08Q"},
      {"memory too large", "NVIDIA L40S-4097Q"},
      {"no board", "-1-10C"},
      {"no slices", "NVIDIA A100D-0-10C"},
      {"unknown attribute", "NVIDIA A100D-1-10CXX"},
      {"MIG's attribute on a time-sliced one", "NVIDIA A100D-10CME"},
      {"displays on a MIG-backed one", "NVIDIA A100D-1-10B4"},
      {"blank behind", "NVIDIA L40S-8Q "},
      {"NUL in the board", std::string("A\0-8Q", 5)},
      {"two prefixes", "GRID NVIDIA A100D-8Q"},
      {"very long", std::string(100, 'A') + "-8Q"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(parse_vgpu_name(c.text), std::nullopt);
  }
}

}  // namespace
}  // namespace slicebroker::vfio::nvidia
