// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/vfio_variant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/inventory.h"

namespace slicebroker::vfio {
namespace {

using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kGrace{9, 1, 0, 0};
constexpr PciAddress kA100{0, 0x41, 0, 0};
constexpr PciAddress kNic{0, 0x61, 0, 0};

// As depmod writes it, with the aliases that matter.
const std::string kModulesAlias = R"(# Aliases extracted from modules themselves.
alias pci:v000015B3d00001021sv*sd*bc*sc*i* mlx5_core
alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci
alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci
alias vfio_pci:v000010DEd00002345sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci
alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci
alias char-major-10-196 vfio
)";

void add_modules(const FixtureHost& fixture, const std::string& text = kModulesAlias) {
  fixture.write("proc/sys/kernel/osrelease", "6.12.0-64k\n");
  fixture.write("lib/modules/6.12.0-64k/modules.alias", text);
}

std::vector<VfioVariant> variants_of(const FixtureHost& fixture) {
  std::vector<Error> problems;
  const auto functions = list_pci_functions(fixture.root(), problems).value();
  return list_vfio_variants(fixture.root(), functions).value();
}

TEST(VfioModule, IsTheMostSpecific) {
  const std::string grace = "pci:v000010DEd00002342sv000010DEsd000016EBbc03sc02i00";
  struct Case {
    std::string name;
    std::string aliases;
    std::string modalias;
    std::optional<std::string> module;
  };
  const std::string any = "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n";
  const std::string model = "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* model\n";
  const std::string vendor = "alias vfio_pci:v000010DEd*sv*sd*bc*sc*i* vendor\n";
  const Case cases[] = {
      {"GH200", kModulesAlias, grace, "nvgrace_gpu_vfio_pci"},
      {"A100", kModulesAlias, "pci:v000010DEd000020B5sv000010DEsd00001533bc03sc02i00", {}},
      {"model before vendor", vendor + model + any, grace, "model"},
      {"model before vendor, in the other order", any + model + vendor, grace, "model"},
      {"the first of equals", model + "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* other\n", grace, "model"},
      {"no alias", "", grace, {}},
      {"the host's own driver is none", "alias pci:v000010DEd*sv*sd*bc*sc*i* nvidia\n", grace, {}},
      {"no modalias", kModulesAlias, "", {}},
      {"no newline at the end", "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* model", grace, "model"},
      {"without a module", "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i*\n" + any, grace, {}},
      {"blank lines", "\n\n" + model + "\n", grace, "model"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(best_vfio_module(parse_vfio_aliases(c.aliases), c.modalias), c.module);
  }
}

TEST(VfioVariants, AreLookedUpForGpusOnly) {
  const FixtureHost fixture;
  add_modules(fixture);
  fixture.add_function(kGrace, {.device = "0x2342"});
  fixture.add_function(kA100);
  fixture.add_function(kNic, {.vendor = "0x15b3", .device = "0x101e", .class_code = "0x020000"});
  EXPECT_THAT(variants_of(fixture), ElementsAre(VfioVariant{kGrace, "nvgrace_gpu_vfio_pci", false}));
}

TEST(VfioVariants, DriverIsCalledAsItsBusCallsIt) {
  for (const char* driver : {"nvgrace_gpu_vfio_pci", "nvgrace-gpu-vfio-pci"}) {
    SCOPED_TRACE(driver);
    const FixtureHost fixture;
    add_modules(fixture);
    fixture.add_function(kGrace, {.device = "0x2342"});
    fixture.make_directory("sys/bus/pci/drivers/" + std::string(driver));
    EXPECT_THAT(variants_of(fixture), ElementsAre(VfioVariant{kGrace, driver, true}));
  }
}

TEST(VfioVariants, HostWithoutModulesHasNone) {
  const FixtureHost fixture;
  fixture.add_function(kGrace, {.device = "0x2342"});
  EXPECT_THAT(variants_of(fixture), IsEmpty());
  fixture.write("proc/sys/kernel/osrelease", "6.12.0-64k\n");
  EXPECT_THAT(variants_of(fixture), IsEmpty());
}

TEST(VfioVariants, LinkOutOfTheRootIsNotFollowed) {
  const FixtureHost outside;
  outside.write("modules.alias", kModulesAlias);
  const FixtureHost fixture;
  fixture.add_function(kGrace, {.device = "0x2342"});
  fixture.write("proc/sys/kernel/osrelease", "6.12.0-64k\n");
  fixture.link("lib/modules/6.12.0-64k/modules.alias", outside.directory() + "/modules.alias");
  EXPECT_THAT(variants_of(fixture), IsEmpty());
}

TEST(VfioVariants, AliasBehindTheFirstMegabyteIsFound) {
  const FixtureHost fixture;
  std::string filler;
  while (filler.size() < (std::size_t{3} << 19)) filler += "alias pci:v00008086d00001234sv*sd*bc*sc*i* e1000e\n";
  add_modules(fixture, filler + kModulesAlias);
  fixture.add_function(kGrace, {.device = "0x2342"});
  EXPECT_THAT(variants_of(fixture), SizeIs(1));
}

TEST(VfioVariants, UnreadableListIsAProblemAndTheRestIsThere) {
  const FixtureHost fixture;
  fixture.add_function(kGrace, {.device = "0x2342"});
  fixture.write("proc/sys/kernel/osrelease", "6.12.0-64k\n");
  fixture.make_directory("lib/modules/6.12.0-64k/modules.alias");
  const auto inventory = read_inventory(fixture.host());
  ASSERT_TRUE(ok(inventory));
  EXPECT_THAT(inventory->functions, SizeIs(1));
  ASSERT_THAT(inventory->problems, SizeIs(1));
  EXPECT_TRUE(test::mentions(inventory->problems[0], "lib/modules/6.12.0-64k/modules.alias"))
      << to_text(inventory->problems[0]);
}

}  // namespace
}  // namespace slicebroker::vfio
