// SPDX-License-Identifier: Apache-2.0
// The simulated host's libvirt, as the adapter of the broker sees it: what it refuses and in which words, and faults on
// its operations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "hypervisors/libvirt/libvirt_hypervisor.h"
#include "tests/simhost/simhost.h"

namespace slicebroker::simhost {
namespace {

using hypervisors::Attachment;
using hypervisors::Surface;
using hypervisors::libvirt::LibvirtHypervisor;
using testing::HasSubstr;
using namespace std::chrono_literals;

// Which a domain may have on a100-mdev once kMakeMdev ran, and one that a QEMU has from the start.
constexpr auto kMdev = "22222222-2222-4222-8222-222222222222";
constexpr auto kHeldMdev = "11111111-1111-4111-8111-111111111111";
const std::string kMakeMdev = std::string("vgpu 0000:41:00.5 474 uuid=") + kMdev;

Attachment pci(const std::string& address, Surface surface) {
  Attachment attachment;
  attachment.id = "test";
  attachment.surface = surface;
  attachment.function = PciAddress::parse(address);
  return attachment;
}

Attachment mdev(const std::string& uuid) {
  Attachment attachment;
  attachment.id = "test";
  attachment.surface = Surface::kMdev;
  attachment.mdev = Uuid::parse(uuid);
  return attachment;
}

std::unique_ptr<SimHost> start(const std::string& name, const std::vector<std::string>& commands) {
  std::ifstream file(std::string(SIMHOST_HOSTS) + "/" + name + ".host");
  auto host = SimHost::start(std::string(std::istreambuf_iterator<char>(file), {}));
  EXPECT_TRUE(host) << (host ? "" : host.error());
  if (!host) return nullptr;
  for (const auto& command : commands) {
    const auto done = (*host)->command(command);
    EXPECT_TRUE(done) << command << ": " << (done ? "" : done.error());
  }
  ::setenv("SIMHOST", (*host)->root().c_str(), 1);
  return *std::move(host);
}

LibvirtHypervisor adapter(const std::string& domain = "web1") {
  return {domain, "qemu:///system", SIMHOST_LIBVIRT, {.look = 5ms, .ask_again = 30ms, .undo = 50ms}};
}

std::string read(const SimHost& host, const std::string& file) {
  std::ifstream stream(host.root() + "/" + file);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

struct Case {
  const char* name;
  const char* host;
  std::vector<std::string> commands;
  Attachment device;
  const char* reason;
  const char* fact;
};

class Refuses : public testing::TestWithParam<Case> {};

TEST_P(Refuses, InLibvirtsWords) {
  const auto& c = GetParam();
  std::vector<std::string> commands = {"domain web1 define", "domain web1 start", "domain web2 define",
                                       "domain web2 start"};
  commands.insert(commands.end(), c.commands.begin(), c.commands.end());
  const auto host = start(c.host, commands);
  ASSERT_TRUE(host);
  if (std::string(c.name) == "OtherDomain") {
    ASSERT_TRUE(adapter("web2").attach(c.device));
  }
  const auto before = host->snapshot();
  const auto given = adapter().attach(c.device);
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().reason, c.reason);
  EXPECT_THAT(given.error().fact, HasSubstr(c.fact));
  EXPECT_EQ(host->snapshot(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Devices, Refuses,
    testing::Values(
        Case{"NoSuchMdev", "a100-mdev", {}, mdev(kMdev), "LIBVIRT_99", "mediated device '2222"},
        Case{"NoSuchFunction", "a100-mdev", {}, pci("0000:99:00.0", Surface::kVf), "LIBVIRT_38", "not found"},
        Case{"HeldByAnother", "a100-mdev", {}, mdev(kHeldMdev), "LIBVIRT_1", "Device or resource busy"},
        Case{"OtherDomain",
             "a100-mdev",
             {kMakeMdev},
             mdev(kMdev),
             "LIBVIRT_55",
             "is in use by driver QEMU, domain web2"},
        Case{"OnTheHostsDriver",
             "two-identical-cards",
             {},
             pci("0000:01:00.0", Surface::kGpu),
             "LIBVIRT_55",
             "Unmanaged PCI device 0000:01:00.0 must be manually detached from the host"},
        Case{"GroupNotViable",
             "two-identical-cards",
             {"bind 0000:02:00.1 none", "override 0000:02:00.1 none", "bind 0000:02:00.1 snd_hda_intel"},
             pci("0000:02:00.0", Surface::kGpu),
             "LIBVIRT_1",
             "is not viable"},
        Case{"VendorVfOnOldLibvirt",
             "h100-vendor-vf",
             {"libvirt 9.0.0", "vgpu 0000:61:00.5 826"},
             pci("0000:61:00.5", Surface::kVendorVf),
             "LIBVIRT_55",
             "must be manually detached from the host"},
        Case{"VendorVfWithoutType",
             "h100-vendor-vf",
             {},
             pci("0000:61:00.5", Surface::kVendorVf),
             "LIBVIRT_1",
             "error getting device from group"}),
    [](const auto& one) { return one.param.name; });

TEST(SimulatedLibvirt, WorldOutlivesItsClients) {
  const auto host = start("a100-mdev", {kMakeMdev, "domain web1 define", "domain web1 start"});
  ASSERT_TRUE(host);
  const auto before = host->snapshot();
  const auto given = adapter().attach(mdev(kMdev));
  ASSERT_TRUE(given) << given.error().fact;
  EXPECT_EQ(given->guest_address, "0000:05:00.0");
  EXPECT_EQ(read(*host, "vmm/domains/web1"), std::string("running\nua-test ") + kMdev + "\n");
  EXPECT_EQ(adapter().has(mdev(kMdev)), true);
  EXPECT_TRUE(adapter().detach(mdev(kMdev), 10s));
  EXPECT_EQ(host->snapshot(), before);
}

TEST(SimulatedLibvirt, RebootEndsDomains) {
  const auto host = start("a100-mdev", {kMakeMdev, "domain web1 define", "domain web1 start"});
  ASSERT_TRUE(host);
  ASSERT_TRUE(adapter().attach(mdev(kMdev)));
  ASSERT_TRUE(host->command("reboot"));
  EXPECT_EQ(read(*host, "vmm/domains/web1"), "shut off\n");
  EXPECT_EQ(adapter().find_vm()->running, false);
}

TEST(SimulatedLibvirt, FaultsOfItsOperations) {
  struct Fault {
    const char* command;
    const char* reason;
    const char* fact;
    bool has;
  };
  const auto host = start("a100-mdev", {kMakeMdev, "domain web1 define", "domain web1 start"});
  ASSERT_TRUE(host);
  for (const auto& c : {
           Fault{"fail write vmm/libvirt/virConnectOpen ECONNREFUSED times=1", "LIBVIRT_38", "refused", false},
           Fault{"fail write vmm/*/virDomainAttachDeviceFlags EIO times=1", "LIBVIRT_1", "Input/output", false},
           Fault{"fail write vmm/*/virDomainAttachDeviceFlags ECONNRESET times=1", "LIBVIRT_1", "socket is closed",
                 false},
           Fault{"fail write vmm/*/virDomainAttachDeviceFlags ETIMEDOUT times=1", "LIBVIRT_68", "lock", false},
           Fault{"fail write vmm/*/virDomainAttachDeviceFlags EIO times=1 when=after", "LIBVIRT_1", "Input", true},
       }) {
    SCOPED_TRACE(c.command);
    ASSERT_TRUE(host->command(c.command));
    const auto given = adapter().attach(mdev(kMdev));
    ASSERT_FALSE(given);
    EXPECT_EQ(given.error().reason, c.reason);
    EXPECT_THAT(given.error().fact, HasSubstr(c.fact));
    EXPECT_EQ(adapter().has(mdev(kMdev)), c.has);
    ASSERT_TRUE(host->command("clear"));
  }
}

// What is counted must be the same in every run: events are looked for outside of it.
TEST(SimulatedLibvirt, OperationsOfARunAreTheSame) {
  const auto host = start("a100-mdev", {kMakeMdev, "domain web1 define", "domain web1 start"});
  ASSERT_TRUE(host);
  LibvirtHypervisor patient("web1", "qemu:///system", SIMHOST_LIBVIRT);  // looks again after half a second only
  std::vector<std::string> first;
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(host->command("count"));
    ASSERT_TRUE(patient.attach(mdev(kMdev)));
    ASSERT_TRUE(patient.detach(mdev(kMdev), 10s));
    if (round == 0) first = host->operations();
    EXPECT_EQ(host->operations(), first);
  }
}

}  // namespace
}  // namespace slicebroker::simhost
