// SPDX-License-Identifier: Apache-2.0
// Text that becomes a type: numbers, UUIDs, PCI addresses. Much of it comes from files and people that mean no good.
#include "vfio/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "vfio/base/pci_address.h"
#include "vfio/base/uuid.h"

namespace slicebroker {
namespace {

using testing::ElementsAre;

struct Case {
  std::string name;
  std::string text;
  std::optional<std::string> canonical;  // nullopt: refused
};

const std::string kNul("\0", 1);

TEST(PciAddress, ReadsOrRefuses) {
  const Case cases[] = {
      {"kernel's form", "0000:41:00.0", "0000:41:00.0"},
      {"short", "41:00.0", "0000:41:00.0"},
      {"NVML's form", "00000000:41:00.0", "0000:41:00.0"},
      {"libvirt's node device", "pci_0000_41_00_0", "0000:41:00.0"},
      {"capitals", "0000:C4:1F.7", "0000:c4:1f.7"},
      {"domain of VMD", "10000:c4:00.0", "10000:c4:00.0"},
      {"largest domain", "ffffffff:ff:1f.7", "ffffffff:ff:1f.7"},
      {"empty", "", {}},
      {"no function", "0000:41:00", {}},
      {"no bus", "00.0", {}},
      {"device too large", "0000:41:20.0", {}},
      {"function too large", "0000:41:00.8", {}},
      {"domain too short", "000:41:00.0", {}},
      {"domain too long", "000000000:41:00.0", {}},
      {"bus of one digit", "0000:4:00.0", {}},
      {"function of two digits", "0000:41:00.00", {}},
      {"a fourth part", "0000:0000:41:00.0", {}},
      {"not hexadecimal", "0000:4g:00.0", {}},
      {"signed", "0000:+1:00.0", {}},
      {"with 0x", "0x41:00.0", {}},
      {"blank before", " 41:00.0", {}},
      {"newline behind", "41:00.0\n", {}},
      {"NUL behind", "41:00.0" + kNul, {}},
      {"path behind", "41:00.0/../..", {}},
      {"path before", "../0000:41:00.0", {}},
      {"node device with colons", "pci_0000:41:00.0", {}},
      {"node device of another bus", "usb_0000_41_00_0", {}},
      {"node device with a part more", "pci_0000_41_00_0_0", {}},
      {"node device with a dot", "pci_0000_41_00_0.0", {}},
      {"only separators", "::.", {}},
      {"very long", std::string(100'000, '0') + ":41:00.0", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto address = PciAddress::parse(c.text);
    ASSERT_EQ(address.has_value(), c.canonical.has_value());
    if (!address) continue;
    EXPECT_EQ(address->to_string(), *c.canonical);
    EXPECT_EQ(PciAddress::parse(address->to_string()), address);
  }
}

TEST(PciAddress, OrderIsThatOfTheBus) {
  std::set<PciAddress> addresses;
  for (const char* text : {"10000:01:00.0", "0000:c4:00.0", "0000:41:00.1", "0000:41:00.0", "0000:41:01.0"}) {
    addresses.insert(*PciAddress::parse(text));
  }
  std::vector<std::string> texts;
  for (const auto& address : addresses) texts.push_back(address.to_string());
  EXPECT_THAT(texts, ElementsAre("0000:41:00.0", "0000:41:00.1", "0000:41:01.0", "0000:c4:00.0", "10000:01:00.0"));
}

TEST(Uuid, ReadsOrRefuses) {
  const std::string text = "6f1c2d3e-0000-5000-8000-00000000000a";
  const Case cases[] = {
      {"with dashes", text, text},
      {"without dashes", "6f1c2d3e00005000800000000000000a", text},
      {"capitals", "6F1C2D3E-0000-5000-8000-00000000000A", text},
      {"nil", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
      {"empty", "", {}},
      {"a digit short", text.substr(0, 35), {}},
      {"a digit more", text + "0", {}},
      {"dash moved", "6f1c2d3e0-000-5000-8000-00000000000a", {}},
      {"dash instead of a digit", "6f1c2d3e-0000-5000-8000-0000000-000a", {}},
      {"32 characters with a dash", "6f1c2d3e-000050008000000000000000", {}},
      {"not hexadecimal", "6f1c2d3e-0000-5000-8000-00000000000g", {}},
      {"in braces", "{" + text + "}", {}},
      {"a path of the same length", "../../../../../../../../etc/passwd/x", {}},
      {"NUL behind", text + kNul, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto uuid = Uuid::parse(c.text);
    ASSERT_EQ(uuid.has_value(), c.canonical.has_value());
    if (uuid) {
      EXPECT_EQ(uuid->to_string(), *c.canonical);
    }
  }
}

TEST(Uuid, RandomIsVersion4AndNeverTheSame) {
  const auto one = Uuid::random();
  EXPECT_NE(one, Uuid::random());
  EXPECT_EQ(one.to_string()[14], '4');
  EXPECT_THAT(std::string("89ab"), testing::HasSubstr(one.to_string().substr(19, 1)));
  EXPECT_EQ(Uuid::parse(one.to_string()), one);
}

TEST(Text, NumberIsTheWholeTextOrNothing) {
  struct NumberCase {
    std::string name;
    std::string text;
    std::optional<std::uint16_t> number;
  };
  const NumberCase cases[] = {
      {"zero", "0", 0},           {"largest", "65535", 65535}, {"leading zeros", "00042", 42},
      {"too large", "65536", {}}, {"empty", "", {}},           {"minus", "-1", {}},
      {"plus", "+1", {}},         {"blank before", " 1", {}},  {"newline behind", "1\n", {}},
      {"hex", "0x10", {}},        {"point", "1.0", {}},        {"NUL behind", "1" + kNul, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(parse_number<std::uint16_t>(c.text), c.number);
  }
}

TEST(Text, HexHasAtMostOnePrefix) {
  EXPECT_EQ(parse_hex<std::uint16_t>("0x10de"), 0x10de);
  EXPECT_EQ(parse_hex<std::uint16_t>("0X10DE"), 0x10de);
  EXPECT_EQ(parse_hex<std::uint16_t>("10de"), 0x10de);
  for (const char* text : {"", "0x", "0x0x10", "10deg", "0x10000", "-10"}) {
    EXPECT_EQ(parse_hex<std::uint16_t>(text), std::nullopt) << text;
  }
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",a,,b,", ','), ElementsAre("", "a", "", "b", ""));
}

TEST(Text, TrimTakesBlanksOffBothEndsOnly) {
  EXPECT_EQ(trim(" \t\r\n a b \n"), "a b");
  EXPECT_EQ(trim(" \n\t "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Text, LowerAndJoin) {
  EXPECT_EQ(lower("MIG-6F1C \xC4"), "mig-6f1c \xC4");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

}  // namespace
}  // namespace slicebroker
