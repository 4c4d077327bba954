// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace slicebroker::hypervisors::libvirt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string with_request(const std::string& devices, const std::string& request_attributes = "") {
  return "<domain type='kvm'><name>web1</name><metadata>"
         "<slicebroker:request xmlns:slicebroker='urn:slicebroker:1'" +
         request_attributes + ">" + devices + "</slicebroker:request></metadata><devices/></domain>";
}

std::string with_devices(const std::string& devices) {
  return "<domain type='kvm'><name>web1</name><devices>" + devices + "</devices></domain>";
}

Attachment mdev(const std::string& id, const char* uuid = "c2177883-f1bb-47f0-914d-32a22e3a8804") {
  Attachment attachment;
  attachment.id = id;
  attachment.surface = Surface::kMdev;
  attachment.mdev = Uuid::parse(uuid);
  return attachment;
}

Attachment gpu(const std::string& id, const char* function = "41:00.0") {
  Attachment attachment;
  attachment.id = id;
  attachment.surface = Surface::kGpu;
  attachment.function = PciAddress::parse(function);
  attachment.companions = {*PciAddress::parse("41:00.1")};
  return attachment;
}

// As `virsh dumpxml` prints it, with what people add.
constexpr auto kTypical = R"(<?xml version='1.0' encoding='UTF-8'?>
<!-- managed by ansible -->
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web1</name>
  <uuid>C7A5FDBD-CDAF-9455-926A-D65C16DB1809</uuid>
  <title>R&amp;D &lt;1&gt; "quoted"</title>
  <metadata>
    <app:info xmlns:app="urn:app"><app:note>  two  blanks </app:note></app:info>
    <slicebroker:request xmlns:slicebroker='urn:slicebroker:1'>
      <!-- the small one -->
      <slicebroker:device selector='MIG-6f1c7a2e-0d5b-5b0e-9d57-2f3f6b1c0a11' fallback='none' isolation='hardware'/>
      <slicebroker:device selector='gpu=41:00.0' allow-group-member='0000:41:00.1  41:00.2'/>
    </slicebroker:request>
  </metadata>
  <memory unit='KiB'>1048576</memory>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
  </os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source>
        <address domain='0x0000' bus='0x06' slot='0x12' function='0x5'/>
      </source>
      <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    </hostdev>

    <memballoon model='virtio'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-fw_cfg'/>
  </qemu:commandline>
</domain>
)";

TEST(ReadDomain, Typical) {
  const auto domain = read_domain(kTypical);
  ASSERT_TRUE(domain) << domain.error().fact;
  EXPECT_EQ(domain->name, "web1");
  EXPECT_EQ(domain->uuid->to_string(), "c7a5fdbd-cdaf-9455-926a-d65c16db1809");
  EXPECT_EQ(domain->type, "kvm");
  EXPECT_FALSE(domain->cloud_hypervisor);
  ASSERT_EQ(domain->requests.size(), 2u);
  EXPECT_EQ(domain->requests[0].selector, "MIG-6f1c7a2e-0d5b-5b0e-9d57-2f3f6b1c0a11");
  EXPECT_EQ(domain->requests[0].fallback, "none");
  EXPECT_EQ(domain->requests[0].isolation, "hardware");
  EXPECT_EQ(domain->requests[1].fallback, "");
  EXPECT_THAT(domain->requests[1].group_members, ElementsAre("0000:41:00.1", "0000:41:00.2"));
  EXPECT_THAT(domain->functions, ElementsAre(*PciAddress::parse("06:12.5"))) << "the guest's address is not the host's";
}

TEST(ReadDomain, DomainsThatAreNotOurs) {
  struct Case {
    const char* name;
    std::string xml;
  };
  const Case cases[] = {
      {"no metadata", with_devices("")},
      {"another tool's request",
       "<domain><name>a</name><metadata><x:request xmlns:x='urn:x'><x:device/></x:request>"
       "</metadata></domain>"},
      {"prefix that nobody declared",
       "<domain><name>a</name><metadata><x:request><x:device/></x:request></metadata>"
       "</domain>"},
      {"our prefix for another tool",
       "<domain><name>a</name><metadata><slicebroker:x xmlns:slicebroker='urn:x'/>"
       "</metadata></domain>"},
      {"outside the metadata",
       "<domain><name>a</name><s:request xmlns:s='urn:slicebroker:1'><s:device/></s:request>"
       "</domain>"},
      {"empty request", with_request("")},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto domain = read_domain(c.xml);
    ASSERT_TRUE(domain) << domain.error().fact;
    EXPECT_THAT(domain->requests, IsEmpty());
  }
}

TEST(ReadDomain, NamespaceCountsAndNotThePrefix) {
  struct Case {
    const char* name;
    std::string metadata;
  };
  const Case cases[] = {
      {"another prefix",
       "<metadata><b:request xmlns:b='urn:slicebroker:1'><b:device selector='x'/></b:request></metadata>"},
      {"no prefix", "<metadata><request xmlns='urn:slicebroker:1'><device selector='x'/></request></metadata>"},
      {"declared further up",
       "<metadata xmlns:b='urn:slicebroker:1'><b:request><b:device selector='x'/></b:request></metadata>"},
      {"declared anew",
       "<metadata xmlns:b='urn:x'><b:request xmlns:b='urn:slicebroker:1'><b:device "
       "selector='x'/></b:request></metadata>"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto domain = read_domain("<domain><name>a</name>" + c.metadata + "</domain>");
    ASSERT_TRUE(domain) << domain.error().fact;
    EXPECT_EQ(domain->requests.size(), 1u);
  }
}

TEST(ReadDomain, Refusals) {
  struct Case {
    const char* name;
    std::string xml;
    const char* fact;  // a part of it
  };
  const std::string many = [] {
    std::string devices;
    for (int i = 0; i < 65; ++i) devices += "<slicebroker:device selector='x'/>";
    return devices;
  }();
  std::string deep = "<domain><name>a</name>";
  for (int i = 0; i < 300; ++i) deep += "<a>";
  for (int i = 0; i < 300; ++i) deep += "</a>";
  deep += "</domain>";
  const Case cases[] = {
      {"empty", "", "no element"},
      {"blanks", " \n", "no element"},
      {"text", "hello", ""},
      {"wrong root", "<network><name>a</name></network>", "not <domain>"},
      {"status file", "<domstatus><domain><name>a</name></domain></domstatus>", "not <domain>"},
      {"two roots", "<domain><name>a</name></domain><domain/>", "more than one"},
      {"text behind the root", "<domain><name>a</name></domain>x", "more than one"},
      {"cut off", "<domain><name>a</name>", "tag"},
      {"crossed tags", "<domain><name>a</domain></name>", "tag"},
      {"no name", "<domain><devices/></domain>", "no name"},
      {"NUL byte", std::string("<domain><name>a\0b</name></domain>", 33), "NUL"},
      {"malformed domain UUID", "<domain><name>a</name><uuid>1</uuid></domain>", "malformed UUID '1'"},
      {"DOCTYPE", "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain><name>a</name></domain>", "DOCTYPE"},
      {"billion laughs", "<!DOCTYPE d [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><domain><name>&b;</name></domain>",
       "DOCTYPE"},
      {"nested too deep", deep, "deep"},
      {"no selector", with_request("<slicebroker:device/>"), "without selector"},
      {"empty selector", with_request("<slicebroker:device selector=''/>"), "without selector"},
      {"misspelt attribute", with_request("<slicebroker:device selector='x' falback='none'/>"), "'falback'"},
      {"attribute twice", with_request("<slicebroker:device selector='x' selector='y'/>"), "twice"},
      {"malformed mdev", with_request("<slicebroker:device selector='x' mdev='1'/>"), "malformed UUID"},
      {"malformed function", with_request("<slicebroker:device selector='x' function='41'/>"), "malformed PCI address"},
      {"malformed group member", with_request("<slicebroker:device selector='x' allow-group-member='41:00.0 b'/>"),
       "malformed PCI address 'b'"},
      {"mdev and function",
       with_request("<slicebroker:device selector='x' function='41:00.0' "
                    "mdev='c2177883-f1bb-47f0-914d-32a22e3a8804'/>"),
       "both"},
      {"65 devices", with_request(many), "64"},
      {"something else in the request", with_request("<slicebroker:devise selector='x'/>"), "slicebroker:devise"},
      {"request twice",
       "<domain><name>a</name><metadata><b:request xmlns:b='urn:slicebroker:1'/>"
       "<c:request xmlns:c='urn:slicebroker:1'/></metadata></domain>",
       "second request"},
      {"request of a later version",
       "<domain><name>a</name><metadata><b:request xmlns:b='urn:slicebroker:2'/></metadata></domain>", "not known"},
      {"misspelt request",
       "<domain><name>a</name><metadata><b:requests xmlns:b='urn:slicebroker:1'/></metadata></domain>", "not known"},
      {"forgotten namespace", "<domain><name>a</name><metadata><slicebroker:request/></metadata></domain>",
       "not declared"},
      {"hostdev mdev without UUID", with_devices("<hostdev type='mdev'><source/></hostdev>"), "malformed UUID"},
      {"hostdev PCI without address", with_devices("<hostdev type='pci'><source/></hostdev>"), "without <source>"},
      {"hostdev PCI bus too large",
       with_devices("<hostdev type='pci'><source><address bus='0x100'/></source></hostdev>"), "malformed PCI bus"},
      {"hostdev PCI slot no number",
       with_devices("<hostdev type='pci'><source><address slot='1f'/></source></hostdev>"), "malformed PCI slot"},
      {"hostdev PCI function too large",
       with_devices("<hostdev type='pci'><source><address function='8'/></source></hostdev>"),
       "malformed PCI function"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto domain = read_domain(c.xml);
    ASSERT_FALSE(domain);
    EXPECT_EQ(domain.error().code, ErrorCode::kUsage);
    EXPECT_THAT(domain.error().subject, HasSubstr("offset "));
    EXPECT_THAT(domain.error().fact, HasSubstr(c.fact));
  }
}

TEST(ReadDomain, Sizes) {
  const std::string frame = "<domain><name>a</name><!---->";
  const auto padded = [&](std::size_t size) {
    return "<domain><name>a</name><!--" + std::string(size - frame.size() - 9, 'x') + "--></domain>";
  };
  EXPECT_TRUE(read_domain(padded(std::size_t{16} << 20)));
  const auto over = read_domain(padded((std::size_t{16} << 20) + 1));
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().fact, HasSubstr("16 MiB"));
}

// pugixml frees nodes recursively: 2 million levels would end the process.
TEST(ReadDomain, DepthIsBoundedBeforeAnythingRecurses) {
  std::string xml = "<domain><name>a</name><devices><hostdev>";
  constexpr int kLevels = 1'000'000;
  for (int i = 0; i < kLevels; ++i) xml += "<a>";
  for (int i = 0; i < kLevels; ++i) xml += "</a>";
  EXPECT_FALSE(read_domain(xml + "</hostdev></devices></domain>"));
}

TEST(ReadDomain, NumbersOfPciAddresses) {
  struct Case {
    const char* name;
    const char* address;
    const char* bdf;
  };
  const Case cases[] = {
      {"hexadecimal", "domain='0x0001' bus='0x41' slot='0x1F' function='0x7'", "0001:41:1f.7"},
      {"decimal", "domain='0' bus='65' slot='31' function='7'", "0000:41:1f.7"},
      {"octal, as C reads it", "domain='0000' bus='0101' slot='037' function='07'", "0000:41:1f.7"},
      {"missing parts are 0", "bus='0x41'", "0000:41:00.0"},
      {"large domain", "domain='0x10000' bus='0x01'", "10000:01:00.0"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto domain = read_domain(
        with_devices("<hostdev type='pci'><source><address " + std::string(c.address) + "/></source></hostdev>"));
    ASSERT_TRUE(domain) << domain.error().fact;
    EXPECT_THAT(domain->functions, ElementsAre(*PciAddress::parse(c.bdf)));
  }
}

TEST(ReadDomain, Hostdevs) {
  const auto domain =
      read_domain(with_devices("<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>"
                               "<hostdev mode='capabilities' type='misc'><source><char>/dev/x</char></source></hostdev>"
                               "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
                               "<address uuid='C2177883-F1BB-47F0-914D-32A22E3A8804'/></source></hostdev>"
                               "<interface type='hostdev'><source><address type='pci' bus='0x07'/></source></interface>"
                               "<interface type='network'><source network='default'/></interface>"));
  ASSERT_TRUE(domain) << domain.error().fact;
  EXPECT_THAT(domain->mdevs, ElementsAre(*Uuid::parse("c2177883-f1bb-47f0-914d-32a22e3a8804")));
  EXPECT_THAT(domain->functions, ElementsAre(*PciAddress::parse("07:00.0")));
}

TEST(ReadDomain, MadeForCloudHypervisor) {
  EXPECT_TRUE(read_domain("<domain type='hyperv'><name>a</name></domain>")->cloud_hypervisor);
  EXPECT_TRUE(read_domain(with_devices("<emulator>/usr/bin/cloud-hypervisor</emulator>"))->cloud_hypervisor);
  EXPECT_FALSE(read_domain(with_devices("<emulator>/usr/bin/qemu-system-x86_64</emulator>"))->cloud_hypervisor);
}

TEST(CompleteDomain, AddsTheDevicesAndKeepsTheRest) {
  const auto completed = complete_domain(kTypical, {mdev("vgpu0"), gpu("gpu0")});
  ASSERT_TRUE(completed) << completed.error().fact;
  std::string expected = kTypical;
  const auto edit = [&](const std::string& before, const std::string& after) {
    const auto at = expected.find(before);
    ASSERT_NE(at, std::string::npos) << before;
    expected.replace(at, before.size(), after);
  };
  edit("isolation='hardware'/>", "isolation='hardware' mdev='c2177883-f1bb-47f0-914d-32a22e3a8804'/>");
  edit("41:00.1  41:00.2'/>", "41:00.1  41:00.2' function='0000:41:00.0'/>");
  edit("xmlns:app=\"urn:app\"", "xmlns:app='urn:app'");
  edit("    <memballoon model='virtio'/>\n", R"(    <memballoon model='virtio'/>
    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
      <source>
        <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>
      </source>
      <alias name='ua-vgpu0'/>
    </hostdev>
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source>
        <address domain='0x0000' bus='0x41' slot='0x00' function='0x0'/>
      </source>
      <alias name='ua-gpu0'/>
    </hostdev>
    <hostdev mode='subsystem' type='pci' managed='no'>
      <source>
        <address domain='0x0000' bus='0x41' slot='0x00' function='0x1'/>
      </source>
      <alias name='ua-gpu0-1'/>
      <address type='unassigned'/>
    </hostdev>
)");
  EXPECT_EQ(*completed, expected);
}

TEST(CompleteDomain, TwiceIsOnceWhateverTheLayout) {
  const std::string request =
      "<metadata><s:request xmlns:s='urn:slicebroker:1'><s:device selector='x'/></s:request></metadata>";
  const auto layout = [&](const std::string& devices) {
    return "<domain><name>a</name>" + request + devices + "</domain>";
  };
  struct Case {
    const char* name;
    std::string xml;
  };
  const Case cases[] = {
      {"no devices", layout("")},
      {"no devices, indented", layout("\n  \n")},
      {"one line", layout("<devices><disk/></devices>")},
      {"empty element", layout("<devices/>")},
      {"blank inside", layout("<devices> </devices>")},
      {"line break inside", layout("<devices>\n  </devices>")},
      {"blank behind the last", layout("<devices><disk/> </devices>")},
      {"no line break at the end", layout("<devices>\n    <disk/></devices>")},
      {"blank line at the start", layout("<devices>\n\n    <disk/>\n  </devices>")},
      {"tabs", layout("<devices>\n\t\t<disk/>\n\t</devices>")},
      {"comment at the end", layout("<devices>\n    <disk/>\n    <!-- end -->\n  </devices>")},
      {"text between", layout("<devices>\n    <disk/>x\n  </devices>")},
      {"Windows line ends", layout("<devices>\r\n    <disk/>\r\n  </devices>")},
      {"ours comes first",
       layout("<devices>\n    <hostdev><alias name='ua-gpu0'/></hostdev>\n    <disk/>\n  </devices>")},
      {"ours stands alone", layout("<devices>\n    <hostdev><alias name='ua-gpu0'/></hostdev>\n  </devices>")},
      {"ours in another layout", layout("<devices> <hostdev><alias name='ua-gpu0'/></hostdev><disk/>\n\n</devices>")},
      {"double quotes",
       "<domain type=\"kvm\"><name>a</name>" + request + "<devices><disk type=\"x\"/></devices></domain>"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto once = complete_domain(c.xml, {gpu("gpu0")});
    ASSERT_TRUE(once) << once.error().fact;
    const auto twice = complete_domain(*once, {gpu("gpu0")});
    ASSERT_TRUE(twice) << twice.error().fact;
    EXPECT_EQ(*once, *twice);
    const auto domain = read_domain(*twice);
    ASSERT_TRUE(domain) << domain.error().fact;
    EXPECT_EQ(domain->functions.size(), 2u);
    EXPECT_EQ(domain->requests.at(0).function, PciAddress::parse("41:00.0"));
  }
}

TEST(CompleteDomain, QuotesFollowTheText) {
  const std::string xml = R"(<domain type="kvm"><name>a</name><metadata><s:request xmlns:s="urn:slicebroker:1">)"
                          R"(<s:device selector="type=&quot;NVIDIA L40S-8Q&quot;"/></s:request></metadata></domain>)";
  const auto completed = complete_domain(xml, {gpu("gpu0")});
  ASSERT_TRUE(completed);
  EXPECT_THAT(*completed, HasSubstr(R"(<domain type="kvm">)"));
  EXPECT_THAT(*completed, HasSubstr(R"(selector="type=&quot;NVIDIA L40S-8Q&quot;" function="0000:41:00.0")"));
  EXPECT_EQ(read_domain(*completed)->requests.at(0).selector, R"(type="NVIDIA L40S-8Q")");
}

TEST(CompleteDomain, AnotherDeviceReplacesTheFormerOne) {
  const auto first = complete_domain(kTypical, {mdev("lease-1"), gpu("lease-2")});
  ASSERT_TRUE(first);
  const auto second =
      complete_domain(*first, {gpu("lease-3", "42:00.0"), mdev("lease-4", "11111111-1111-4111-8111-111111111111")});
  ASSERT_TRUE(second) << second.error().fact;
  const auto domain = read_domain(*second);
  ASSERT_TRUE(domain);
  EXPECT_THAT(domain->mdevs, ElementsAre(*Uuid::parse("11111111-1111-4111-8111-111111111111")));
  EXPECT_THAT(domain->functions,
              ElementsAre(*PciAddress::parse("06:12.5"), *PciAddress::parse("42:00.0"), *PciAddress::parse("41:00.1")))
      << "the user's own, ours, and its companion";
  EXPECT_EQ(domain->requests[0].mdev, std::nullopt);
  EXPECT_EQ(domain->requests[0].function, PciAddress::parse("42:00.0"));
  EXPECT_EQ(domain->requests[1].function, std::nullopt);
  EXPECT_EQ(
      *complete_domain(*second, {gpu("lease-3", "42:00.0"), mdev("lease-4", "11111111-1111-4111-8111-111111111111")}),
      *second);
}

TEST(CompleteDomain, HostdevsOfOthersStay) {
  const std::string xml = with_request("<slicebroker:device selector='x' function='0000:41:00.0'/>");
  const auto place = xml.find("<devices/>");
  const std::string theirs =
      "<hostdev type='pci'><source><address bus='0x41'/></source><alias name='hostdev0'/></hostdev>"
      "<hostdev type='pci'><source><address bus='0x50'/></source><alias name='ua-sriov-1'/></hostdev>"
      "<hostdev type='pci'><source><address bus='0x51'/></source><alias name='ua-gpu0-x'/></hostdev>"
      "<hostdev type='pci'><source><address bus='0x52'/></source><alias name='ua-gpu0-1'/></hostdev>";
  const auto completed =
      complete_domain(std::string(xml).replace(place, 10, "<devices>" + theirs + "</devices>"), {mdev("gpu0")});
  ASSERT_TRUE(completed) << completed.error().fact;
  EXPECT_THAT(*completed, HasSubstr(theirs));
}

TEST(CompleteDomain, Refusals) {
  EXPECT_THAT(complete_domain(with_devices(""), {}).error().fact, HasSubstr("requests no device"));
  EXPECT_THAT(complete_domain(kTypical, {gpu("a")}).error().fact, HasSubstr("2 requested devices, but 1"));
  EXPECT_EQ(complete_domain("<a/>", {}).error().code, ErrorCode::kUsage);
}

TEST(FindGuestAddress, ByAlias) {
  const auto xml = with_devices(
      "<hostdev type='pci'><source><address bus='0x41'/></source><alias name='ua-a'/>"
      "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></hostdev>"
      "<hostdev type='pci'><source><address bus='0x42'/></source><alias name='ua-a-1'/>"
      "<address type='unassigned'/></hostdev>"
      "<hostdev type='pci'><source><address bus='0x43'/></source><alias name='ua-b'/></hostdev>");
  using Found = std::optional<std::string>;
  EXPECT_EQ(*find_guest_address(xml, "ua-a"), Found("0000:05:00.0"));
  EXPECT_EQ(*find_guest_address(xml, "ua-a-1"), Found(""));
  EXPECT_EQ(*find_guest_address(xml, "ua-b"), Found(""));
  EXPECT_EQ(*find_guest_address(xml, "ua-c"), Found());
  EXPECT_FALSE(find_guest_address("nonsense", "ua-a"));
}

// The schema of the libvirt that is installed; on Debian 12 that is 9.0.
TEST(CompleteDomain, IsValidForLibvirtsSchema) {
  constexpr auto kSchema = "/usr/share/libvirt/schemas/domain.rng";
  if (!std::filesystem::exists(kSchema)) GTEST_SKIP() << kSchema << " is not installed (libvirt0 or libvirt-common)";
  if (std::system("command -v xmllint >/dev/null 2>&1") != 0) GTEST_SKIP() << "xmllint is not installed";
  std::string name = (std::filesystem::temp_directory_path() / "slicebroker-xml-XXXXXX").string();
  const std::string directory = ::mkdtemp(name.data());
  auto vf = gpu("vf0", "10000:e1:1f.7");
  vf.surface = Surface::kVendorVf;
  std::ofstream(directory + "/domain.xml") << *complete_domain(kTypical, {mdev("vgpu0"), vf});
  const auto command = "xmllint --nonet --noout --relaxng " + std::string(kSchema) + " " + directory + "/domain.xml >" +
                       directory + "/log 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream log(directory + "/log");
  EXPECT_EQ(status, 0) << std::string(std::istreambuf_iterator<char>(log), {});
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace slicebroker::hypervisors::libvirt
