// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/vendor_vf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::vfio::nvidia {

static void PrintTo(const CreatableVgpuType& type, std::ostream* out) {
  *out << type.id << " '" << type.name << "'";
}

namespace {

using test::device_path;
using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::SizeIs;

constexpr PciAddress kVf{0, 0x41, 0, 4};

TEST(CreatableTypes, AreReadInBothSpellings) {
  using Types = std::vector<CreatableVgpuType>;
  struct Case {
    std::string name;
    std::string text;
    Types types;
  };
  const Case cases[] = {
      {"recorded on an L40S host",
       "ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n1155  : NVIDIA L40S-8Q\n",
       {{1145, "NVIDIA L40S-1B"}, {1155, "NVIDIA L40S-8Q"}}},
      {"name first", "NVIDIA A40-2Q         558\nNVIDIA A40-4Q  559", {{558, "NVIDIA A40-2Q"}, {559, "NVIDIA A40-4Q"}}},
      {"name first, indented", "  NVIDIA A40-2Q    558  \n", {{558, "NVIDIA A40-2Q"}}},
      {"no blanks round the colon", "1145:NVIDIA L40S-1B\n", {{1145, "NVIDIA L40S-1B"}}},
      {"carriage returns", "ID : vGPU Name\r\n1145 : NVIDIA L40S-1B\r\n", {{1145, "NVIDIA L40S-1B"}}},
      {"exhausted: header only", "ID    : vGPU Name\n", {}},
      {"empty", "", {}},
      {"blank lines", "\n\n   \n", {}},
      {"id out of range", "4294967296 : NVIDIA L40S-1B\n", {}},
      {"negative id", "-1 : NVIDIA L40S-1B\n", {}},
      {"no name", "1145  :\n1145  :   \n", {}},
      {"id alone", "1145\n", {}},
      {"name with one blank before the id", "NVIDIA A40-2Q 558\n", {}},
      {"binary", std::string("\x01\x02\0\xff : \xff\n", 9), {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(parse_creatable_types(c.text), c.types);
  }
}

TEST(VendorVf, IsReadWithTypeAndInstance) {
  const FixtureHost fixture;
  fixture.add_function(kVf);
  fixture.set_vendor_vf(kVf, "1155", "ID    : vGPU Name\n1155  : NVIDIA L40S-8Q\n");
  fixture.write(device_path(kVf, "nvidia/gpu_instance_id"), "2\n");
  const auto vf = find_vendor_vf(fixture.root(), kVf);
  ASSERT_TRUE(ok(vf));
  ASSERT_TRUE(*vf);
  EXPECT_EQ((*vf)->address, kVf);
  EXPECT_EQ((*vf)->current_type, 1155U);
  EXPECT_THAT((*vf)->creatable, ElementsAre(CreatableVgpuType{1155, "NVIDIA L40S-8Q"}));
  EXPECT_EQ((*vf)->gpu_instance_id, 2U);
}

TEST(VendorVf, FreeOneHasNoInstanceYet) {
  const FixtureHost fixture;
  fixture.add_function(kVf);
  fixture.set_vendor_vf(kVf, "0", "");
  fixture.make_unreadable(device_path(kVf, "nvidia/gpu_instance_id"));
  const auto vf = find_vendor_vf(fixture.root(), kVf);
  ASSERT_TRUE(ok(vf));
  ASSERT_TRUE(*vf);
  EXPECT_EQ((*vf)->current_type, 0U);
  EXPECT_EQ((*vf)->gpu_instance_id, std::nullopt);
}

TEST(VendorVf, OfAnotherFrameworkIsNone) {
  const FixtureHost fixture;
  fixture.add_function(kVf);
  EXPECT_EQ(find_vendor_vf(fixture.root(), kVf).value().has_value(), false);
  fixture.write(device_path(kVf, "nvidia/vgpu_params"), "");
  EXPECT_EQ(find_vendor_vf(fixture.root(), kVf).value().has_value(), false);
}

TEST(VendorVf, MalformedTypeIsAnErrorThatShowsIt) {
  for (const char* text : {"", "none", "-1", "1155 1156"}) {
    SCOPED_TRACE(text);
    const FixtureHost fixture;
    fixture.add_function(kVf);
    fixture.set_vendor_vf(kVf, text, "");
    const auto vf = find_vendor_vf(fixture.root(), kVf);
    EXPECT_TRUE(test::fails(vf, ErrorCode::kFailed, "MALFORMED_ATTRIBUTE"));
    EXPECT_FALSE(read_vgpu_type(fixture.root(), kVf));
  }
}

}  // namespace
}  // namespace slicebroker::vfio::nvidia
