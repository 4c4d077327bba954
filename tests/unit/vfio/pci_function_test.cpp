// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/pci_function.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/pci/modalias.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::FixtureHost;
using test::ok;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kVf0{0, 0x41, 0, 4};
constexpr PciAddress kVf1{0, 0x41, 0, 5};

TEST(PciFunction, ReadsEverythingThatSysfsShows) {
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia", .driver_override = "nvidia", .iommu_group = 13});
  fixture.add_function(kVf0, {.driver = "nvidia", .iommu_group = 40, .vfio_device = "vfio7"});
  fixture.add_function(kVf1, {.iommu_group = 41});
  fixture.set_vfs(kGpu, {kVf0, kVf1}, 16);
  fixture.set_nvidia_minor(kGpu, 3);

  const auto gpu = read_pci_function(fixture.root(), kGpu);
  ASSERT_TRUE(ok(gpu));
  EXPECT_EQ(gpu->address, kGpu);
  EXPECT_EQ(gpu->vendor, kVendorNvidia);
  EXPECT_EQ(gpu->device, 0x20b5);
  EXPECT_EQ(gpu->class_code, 0x030200U);
  EXPECT_EQ(gpu->driver, "nvidia");
  EXPECT_EQ(gpu->driver_override, "nvidia");
  EXPECT_EQ(gpu->iommu_group, 13U);
  EXPECT_THAT(gpu->vfio_devices, IsEmpty());
  EXPECT_EQ(gpu->nvidia_minor, 3U);
  EXPECT_EQ(gpu->physical_function, std::nullopt);
  EXPECT_EQ(gpu->vf_total, 16);
  EXPECT_EQ(gpu->vf_count, 2);
  EXPECT_THAT(gpu->virtual_functions, ElementsAre(kVf0, kVf1));

  const auto vf = read_pci_function(fixture.root(), kVf0);
  ASSERT_TRUE(ok(vf));
  EXPECT_EQ(vf->physical_function, kGpu);
  EXPECT_THAT(vf->vfio_devices, ElementsAre("vfio7"));
  EXPECT_EQ(vf->vf_total, 0);
  EXPECT_EQ(vf->driver_override, "(null)");
}

TEST(PciFunction, BareOneHasNeitherDriverNorGroupNorVfs) {
  const FixtureHost fixture;
  fixture.add_function(kGpu);
  fixture.remove(device_path(kGpu, "driver_override"));
  const auto function = read_pci_function(fixture.root(), kGpu);
  ASSERT_TRUE(ok(function));
  EXPECT_EQ(function->driver, std::nullopt);
  EXPECT_EQ(function->iommu_group, std::nullopt);
  EXPECT_EQ(function->nvidia_minor, std::nullopt);
  EXPECT_EQ(function->driver_override, "(null)");
  EXPECT_THAT(device_nodes(*function), IsEmpty());
}

TEST(PciFunction, WithoutModaliasIsReadAttributeByAttribute) {
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia"});
  const auto by_modalias = read_pci_function(fixture.root(), kGpu);
  ASSERT_TRUE(ok(by_modalias));
  EXPECT_EQ(by_modalias->modalias, "pci:v000010DEd000020B5sv00000000sd00000000bc03sc02i00");
  fixture.remove(device_path(kGpu, "modalias"));
  const auto by_attributes = read_pci_function(fixture.root(), kGpu);
  ASSERT_TRUE(ok(by_attributes));
  EXPECT_EQ(by_attributes->modalias, "");
  EXPECT_EQ(by_attributes->vendor, by_modalias->vendor);
  EXPECT_EQ(by_attributes->device, by_modalias->device);
  EXPECT_EQ(by_attributes->class_code, by_modalias->class_code);
}

// An unbind that waits in its driver holds the device's lock; kernels 6.10 to 6.14 take it to show `uevent`.
TEST(PciFunction, UeventIsNotRead) {
  const FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "nvidia"});
  fixture.make_unreadable(device_path(kGpu, "uevent"));
  EXPECT_TRUE(ok(read_pci_function(fixture.root(), kGpu)));
}

TEST(Modalias, ReadsOrRefuses) {
  const PciIdentity a100{0x10de, 0x20b5, 0x10de, 0x1533, 0x030200};
  const std::string text = "pci:v000010DEd000020B5sv000010DEsd00001533bc03sc02i00";
  EXPECT_EQ(parse_modalias(text), a100);
  EXPECT_EQ(to_modalias(a100), text);
  struct Case {
    std::string name;
    std::string text;
  };
  const Case cases[] = {
      {"empty", ""},
      {"another bus", "usb:v1D6Bp0002d0618dc09dsc00dp01ic09isc00ip00in00"},
      {"cut off", text.substr(0, text.size() - 1)},
      {"a digit more", text + "0"},
      {"newline behind", text + "\n"},
      {"vendor beyond 16 bits", "pci:v000110DEd000020B5sv000010DEsd00001533bc03sc02i00"},
      {"no number", "pci:v0000XXXXd000020B5sv000010DEsd00001533bc03sc02i00"},
      {"pattern", "pci:v000010DEd*sv*sd*bc03sc*i*"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(parse_modalias(c.text), std::nullopt);
  }
}

TEST(PciFunction, MissingOneIsNotFound) {
  const FixtureHost fixture;
  const auto function = read_pci_function(fixture.root(), kGpu);
  ASSERT_FALSE(function);
  EXPECT_EQ(function.error().code, ErrorCode::kNotFound);
}

TEST(PciFunction, VfsAreInTheirOwnOrder) {
  const FixtureHost fixture;
  fixture.add_function(kGpu);
  std::vector<PciAddress> vfs;
  for (std::uint8_t i = 0; i < 12; ++i) vfs.push_back({0, 0x41, static_cast<std::uint8_t>(31 - i), 0});
  fixture.set_vfs(kGpu, vfs, 12);
  EXPECT_EQ(read_pci_function(fixture.root(), kGpu).value().virtual_functions, vfs) << "virtfn10 comes after virtfn9";
}

TEST(PciFunction, MinorOfAGpuThatTheDriverLeftIsNotBelieved) {
  const FixtureHost fixture;
  fixture.add_function(kGpu);
  fixture.set_nvidia_minor(kGpu, 3);
  EXPECT_EQ(read_pci_function(fixture.root(), kGpu).value().nvidia_minor, std::nullopt);
}

TEST(PciFunctions, MalformedOneIsReportedAndTheOthersAreComplete) {
  struct Case {
    std::string name;
    std::string attribute;
    std::string text;
  };
  const Case cases[] = {
      {"vendor is no number", "vendor", "nvidia\n"}, {"vendor is empty", "vendor", "\n"},
      {"device too large", "device", "0x120b5\n"},   {"class too large", "class", "0x103020000\n"},
      {"number of VFs", "sriov_totalvfs", "many\n"}, {"number of VFs negative", "sriov_totalvfs", "-1\n"},
      {"modalias is empty", "modalias", "\n"},       {"modalias of another bus", "modalias", "usb:v1D6Bp0002\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const FixtureHost fixture;
    fixture.add_function(kGpu, {.driver = "nvidia"});
    fixture.add_function(kVf0);
    fixture.remove(device_path(kVf0, "modalias"));
    fixture.write(device_path(kVf0, c.attribute), c.text);
    fixture.add_function({0, 0xc4, 0, 0});
    std::vector<Error> problems;
    const auto functions = list_pci_functions(fixture.root(), problems);
    ASSERT_TRUE(ok(functions));
    ASSERT_THAT(*functions, SizeIs(2));
    EXPECT_EQ((*functions)[0].driver, "nvidia");
    EXPECT_EQ((*functions)[1].address, (PciAddress{0, 0xc4, 0, 0}));
    ASSERT_THAT(problems, SizeIs(1));
    EXPECT_TRUE(test::mentions(problems[0], kVf0.to_string())) << to_text(problems[0]);
    EXPECT_TRUE(test::mentions(problems[0],
                               fixture.directory() + "/sys/bus/pci/devices/" + kVf0.to_string() + "/" + c.attribute))
        << to_text(problems[0]);
  }
}

TEST(PciFunctions, VanishedOneIsLeftOutSilently) {
  const FixtureHost fixture;
  fixture.add_function(kGpu);
  fixture.link("sys/bus/pci/devices/0000:c4:00.0", "../../../devices/pci0000:00/0000:c4:00.0");
  std::vector<Error> problems;
  EXPECT_THAT(list_pci_functions(fixture.root(), problems).value(), SizeIs(1));
  EXPECT_THAT(problems, IsEmpty());
}

TEST(PciFunctions, AreByAddressAlsoBeyondDomain0) {
  const FixtureHost fixture;
  for (const char* text : {"10000:01:00.0", "0000:c4:00.0", "0000:41:00.0"}) {
    fixture.add_function(*PciAddress::parse(text));
  }
  fixture.make_directory("sys/bus/pci/devices/no-address");
  std::vector<Error> problems;
  std::vector<std::string> addresses;
  const auto functions = list_pci_functions(fixture.root(), problems).value();
  for (const auto& function : functions) {
    addresses.push_back(function.address.to_string());
  }
  EXPECT_THAT(addresses, ElementsAre("0000:41:00.0", "0000:c4:00.0", "10000:01:00.0"));
}

TEST(PciFunction, ClassTellsGpusAndBridges) {
  struct Case {
    std::string name;
    std::uint32_t class_code;
    bool virtual_function;
    bool gpu;
    bool bridge;
  };
  const Case cases[] = {
      {"3D controller", 0x030200, false, true, false},
      {"VGA controller", 0x030000, false, true, false},
      {"processing accelerator", 0x120000, false, true, false},
      {"other accelerator", 0x128000, false, false, false},
      {"VF of a GPU", 0x030200, true, false, false},
      {"audio of a GPU", 0x040300, false, false, false},
      {"PCI bridge", 0x060400, false, false, true},
      {"PCI bridge, subtractive", 0x060401, false, false, true},
      {"NVSwitch", 0x068000, false, false, false},
      {"host bridge", 0x060000, false, false, false},
      {"network", 0x020000, false, false, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    PciFunction function;
    function.class_code = c.class_code;
    if (c.virtual_function) function.physical_function = kGpu;
    EXPECT_EQ(is_gpu(function), c.gpu);
    EXPECT_EQ(is_bridge(function), c.bridge);
  }
}

TEST(PciFunction, NodesAreThoseThatHoldIt) {
  PciFunction function;
  function.iommu_group = 0;
  function.vfio_devices = {"vfio2"};
  function.nvidia_minor = 0;
  EXPECT_THAT(device_nodes(function), ElementsAre("/dev/vfio/0", "/dev/vfio/devices/vfio2", "/dev/nvidia0"));
}

}  // namespace
}  // namespace slicebroker::vfio
