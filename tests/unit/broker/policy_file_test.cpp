// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "broker/render/render.h"
#include "tests/golden.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;
using hypervisors::Surface;
using test::fails;
using test::ok;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kFile = "policy.toml";

// What stands between .Bd -literal and .Ed in the man page.
std::string documented_example() {
  const std::string page = test::source_text("docs/slicebroker-policy.5");
  constexpr std::string_view kBegin = ".Bd -literal\n";
  const auto begin = page.find(kBegin) + kBegin.size();
  return page.substr(begin, page.find(".Ed\n", begin) - begin);
}

TEST(PolicyFile, EmptyOneIsTheDefault) {
  for (const auto* text :
       {"", "# nothing\n", "[gpus]\n[limits]\n[defaults]\n[surfaces]\n", "\xef\xbb\xbf# \u00e9\u0416\n"}) {
    const auto policy = parse_policy(text, kFile);
    ASSERT_TRUE(ok(policy)) << text;
    EXPECT_TRUE(*policy == Policy{}) << text;
  }
}

TEST(PolicyFile, DocumentedExampleIsUnderstood) {
  const auto policy = parse_policy(documented_example(), kFile);
  ASSERT_TRUE(ok(policy));
  EXPECT_FALSE(policy->include);
  EXPECT_THAT(policy->exclude, ElementsAre(GpuMatch(PciAddress{0, 0xc4, 0, 0})));
  EXPECT_EQ(policy->most_fallback, Fallback::kNone);
  EXPECT_EQ(policy->least_isolation, Isolation::kHardware);
  EXPECT_EQ(policy->default_fallback, Fallback::kNone) << "a default follows its limit";
  EXPECT_EQ(policy->default_isolation, Isolation::kHardware);
  ASSERT_THAT(policy->group_members, SizeIs(2));
  EXPECT_FALSE(policy->group_members[0].gpus);
  EXPECT_THAT(policy->group_members[0].allow, ElementsAre(MemberMatch(PciClass{0x0403})));
  EXPECT_THAT(*policy->group_members[1].gpus, ElementsAre(GpuMatch(PciAddress{0, 0x41, 0, 0})));
  EXPECT_THAT(policy->surfaces.deny, ElementsAre(Surface::kMdev));
  const auto& on_ch = policy->hypervisor_surfaces.at(HypervisorKind::kCloudHypervisor);
  EXPECT_THAT(*on_ch.allow, ElementsAre(Surface::kGpu));
  EXPECT_EQ(policy->hygiene.gpu, ResetDemand::kAny);
  EXPECT_THAT(policy->hygiene.exempt, ElementsAre(CardMatch(PciIds{0x10de, 0x1db6})));
}

TEST(PolicyFile, EmptyListIsNotAMissingOne) {
  const auto policy = parse_policy("[gpus]\ninclude = []\n[surfaces]\nallow = []\n", kFile);
  ASSERT_TRUE(ok(policy));
  EXPECT_THAT(policy->include, testing::Optional(IsEmpty()));
  EXPECT_THAT(policy->surfaces.allow, testing::Optional(IsEmpty()));
}

struct WrongCase {
  const char* name;
  const char* text;
  const char* at;    // LINE:COLUMN
  const char* what;  // which key
  const char* fact;
};

TEST(PolicyFile, WhatIsWrongIsNamedWithItsPlace) {
  const WrongCase cases[] = {
      {"syntax", "[gpus\n", "1:6", "syntax", "expected"},
      {"value without quotes", "[limits]\nfallback = none\n", "2:13", "syntax", "expected"},
      {"table without a name", "[=]\n", "1:2", "syntax", "saw '='"},
      {"letter beyond ASCII", "# \u00fc\n[gp\u00fcs]\n", "2:4", "syntax", "?"},
      {"letter beyond ASCII in a text", "[gpus]\ninclude = [\"\u00e9\"]\n", "2:12", "gpus.include", "'?'"},
      {"half a letter", "[gpus]\nincl\xbcude = []\n", "2:5", "syntax", "?"},
      {"key twice", "[limits]\nfallback = \"none\"\nfallback = \"gpu\"\n", "3:12", "syntax", "fallback"},
      {"table twice", "[gpus]\n[limits]\n[gpus]\n", "3:1", "syntax", "gpus"},
      {"unknown table", "[gpu]\n", "1:2", "gpu", "did you mean gpus?"},
      {"unknown table like none", "[persistence]\n", "1:2", "persistence", "expected gpus, limits, defaults"},
      {"unknown key", "[gpus]\n  includes = []\n", "2:3", "gpus.includes", "did you mean include?"},
      {"unknown hypervisor", "[surfaces.libvrt]\n", "1:11", "surfaces.libvrt", "did you mean libvirt?"},
      {"unknown key of a hypervisor", "[surfaces.libvirt]\nallows = []\n", "2:1", "surfaces.libvirt.allows",
       "mean allow?"},
      {"table that is a text", "gpus = \"all\"\n", "1:8", "gpus", "it is a text; expected a table"},
      {"list that is a text", "[gpus]\ninclude = \"41:00.0\"\n", "2:11", "gpus.include", "a text; expected a list"},
      {"number in a list", "[gpus]\ninclude = [\"41:00.0\", 7]\n", "2:23", "gpus.include", "it is a number"},
      {"address without function", "[gpus]\ninclude = [\"41:00\"]\n", "2:12", "gpus.include", "'41:00' is not"},
      {"claimant that is none", "[gpus]\nuse_claimed_by = [\"nova\"]\n", "2:19", "gpus.use_claimed_by",
       "'nova' is not"},
      {"MIG UUID for a GPU", "[gpus]\nexclude = [\"MIG-1\"]\n", "2:12", "gpus.exclude", "expected an address"},
      {"class for a GPU", "[gpus]\nexclude = [\"class:0302\"]\n", "2:12", "gpus.exclude", "'class:0302' is not"},
      {"UUID for a member", "[[group_members]]\nallow = [\"GPU-1\"]\n", "2:10", "group_members.allow", "a class"},
      {"members that are one table", "[group_members]\nallow = []\n", "1:1", "group_members", "[[group_members]]"},
      {"rule without members", "[[group_members]]\ngpus = []\n", "1:1", "group_members", "allows nothing"},
      {"text for a rule", "group_members = [\"41:00.1\"]\n", "1:18", "group_members", "expected a table"},
      {"surface", "[surfaces]\ndeny = [\"mdve\"]\n", "2:9", "surfaces.deny", "one of vendor-vf, mdev, vf, gpu"},
      {"fallback", "[limits]\nfallback = \"mig\"\n", "2:12", "limits.fallback", "expected none or gpu"},
      {"boolean", "[defaults]\nisolation = true\n", "2:13", "defaults.isolation", "it is a boolean; expected any,"},
      {"reset", "[hygiene]\ngpu = \"flr\"\n", "2:7", "hygiene.gpu", "expected none, function, bus or any"},
      {"reset that no operator names", "[hygiene]\ngpu = \"if-able\"\n", "2:7", "hygiene.gpu", "'if-able' is not"},
      {"bus of a VF", "[hygiene]\nvf = \"bus\"\n", "2:6", "hygiene.vf", "expected none or function"},
      {"exempt by UUID", "[hygiene]\nexempt = [\"GPU-1\"]\n", "2:11", "hygiene.exempt", "expected an address"},
      {"default past its limit", "[defaults]\nfallback = \"gpu\"\n[limits]\nfallback = \"none\"\n", "2:12",
       "defaults.fallback", "goes past limits.fallback"},
      {"default below its limit", "[limits]\nisolation = \"hardware\"\n[defaults]\nisolation = \"any\"\n", "4:13",
       "defaults.isolation", "below limits.isolation; expected hardware"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto policy = parse_policy(c.text, kFile);
    ASSERT_TRUE(fails(policy, ErrorCode::kUsage, "BAD_POLICY"));
    ASSERT_THAT(policy.error().causes, SizeIs(1)) << to_text(policy.error());
    const auto& cause = policy.error().causes[0];
    EXPECT_EQ(cause.subject, std::string(kFile) + ":" + c.at);
    EXPECT_EQ(cause.tried, c.what);
    EXPECT_THAT(cause.fact, HasSubstr(c.fact));
    EXPECT_FALSE(policy.error().hint.empty());
  }
}

TEST(PolicyFile, EverythingWrongIsToldAtOnce) {
  const auto policy = parse_policy("[gpus]\ninclude = [1, \"x\"]\n[limit]\n[surfaces]\ndeny = \"vf\"\n", kFile);
  ASSERT_TRUE(fails(policy, ErrorCode::kUsage, "BAD_POLICY"));
  EXPECT_THAT(policy.error().causes, SizeIs(4)) << to_text(policy.error());
}

// No text of an operator's or an attacker's may end the program: every beginning of the example, and every letter of it
// replaced.
TEST(PolicyFile, DamagedTextIsAPolicyOrAnError) {
  const std::string example = documented_example();
  for (std::size_t i = 0; i < example.size(); ++i) {
    const auto cut = parse_policy(example.substr(0, i), kFile);
    EXPECT_TRUE(cut || !cut.error().causes.empty()) << i;
    for (const char letter : {'\0', '"', '[', '\n', '\xff'}) {
      auto damaged = example;
      damaged[i] = letter;
      const auto policy = parse_policy(damaged, kFile);
      EXPECT_TRUE(policy || !policy.error().causes.empty()) << i;
    }
  }
  EXPECT_FALSE(parse_policy(std::string(100'000, '['), kFile));
}

TEST(PolicyFile, ShownPolicyReadsBackTheSame) {
  const char* kEverything = R"(
[gpus]
include = ["0000:41:00.0", "GPU-AAAAAAAA-0000-1111-2222-333333333333", "10DE:20b5"]
exclude = ["c4:00.0"]
use_claimed_by = ["proxmox", "driverctl"]
[limits]
isolation = "time-sliced"
[defaults]
fallback = "none"
isolation = "hardware"
[[group_members]]
allow = ["class:0403", "10de:22bc", "41:00.1"]
[[group_members]]
gpus = ["10de:20b5"]
allow = []
[surfaces]
allow = []
[surfaces.libvirt]
deny = ["vf", "vendor-vf"]
[hygiene]
gpu = "bus"
vf = "none"
exempt = ["10de:1db6", "41:00.0"]
)";
  for (const auto& text : {std::string(), documented_example(), std::string(kEverything)}) {
    const auto policy = parse_policy(text, kFile);
    ASSERT_TRUE(ok(policy));
    const auto shown = render_policy(*policy, kFile, Format::kTable);
    const auto again = parse_policy(shown, kFile);
    ASSERT_TRUE(ok(again)) << shown;
    EXPECT_TRUE(*again == *policy) << shown;
  }
}

TEST(PolicyFile, ShownAsJson) {
  const auto policy = parse_policy(documented_example(), kFile).value();
  const auto object = nlohmann::json::parse(render_policy(policy, kFile, Format::kJson));
  EXPECT_EQ(object.at("schema"), "slicebroker/1");
  EXPECT_EQ(object.at("source"), kFile);
  EXPECT_EQ(object.at("policy"), nlohmann::json::parse(R"({
    "gpus": {"exclude": ["0000:c4:00.0"], "use_claimed_by": ["driverctl"]},
    "limits": {"fallback": "none", "isolation": "hardware"},
    "defaults": {"fallback": "none", "isolation": "hardware"},
    "group_members": [{"allow": ["class:0403"]}, {"gpus": ["0000:41:00.0"], "allow": ["0000:41:00.2"]}],
    "surfaces": {"deny": ["mdev"], "cloud-hypervisor": {"allow": ["gpu"], "deny": []}},
    "hygiene": {"gpu": "any", "vf": "function", "exempt": ["10de:1db6"]}
  })"));
}

TEST(PolicyFile, NamedFileMustBeThereAndTheDefaultOneNeedNot) {
  test::FixtureHost host;
  const std::string missing = host.directory() + "/none/policy.toml";
  EXPECT_TRUE(fails(read_policy(missing), ErrorCode::kUsage, "ENOENT"));
  const auto found = find_policy(missing);
  ASSERT_TRUE(ok(found));
  EXPECT_TRUE(*found == Policy{});
  EXPECT_TRUE(fails(find_policy(host.directory()), ErrorCode::kUsage, "EISDIR")) << "a directory is no policy";
  EXPECT_TRUE(fails(read_policy("/dev/zero"), ErrorCode::kUsage, "EFBIG"));
  host.write("policy.toml", "[gpus]\ninclud = []\n");
  EXPECT_TRUE(fails(find_policy(host.directory() + "/policy.toml"), ErrorCode::kUsage, "BAD_POLICY"));
}

}  // namespace
}  // namespace slicebroker::broker
