// SPDX-License-Identifier: Apache-2.0
#include "broker/request/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/request/nearest.h"
#include "broker/request/request.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::ok;

const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";

TEST(Selector, EveryFormBecomesItsTypeAndItsCanonicalText) {
  struct Case {
    std::string name;
    std::string text;
    Selector selector;
    std::string canonical;
  };
  constexpr PciAddress kGpu{0, 0x41, 0, 0};
  constexpr PciAddress kVf{0, 0x41, 0, 4};
  const auto uuid = *Uuid::parse(kUuid);
  const MigSelector mig{{uuid}};
  const MigSelector legacy{{vfio::nvidia::MigUuid::Legacy{uuid, 5, 1}}};
  const Case cases[] = {
      {"MIG UUID", "MIG-" + kUuid, mig, "MIG-" + kUuid},
      {"MIG UUID in capitals", "MIG-6F1C2D3E-0000-5000-8000-00000000000A", mig, "MIG-" + kUuid},
      {"legacy MIG", "MIG-GPU-" + kUuid + "/5/1", legacy, "MIG-GPU-" + kUuid + "/5/1"},
      {"profile", "profile=1g.10gb", ProfileSelector{"1g.10gb"}, "profile=1g.10gb"},
      {"profile in capitals", "profile=1G.10GB+ME", ProfileSelector{"1g.10gb+me"}, "profile=1g.10gb+me"},
      {"profile without media engines", "profile=1g.24gb-me", ProfileSelector{"1g.24gb-me"}, "profile=1g.24gb-me"},
      {"profile of a compute instance", "profile=1c.3g.40gb", ProfileSelector{"1c.3g.40gb"}, "profile=1c.3g.40gb"},
      {"profile in quotes", "profile=\"1g.10gb\"", ProfileSelector{"1g.10gb"}, "profile=1g.10gb"},
      {"profile with NVIDIA's prefix", "profile=MIG 1g.10gb", ProfileSelector{"1g.10gb"}, "profile=1g.10gb"},
      {"profile with every media engine", "profile=1G.24GB+ME.ALL", ProfileSelector{"1g.24gb+me.all"},
       "profile=1g.24gb+me.all"},
      {"profile for graphics", "profile=1g.24gb+gfx", ProfileSelector{"1g.24gb+gfx"}, "profile=1g.24gb+gfx"},
      {"memory", "memory=10GiB", MemorySelector{10ULL << 30}, "memory=10GiB"},
      {"memory in MiB", "memory=512MiB", MemorySelector{512ULL << 20}, "memory=512MiB"},
      {"memory in MiB that are GiB", "memory=10240MiB", MemorySelector{10ULL << 30}, "memory=10GiB"},
      {"memory in GB", "memory=10GB", MemorySelector{10'000'000'000}, "memory=10GB"},
      {"memory in MB", "memory=1500MB", MemorySelector{1'500'000'000}, "memory=1500MB"},
      {"memory in small letters, with a blank", "memory=10 gib", MemorySelector{10ULL << 30}, "memory=10GiB"},
      {"type by id", "type=nvidia-558", TypeSelector{"nvidia-558"}, "type=nvidia-558"},
      {"type by name", "type=NVIDIA L40S-8Q", TypeSelector{"NVIDIA L40S-8Q"}, "type=NVIDIA L40S-8Q"},
      {"type in quotes", "type=\"NVIDIA L40S-8Q\"", TypeSelector{"NVIDIA L40S-8Q"}, "type=NVIDIA L40S-8Q"},
      {"type with a sign of equality", "type=a=b", TypeSelector{"a=b"}, "type=a=b"},
      {"mdev", "mdev=" + kUuid, MdevSelector{uuid}, "mdev=" + kUuid},
      {"mdev in capitals", "mdev=6F1C2D3E-0000-5000-8000-00000000000A", MdevSelector{uuid}, "mdev=" + kUuid},
      {"VF", "vf=0000:41:00.4", VfSelector{kVf}, "vf=0000:41:00.4"},
      {"VF, short", "vf=41:00.4", VfSelector{kVf}, "vf=0000:41:00.4"},
      {"VF as libvirt names it", "vf=pci_0000_41_00_4", VfSelector{kVf}, "vf=0000:41:00.4"},
      {"GPU, short", "gpu=41:00.0", GpuSelector{kGpu}, "gpu=0000:41:00.0"},
      {"GPU as NVML names it", "gpu=00000000:41:00.0", GpuSelector{kGpu}, "gpu=0000:41:00.0"},
      {"GPU as libvirt names it", "gpu=pci_0000_41_00_0", GpuSelector{kGpu}, "gpu=0000:41:00.0"},
      {"GPU in quotes and blanks", "gpu= \"41:00.0\" ", GpuSelector{kGpu}, "gpu=0000:41:00.0"},
      {"GPU UUID", "gpu=GPU-" + kUuid, GpuSelector{"GPU-" + kUuid}, "gpu=GPU-" + kUuid},
      {"GPU UUID in capitals", "gpu=gpu-6F1C2D3E-0000-5000-8000-00000000000A", GpuSelector{"GPU-" + kUuid},
       "gpu=GPU-" + kUuid},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto selector = parse_selector(c.text);
    ASSERT_TRUE(ok(selector));
    EXPECT_TRUE(*selector == c.selector) << to_string(*selector);
    EXPECT_EQ(to_string(*selector), c.canonical);
    const auto again = parse_selector(c.canonical);
    ASSERT_TRUE(ok(again));
    EXPECT_TRUE(*again == c.selector) << "the canonical text means something else";
  }
}

TEST(Selector, TypeInOddQuotesIsRefusedOrStaysTheSame) {
  for (const char* text :
       {"type=\"\"a\"\"", "type=\" a \"", "type=\"a", "type=a\"", "type=a\"b", "type=\"", "type=\" \""}) {
    SCOPED_TRACE(text);
    const auto selector = parse_selector(text);
    if (!selector) continue;
    const auto again = parse_selector(to_string(*selector));
    ASSERT_TRUE(ok(again));
    EXPECT_TRUE(*again == *selector) << to_string(*selector) << " became " << to_string(*again);
  }
}

TEST(Selector, TypoIsRefusedWithARemedyAndNeverBecomesSomethingElse) {
  struct Case {
    std::string name;
    std::string text;
  };
  const Case cases[] = {
      {"empty", ""},
      {"blank", " "},
      {"bare address", "41:00.0"},
      {"bare UUID", kUuid},
      {"bare GPU UUID", "GPU-" + kUuid},
      {"bare profile", "1g.10gb"},
      {"key without value", "gpu="},
      {"key with blanks", "gpu=   "},
      {"key with empty quotes", "gpu=\"\""},
      {"unknown key", "device=41:00.0"},
      {"key in capitals", "GPU=41:00.0"},
      {"key with a blank", " gpu=41:00.0"},
      {"value without key", "=41:00.0"},
      {"MIG UUID a digit short", "MIG-6f1c2d3e-0000-5000-8000-00000000000"},
      {"MIG with a key", "mig=MIG-" + kUuid},
      {"MIG of a GPU without instances", "MIG-GPU-" + kUuid},
      {"GPU UUID a digit short", "gpu=GPU-6f1c2d3e-0000-5000-8000-00000000000"},
      {"GPU by a MIG UUID", "gpu=MIG-" + kUuid},
      {"GPU address with a function too large", "gpu=41:00.8"},
      {"GPU by index", "gpu=0"},
      {"VF by UUID", "vf=" + kUuid},
      {"mdev by address", "mdev=41:00.0"},
      {"profile without slices", "profile=10gb"},
      {"profile with a path", "profile=../1g.10gb"},
      {"profile with a blank", "profile=1g.10gb 2g.20gb"},
      {"profile with more behind", "profile=1g.10gbx"},
      {"profile with an empty suffix", "profile=1g.10gb+"},
      {"profile without a size", "profile=1g.gb"},
      {"profile of no slices", "profile=0g.10gb"},
      {"profile that starts in the middle", "profile=x1g.10gb"},
      {"memory without unit", "memory=10"},
      {"memory without number", "memory=GiB"},
      {"memory of another unit", "memory=10TiB"},
      {"memory with a fraction", "memory=1.5GiB"},
      {"memory below nothing", "memory=-1GiB"},
      {"no memory", "memory=0GiB"},
      {"memory past every GPU", "memory=99999999999999999999GiB"},
      {"memory past 64 bits", "memory=18014398509481985GiB"},
      {"newline", "gpu=41:00.0\n"},
      {"NUL", std::string("type=a\0b", 8)},
      {"escape sequence", "type=\x1b[31mred"},
      {"delete", "type=a\x7f"},
      {"too long", "type=" + std::string(300, 'x')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto selector = parse_selector(c.text);
    ASSERT_TRUE(fails(selector, ErrorCode::kUsage, "BAD_SELECTOR"));
    EXPECT_FALSE(selector.error().fact.empty());
    EXPECT_THAT(selector.error().hint, testing::HasSubstr("profile=1g.10gb"));
    for (const char character : selector.error().subject) {
      EXPECT_GE(static_cast<unsigned char>(character), ' ') << "a terminal would obey it";
    }
  }
}

TEST(Selector, KeyThatWasProbablyMeantIsHinted) {
  const std::pair<std::string, std::string> cases[] = {{"profil=1g.10gb", "did you mean profile=?"},
                                                       {"Profile=1g.10gb", "did you mean profile=?"},
                                                       {"tpye=nvidia-5", "did you mean type=?"},
                                                       {"memroy=1GiB", "did you mean memory=?"},
                                                       {"GPU=41:00.0", "did you mean gpu=?"}};
  for (const auto& [text, hint] : cases) {
    const auto selector = parse_selector(text);
    ASSERT_TRUE(fails(selector, ErrorCode::kUsage, "BAD_SELECTOR"));
    EXPECT_THAT(selector.error().hint, testing::StartsWith(hint)) << text;
  }
  EXPECT_THAT(parse_selector("device=1").error().hint, testing::Not(testing::HasSubstr("did you mean")));
}

TEST(Nearest, IsTheNameOfFewestEditsOrNone) {
  struct Case {
    std::string name;
    std::string typed;
    std::vector<std::string> known;
    std::string expected;
  };
  const Case cases[] = {
      {"letter missing", "profil", {"type", "profile"}, "did you mean profile?"},
      {"letter too many", "proffile", {"type", "profile"}, "did you mean profile?"},
      {"letter wrong", "1g.20gb", {"7g.80gb", "1g.10gb"}, "did you mean 1g.10gb?"},
      {"neighbours swapped", "tpye", {"type", "gpu"}, "did you mean type?"},
      {"case only", "NVIDIA-699", {"nvidia-699"}, "did you mean nvidia-699?"},
      {"nearer one wins", "1g.10gb", {"2g.20gb", "1g.12gb"}, "did you mean 1g.12gb?"},
      {"first of equals", "1g.1gb", {"1g.5gb", "1g.6gb"}, "did you mean 1g.5gb?"},
      {"nothing near", "device", {"type", "gpu"}, ""},
      {"too far for a short word", "gp", {"vf"}, ""},
      {"nothing known", "gpu", {}, ""},
      {"nothing typed", "", {"gpu"}, ""},
      {"too long", std::string(300, 'x'), {std::string(299, 'x')}, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(did_you_mean(c.typed, c.known), c.expected);
  }
  EXPECT_EQ(hint_for("tpye", {"type"}, "see X"), "did you mean type? see X");
  EXPECT_EQ(hint_for("x", {"type"}, "see X"), "see X");
}

TEST(Request, WordsOfThePolicyAreReadExactly) {
  EXPECT_EQ(parse_fallback("none"), Fallback::kNone);
  EXPECT_EQ(parse_fallback("gpu"), Fallback::kGpu);
  for (const auto isolation : {Isolation::kAny, Isolation::kTimeSliced, Isolation::kHardware}) {
    EXPECT_EQ(parse_isolation(name(isolation)), isolation);
  }
  for (const char* text : {"", "None", "GPU", "hard", "hardware ", "time_sliced"}) {
    EXPECT_EQ(parse_fallback(text), std::nullopt) << text;
    EXPECT_EQ(parse_isolation(text), std::nullopt) << text;
  }
  EXPECT_LT(Isolation::kAny, Isolation::kTimeSliced);
  EXPECT_LT(Isolation::kTimeSliced, Isolation::kHardware);
}

}  // namespace
}  // namespace slicebroker::broker
