// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisors/libvirt/domain_xml.h"
#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::hypervisors::libvirt {
namespace {

using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kUuid = "6f1c2d3e-0000-5000-8000-00000000000a";
const std::string kGpu =
    "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x41' "
    "slot='0x00' function='0x0'/></source></hostdev>";
const std::string kMdev =
    "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" + kUuid + "'/></source></hostdev>";

// A VF that the domain's request stands for, and a companion beside it.
const std::string kRequest =
    "<metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device "
    "selector='profile=1g.10gb' "
    "function='0000:41:00.4'/></slicebroker:request></metadata>";
const std::string kRequested =
    "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0' bus='0x41' slot='0' function='4'/>"
    "</source><alias name='ua-slicebroker-request-0'/></hostdev>"
    "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0' bus='0x41' slot='0' function='5'/>"
    "</source><alias name='ua-slicebroker-request-0-1'/><address type='unassigned'/></hostdev>";

std::string domain(const std::string& name, const std::string& devices, const std::string& metadata = {}) {
  return "<domain type='kvm'>\n  <name>" + name + "</name>\n  " + metadata + "<devices>" + devices +
         "</devices>\n</domain>\n";
}

std::string status(const std::string& inside) {
  return "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n<domstatus state='running' reason='booted' pid='7'>\n" +
         inside + "</domstatus>\n";
}

std::vector<std::string> texts(const std::vector<vfio::Claim>& claims) {
  std::vector<std::string> result;
  for (const auto& claim : claims) {
    const auto device = std::visit([](const auto& value) { return value.to_string(); }, claim.device);
    result.push_back(claim.owner + " " + device + (claim.in_use ? " in use" : ""));
  }
  return result;
}

TEST(SavedDomain, IsADomainOrTheStatusOfOne) {
  const auto defined = read_saved_domain(domain("web1", kGpu + kMdev));
  ASSERT_TRUE(ok(defined));
  EXPECT_EQ(defined->name, "web1");
  EXPECT_FALSE(defined->running);
  EXPECT_THAT(defined->functions, ElementsAre(PciAddress{0, 0x41, 0, 0}));
  EXPECT_THAT(defined->mdevs, ElementsAre(*Uuid::parse(kUuid)));
  const auto running = read_saved_domain(status(domain("web1", kGpu)));
  ASSERT_TRUE(ok(running));
  EXPECT_TRUE(running->running);
  EXPECT_THAT(running->functions, SizeIs(1));
}

TEST(SavedDomain, WhatARequestStandsForIsLeftOutWhileItDoesNotRun) {
  const auto xml = domain("web1", kRequested + kGpu, kRequest);
  const auto defined = read_saved_domain(xml);
  ASSERT_TRUE(ok(defined));
  EXPECT_THAT(defined->functions, ElementsAre(PciAddress{0, 0x41, 0, 0}));
  const auto running = read_saved_domain(status(xml));
  ASSERT_TRUE(ok(running));
  EXPECT_THAT(running->functions, SizeIs(3));
}

TEST(SavedDomain, RequestThatCantBeReadLeavesNothingOut) {
  auto request = kRequest;
  request.replace(request.find("selector="), 9, "selecter=");
  const auto saved = read_saved_domain(domain("web1", kRequested + kGpu, request));
  ASSERT_TRUE(ok(saved));
  EXPECT_THAT(saved->functions, SizeIs(3));
}

TEST(SavedDomain, WhatIsNoDomainIsRefused) {
  for (const auto& xml : {std::string(), std::string("<network><name>default</name></network>"), status(""),
                          status(status(domain("web1", kGpu))), std::string("<domain><devices/></domain>"),
                          domain("web1", "<hostdev type='pci'/>"), domain("web1", kGpu).substr(0, 60)}) {
    const auto saved = read_saved_domain(xml);
    ASSERT_FALSE(saved) << xml;
    EXPECT_EQ(saved.error().code, ErrorCode::kUsage) << xml;
  }
}

TEST(DomainClaims, HostWithoutLibvirtHasNone) {
  const FixtureHost fixture;
  std::vector<Error> problems;
  EXPECT_THAT(list_domain_claims(fixture.root(), problems), IsEmpty());
  EXPECT_THAT(problems, IsEmpty());
}

TEST(DomainClaims, RunningBeforeDefinedAndEachOnce) {
  const FixtureHost fixture;
  fixture.write("etc/libvirt/qemu/web1.xml", domain("web1", kGpu + kMdev));
  fixture.write("etc/libvirt/qemu/db2.xml", domain("db2", kMdev));
  fixture.write("etc/libvirt/qemu/networks/default.xml", "<network/>");
  fixture.write("run/libvirt/qemu/web1.xml", status(domain("web1", kGpu)));
  fixture.write("run/libvirt/qemu/web1.pid", "7");
  std::vector<Error> problems;
  const auto claims = list_domain_claims(fixture.root(), problems);
  EXPECT_THAT(texts(claims),
              ElementsAre("libvirt:web1 0000:41:00.0 in use", "libvirt:db2 " + kUuid, "libvirt:web1 " + kUuid));
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_THAT(claims, SizeIs(3));
  EXPECT_EQ(claims[0].source, fixture.directory() + "/run/libvirt/qemu/web1.xml");
}

TEST(DomainClaims, FileThatCantBeReadIsAProblemAndTheOthersAreThere) {
  const FixtureHost fixture;
  fixture.write("etc/libvirt/qemu/a.xml", "<domain><hostdev>");
  fixture.make_unreadable("etc/libvirt/qemu/b.xml");
  fixture.write("etc/libvirt/qemu/c.xml", domain("c", kGpu));
  std::vector<Error> problems;
  EXPECT_THAT(texts(list_domain_claims(fixture.root(), problems)), ElementsAre("libvirt:c 0000:41:00.0"));
  EXPECT_THAT(problems, SizeIs(2));
}

}  // namespace
}  // namespace slicebroker::hypervisors::libvirt
