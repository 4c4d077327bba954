// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/hostdev_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace slicebroker::hypervisors::libvirt {
namespace {

using ::testing::ElementsAre;

TEST(HostdevXml, MediatedDevice) {
  Attachment attachment;
  attachment.id = "vgpu0";
  attachment.surface = Surface::kMdev;
  attachment.mdev = Uuid::parse("C2177883F1BB47F0914D32A22E3A8804");
  EXPECT_THAT(hostdev_xml(attachment),
              ElementsAre(R"(<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
  <source>
    <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804' />
  </source>
  <alias name='ua-vgpu0' />
</hostdev>)"));
}

TEST(HostdevXml, EveryPciSurfaceIsUnmanaged) {
  for (const auto surface : {Surface::kVendorVf, Surface::kVf, Surface::kGpu}) {
    SCOPED_TRACE(name(surface));
    Attachment attachment;
    attachment.id = "a";
    attachment.surface = surface;
    attachment.function = PciAddress::parse("10000:e1:1f.7");
    EXPECT_THAT(hostdev_xml(attachment), ElementsAre(R"(<hostdev mode='subsystem' type='pci' managed='no'>
  <source>
    <address domain='0x10000' bus='0xe1' slot='0x1f' function='0x7' />
  </source>
  <alias name='ua-a' />
</hostdev>)"));
  }
}

TEST(HostdevXml, CompanionsAreHeldAndNotGiven) {
  Attachment attachment;
  attachment.id = "gpu0";
  attachment.surface = Surface::kGpu;
  attachment.function = PciAddress::parse("41:00.0");
  attachment.companions = {*PciAddress::parse("41:00.1"), *PciAddress::parse("41:00.2")};
  const auto elements = hostdev_xml(attachment);
  ASSERT_EQ(elements.size(), 3u);
  EXPECT_EQ(elements[2], R"(<hostdev mode='subsystem' type='pci' managed='no'>
  <source>
    <address domain='0x0000' bus='0x41' slot='0x00' function='0x2' />
  </source>
  <alias name='ua-gpu0-2' />
  <address type='unassigned' />
</hostdev>)");
  EXPECT_EQ(companion_alias(attachment, 1), "ua-gpu0-2");
}

TEST(HostdevXml, IdThatIsNoneOfOursIsEscaped) {
  Attachment attachment;
  attachment.id = "a'/><evil b='&";
  attachment.surface = Surface::kGpu;
  attachment.function = PciAddress{};
  EXPECT_EQ(hostdev_xml(attachment)[0].find("<evil"), std::string::npos);
}

}  // namespace
}  // namespace slicebroker::hypervisors::libvirt
