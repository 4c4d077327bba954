// SPDX-License-Identifier: Apache-2.0
#include "vfio/claims/claim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/claims/driverctl.h"
#include "vfio/claims/mdevctl.h"
#include "vfio/claims/proxmox.h"

namespace slicebroker::vfio {
namespace {

using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kAudio{0, 0x41, 0, 1};
constexpr PciAddress kVf{0, 0x41, 0, 4};
const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";
const std::string kDefinition = R"({"mdev_type":"nvidia-699","start":"auto","attrs":[]})";

// "owner device: fact", with "!" where it is in use.
std::vector<std::string> texts(const std::vector<Claim>& claims) {
  std::vector<std::string> result;
  for (const auto& claim : claims) {
    const auto device = std::visit([](const auto& value) { return value.to_string(); }, claim.device);
    result.push_back(claim.owner + " " + device + ": " + claim.fact + (claim.in_use ? "!" : ""));
  }
  return result;
}

TEST(MdevctlDefinition, HasTypeAndStart) {
  const auto automatic = parse_mdevctl_definition(kDefinition);
  ASSERT_TRUE(ok(automatic));
  EXPECT_EQ(*automatic, (MdevctlDefinition{"nvidia-699", true}));
  const auto manual = parse_mdevctl_definition("{\n  \"mdev_type\": \"i915-GVTg_V5_4\",\n  \"start\": \"manual\"\n}\n");
  ASSERT_TRUE(ok(manual));
  EXPECT_EQ(*manual, (MdevctlDefinition{"i915-GVTg_V5_4", false}));
}

TEST(MdevctlDefinition, WhatMdevctlWouldNotLoadIsMalformed) {
  for (const auto* text :
       {"", "{", "[]", "null", "\"nvidia-699\"", "{}", R"({"start":"auto"})", R"({"mdev_type":"nvidia-699"})",
        R"({"mdev_type":7,"start":"auto"})", R"({"mdev_type":"nvidia-699","start":null})",
        "{\"mdev_type\":\"\xff\",\"start\":\"auto\"}"}) {
    const auto definition = parse_mdevctl_definition(text);
    ASSERT_FALSE(definition) << text;
    EXPECT_EQ(definition.error().reason, "MALFORMED_CLAIM") << text;
  }
  EXPECT_FALSE(parse_mdevctl_definition(std::string(100'000, '[')));
}

TEST(DriverctlOverride, IsOneWord) {
  const auto driver = parse_driverctl_override("vfio-pci\n");
  ASSERT_TRUE(ok(driver));
  EXPECT_EQ(*driver, "vfio-pci");
  for (const auto* text : {"", "\n", "vfio-pci nvidia", "vfio/pci", "a\nb", "\x7f"}) {
    EXPECT_FALSE(parse_driverctl_override(text)) << text;
  }
}

TEST(DriverctlOverride, FileNameHasBusAndDevice) {
  EXPECT_EQ(pci_part_of("pci-0000:41:00.0"), "0000:41:00.0");
  EXPECT_EQ(pci_part_of("vmbus-1234"), std::nullopt);
  EXPECT_EQ(pci_part_of("pci"), std::nullopt);
}

TEST(ProxmoxReservations, AreLinesOfAddressVmAndPidOrEnd) {
  std::vector<Error> problems;
  EXPECT_THAT(parse_proxmox_reservations("0000:41:00.0 101 pid:4711\n0000:41:00.4 102 time:1763640000\n", problems),
              ElementsAre(ProxmoxReservation{kGpu, 101, 4711, {}}, ProxmoxReservation{kVf, 102, {}, 1763640000}));
  EXPECT_THAT(problems, IsEmpty());
}

TEST(ProxmoxReservations, LineWithAddressStaysOneHoweverMalformed) {
  for (const auto* line : {"0000:41:00.0", "0000:41:00.0 101", "0000:41:00.0 x pid:1", "0000:41:00.0 101 pid:x",
                           "0000:41:00.0 101 pid:1 time:2", "0000:41:00.0 101 until:1"}) {
    std::vector<Error> problems;
    const auto reservations = parse_proxmox_reservations(line, problems);
    ASSERT_THAT(reservations, SizeIs(1)) << line;
    EXPECT_EQ(reservations[0].function, kGpu) << line;
    EXPECT_THAT(problems, SizeIs(1)) << line;
  }
  std::vector<Error> problems;
  EXPECT_THAT(parse_proxmox_reservations("41 101 pid:1\n\n", problems), IsEmpty());
  EXPECT_THAT(problems, SizeIs(1));
}

TEST(ProxmoxConfig, HasHostpciLinesOfNow) {
  struct Case {
    std::string line;
    std::vector<PciAddress> functions;
  };
  std::vector<PciAddress> slot;
  for (std::uint8_t n = 0; n < 8; ++n) slot.push_back({0, 0x41, 0, n});
  const std::vector<Case> cases{
      {"hostpci0: 0000:41:00.0,pcie=1", {kGpu}},
      {"hostpci12: host=41:00.0,pcie=1,x-vga=1", {kGpu}},
      {"hostpci0: 0000:41:00.0;41:00.1,pcie=1", {kGpu, kAudio}},
      {"hostpci0: pcie=1,host=0000:41:00", slot},
      {"hostpci0: 0000:41:00.4,mdev=nvidia-699", {kVf}},
      {"hostpci0: mapping=a100,mdev=nvidia-699", {}},
      {"hostpcis: 0000:41:00.0", {}},
      {"description: hostpci0: 0000:41:00.0", {}},
      {"#hostpci0: 0000:41:00.0", {}},
      {"[snapshot]\nhostpci0: 0000:41:00.0", {}},
  };
  for (const auto& c : cases) {
    std::vector<Error> problems;
    const auto devices = parse_proxmox_config("cores: 4\n" + c.line + "\nmemory: 2048\n", problems);
    std::vector<PciAddress> functions;
    for (const auto& device : devices) functions = device.functions;
    EXPECT_EQ(functions, c.functions) << c.line;
    EXPECT_THAT(problems, IsEmpty()) << c.line;
  }
  std::vector<Error> problems;
  EXPECT_THAT(parse_proxmox_config("hostpci0: gpu;0000:41:00.0", problems), SizeIs(1));
  EXPECT_THAT(problems, SizeIs(1));
}

TEST(Claims, HostWithoutTheToolsHasNone) {
  const FixtureHost fixture;
  std::vector<Error> problems;
  EXPECT_THAT(list_claims(fixture.root(), problems), IsEmpty());
  EXPECT_THAT(problems, IsEmpty());
}

TEST(Claims, OfEachTool) {
  const FixtureHost fixture;
  fixture.write("etc/mdevctl.d/0000:41:00.4/" + kUuid, kDefinition);
  fixture.write("etc/mdevctl.d/scripts.d/callouts/ap-check.sh", "#!/bin/sh\n");
  fixture.write("etc/driverctl.d/pci-0000:41:00.0", "vfio-pci\n");
  fixture.write("etc/driverctl.d/vmbus-4711", "uio_hv_generic\n");
  fixture.write("etc/pve/qemu-server/101.conf", "hostpci0: 0000:41:00.1\n");
  fixture.write("run/qemu-server/pci-id-reservations", "0000:41:00.4 102 pid:7\n0000:41:00.1 103 pid:8\n");
  fixture.add_process(7, "kvm", {});
  std::vector<Error> problems;
  const auto claims = list_claims(fixture.root(), problems);
  EXPECT_THAT(texts(claims),
              ElementsAre("mdevctl " + kUuid + ": defines it as nvidia-699, started by itself",
                          "driverctl 0000:41:00.0: pins it to vfio-pci", "Proxmox VM 102 0000:41:00.4: reserves it!",
                          "Proxmox VM 101 0000:41:00.1: gives it to the VM as hostpci0"));
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_THAT(claims, SizeIs(4));
  EXPECT_EQ(claims[0].parent, kVf);
  EXPECT_EQ(claims[1].source, fixture.directory() + "/etc/driverctl.d/pci-0000:41:00.0");
}

TEST(Claims, ReservationOfThePastIsNone) {
  const FixtureHost fixture;
  fixture.write("run/qemu-server/pci-id-reservations",
                "0000:41:00.0 101 time:1000\n0000:41:00.1 102 time:99999999999\n");
  std::vector<Error> problems;
  EXPECT_THAT(texts(list_claims(fixture.root(), problems)), ElementsAre("Proxmox VM 102 0000:41:00.1: reserves it!"));
}

TEST(Claims, DeviceThatAFileNameTellsStaysClaimed) {
  const FixtureHost fixture;
  fixture.write("etc/mdevctl.d/0000:41:00.4/" + kUuid, "{");
  fixture.write("etc/mdevctl.d/0000:41:00.4/not-a-uuid", kDefinition);
  fixture.make_unreadable("etc/driverctl.d/pci-0000:41:00.0");
  fixture.write("etc/driverctl.d/pci-gpu", "vfio-pci\n");
  fixture.write("etc/driverctl.d/pci-0000:41:00.1", std::string(kMostClaimBytes + 1, 'x'));
  std::vector<Error> problems;
  EXPECT_THAT(texts(list_claims(fixture.root(), problems)),
              ElementsAre("mdevctl " + kUuid + ": defines it", "driverctl 0000:41:00.0: pins its driver",
                          "driverctl 0000:41:00.1: pins its driver"));
  EXPECT_THAT(problems, SizeIs(5));
  for (const auto& problem : problems) {
    EXPECT_TRUE(test::mentions(problem, fixture.directory() + "/etc/")) << to_text(problem);
  }
}

TEST(Claimant, NameReadsBack) {
  for (const auto claimant : {Claimant::kMdevctl, Claimant::kDriverctl, Claimant::kLibvirt, Claimant::kProxmox}) {
    EXPECT_EQ(parse_claimant(name(claimant)), claimant);
  }
  EXPECT_EQ(parse_claimant("nova"), std::nullopt);
}

}  // namespace
}  // namespace slicebroker::vfio
