// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/uevent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/check.h"

namespace slicebroker::vfio {
namespace {

using test::fails;
using test::ok;
using testing::IsEmpty;
using testing::SizeIs;

using namespace std::string_literals;

const std::string kSubject = "/sys/bus/pci/devices/0000:41:00.0/uevent";

TEST(UeventAttribute, OfAFunctionOnItsDriver) {
  const auto uevent = parse_uevent_attribute(
      "DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:20B5\nPCI_SUBSYS_ID=10DE:1533\nPCI_SLOT_NAME=0000:41:00.0\n"
      "MODALIAS=pci:v000010DEd000020B5sv000010DEsd00001533bc03sc02i00\n",
      kSubject);
  ASSERT_TRUE(ok(uevent));
  EXPECT_EQ(uevent->action, "");
  EXPECT_EQ(uevent->devpath, "");
  EXPECT_EQ(uevent->value("DRIVER"), "nvidia");
  EXPECT_EQ(uevent->value("PCI_ID"), "10DE:20B5");
  EXPECT_EQ(uevent->value("SUBSYSTEM"), "");
  EXPECT_THAT(uevent->values, SizeIs(6));
}

TEST(UeventAttribute, ReadsOrRefuses) {
  struct Case {
    std::string name;
    std::string text;
    bool good;
  };
  const Case cases[] = {
      {"empty", "", true},
      {"only a newline", "\n", true},
      {"no newline at the end", "A=b", true},
      {"empty value", "A=\n", true},
      {"equals in the value", "A=b=c\n", true},
      {"key of another kernel", "OF_COMPATIBLE_0=nvidia,gpu\n", true},
      {"a page", "A=" + std::string(4094, 'x'), true},
      {"more than a page", "A=" + std::string(4095, 'x'), false},
      {"no equals", "DRIVER\n", false},
      {"no key", "=nvidia\n", false},
      {"blank in the key", "A B=c\n", false},
      {"empty line", "A=b\n\nC=d\n", false},
      {"NUL", "A=b\0C=d"s, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto uevent = parse_uevent_attribute(c.text, kSubject);
    EXPECT_EQ(uevent.has_value(), c.good);
    if (!c.good) {
      EXPECT_TRUE(fails(uevent, ErrorCode::kFailed, "MALFORMED_UEVENT"));
      EXPECT_EQ(uevent.error().subject, kSubject);
    }
  }
}

TEST(UeventMessage, OfABind) {
  const auto uevent = parse_uevent_message(
      "bind@/devices/pci0000:40/0000:41:00.0\0ACTION=bind\0DEVPATH=/devices/pci0000:40/0000:41:00.0\0"
      "SUBSYSTEM=pci\0DRIVER=vfio-pci\0SEQNUM=4711\0"s,
      "netlink");
  ASSERT_TRUE(ok(uevent));
  EXPECT_EQ(uevent->action, "bind");
  EXPECT_EQ(uevent->devpath, "/devices/pci0000:40/0000:41:00.0");
  EXPECT_EQ(uevent->value("DRIVER"), "vfio-pci");
  EXPECT_THAT(uevent->values, SizeIs(5));
}

TEST(UeventMessage, ReadsOrRefuses) {
  struct Case {
    std::string name;
    std::string text;
    bool good;
  };
  const Case cases[] = {
      {"header only", "add@/devices/x"s, true},
      {"at sign in the path", "add@/devices/x@1\0A=b\0"s, true},
      {"newline in a value", "add@/devices/x\0A=b\nc\0"s, true},
      {"empty", "", false},
      {"udev's own", "libudev\0\xfe\xed\xca\xfe"s, false},
      {"no action", "@/devices/x\0A=b\0"s, false},
      {"no path", "add@\0A=b\0"s, false},
      {"relative path", "add@devices/x\0A=b\0"s, false},
      {"empty line", "add@/devices/x\0\0A=b\0"s, false},
      {"too long", "add@/devices/x\0A="s + std::string(8192, 'x'), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto uevent = parse_uevent_message(c.text, "netlink");
    EXPECT_EQ(uevent.has_value(), c.good);
    if (!c.good) {
      EXPECT_TRUE(fails(uevent, ErrorCode::kFailed, "MALFORMED_UEVENT"));
    }
  }
}

TEST(Uevent, OfAKeyThatComesTwiceTheLastCounts) {
  const auto uevent = parse_uevent_attribute("DRIVER=nvidia\nDRIVER=vfio-pci\n", kSubject);
  ASSERT_TRUE(ok(uevent));
  EXPECT_EQ(uevent->value("DRIVER"), "vfio-pci");
}

}  // namespace
}  // namespace slicebroker::vfio
