// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/reset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"

namespace slicebroker::vfio {
namespace {

using test::device_path;
using test::fails;
using test::FixtureHost;
using test::ok;
using testing::HasSubstr;

constexpr PciAddress kBridge{0, 0, 1, 0};
constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kAudio{0, 0x41, 0, 1};

class ResetTest : public testing::Test {
 protected:
  ResetTest() {
    host_.add_function(kBridge, {.class_code = "0x060400", .driver = "pcieport"});
    add_behind_bridge(kGpu);
  }

  void add_behind_bridge(const PciAddress& address, const std::string& driver = "vfio-pci",
                         const std::string& vfio_device = "vfio0") {
    host_.add_function(address, {.driver = driver, .iommu_group = 13, .vfio_device = vfio_device});
    host_.write(device_path(address, "reset"), "0");
    const std::string name = address.to_string();
    const std::string inside = device_path(kBridge, name);
    host_.link(inside, "../" + name);
    host_.link("sys/bus/pci/devices/" + name, "../../../devices/pci0000:00/" + kBridge.to_string() + "/" + name);
  }
  void set_methods(const PciAddress& address, const std::string& methods) {
    host_.write(device_path(address, "reset_method"), methods + "\n");
  }
  bool was_reset(const PciAddress& address, const std::string& leaf = "reset") const {
    return host_.read(device_path(address, leaf)) == "1";
  }
  Result<ResetDone> bus(const std::string& methods, const std::vector<PciAddress>& own) const {
    return reset_bus(host_.host(), kGpu, methods, own);
  }

  FixtureHost host_;
};

TEST_F(ResetTest, FunctionIsResetAndItsFirstMethodNamed) {
  set_methods(kGpu, "flr bus");
  const auto done = reset_function(host_.host(), kGpu);
  ASSERT_TRUE(ok(done));
  EXPECT_EQ(*done, (ResetDone{"function reset (flr)", {kGpu}}));
  EXPECT_TRUE(was_reset(kGpu));
}

TEST_F(ResetTest, WhatCanNotBeResetIsLeftAlone) {
  struct Case {
    std::string name;
    std::function<void()> arrange;
    std::string fact;
  };
  const Case cases[] = {
      {"no such files", [&] { host_.remove(device_path(kGpu, "reset_method")); }, "no way to reset it"},
      {"disabled by the administrator", [&] { set_methods(kGpu, ""); }, "no way to reset it"},
      {"on a driver of the host",
       [&] {
         host_.set_driver(kGpu, "nvidia");
         host_.remove(device_path(kGpu, "vfio-dev"));
       },
       "it is on nvidia"},
      {"gone", [&] { host_.remove("sys/bus/pci/devices/" + kGpu.to_string()); }, "no longer there"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    add_behind_bridge(kGpu);
    c.arrange();
    const auto done = reset_function(host_.host(), kGpu);
    ASSERT_TRUE(fails(done, ErrorCode::kRefused, "RESET_NOT_POSSIBLE"));
    EXPECT_THAT(done.error().fact, HasSubstr(c.fact));
    EXPECT_FALSE(was_reset(kGpu));
  }
}

TEST_F(ResetTest, FunctionWithoutADriverMayBeReset) {
  host_.set_driver(kGpu, "");
  host_.remove(device_path(kGpu, "vfio-dev"));
  EXPECT_TRUE(ok(reset_function(host_.host(), kGpu)));
}

TEST_F(ResetTest, RefusalOfTheKernelIsAFailure) {
  host_.make_unreadable(device_path(kGpu, "reset"));
  const auto done = reset_function(host_.host(), kGpu);
  ASSERT_TRUE(fails(done, ErrorCode::kFailed, "RESET_FAILED"));
  EXPECT_EQ(done.error().os_errno, ENXIO);
}

TEST_F(ResetTest, CardThatDoesNotComeBackIsAFailure) {
  host_.write(device_path(kGpu, "config"), "\xde\x10\xb5\x20");
  EXPECT_TRUE(ok(reset_function(host_.host(), kGpu)));
  host_.write(device_path(kGpu, "config"), std::string(256, '\xff'));
  const auto done = reset_function(host_.host(), kGpu);
  ASSERT_TRUE(fails(done, ErrorCode::kFailed, "RESET_FAILED"));
  EXPECT_THAT(done.error().fact, HasSubstr("no longer answers"));
}

// Every VF reads so: its PF has its vendor and device.
TEST_F(ResetTest, VfWithoutAVendorOfItsOwnIsNoDeadCard) {
  host_.write(device_path(kGpu, "config"), "\xff\xff\xff\xff" + std::string(60, '\4'));
  EXPECT_TRUE(ok(reset_function(host_.host(), kGpu)));
}

TEST_F(ResetTest, SilenceOfTheKernelEndsTheWait) {
  host_.make_fifo(device_path(kGpu, "reset"));
  const auto done = reset_function(host_.host(std::chrono::milliseconds(100)), kGpu);
  ASSERT_TRUE(fails(done, ErrorCode::kNoAnswer, "WEDGED"));
  EXPECT_THAT(done.error().fact, HasSubstr("400 ms")) << "longer than other writes may take";
}

TEST_F(ResetTest, BusOfALoneFunctionIsResetByItsMethod) {
  for (const auto* methods : {"flr bus", "bus", "bus flr"}) {
    SCOPED_TRACE(methods);
    set_methods(kGpu, methods);
    host_.write(device_path(kGpu, "reset"), "0");
    const auto done = bus(methods, {kGpu});
    ASSERT_TRUE(ok(done));
    EXPECT_EQ(*done, (ResetDone{"bus reset behind 0000:00:01.0", {kGpu}}));
    EXPECT_TRUE(was_reset(kGpu));
    EXPECT_EQ(host_.read(device_path(kGpu, "reset_method")), methods + std::string("\n")) << "as it was";
  }
}

TEST_F(ResetTest, MethodsAreRestoredAlsoAfterARefusal) {
  set_methods(kGpu, "flr bus");
  host_.make_unreadable(device_path(kGpu, "reset"));
  ASSERT_TRUE(fails(bus("flr bus", {kGpu}), ErrorCode::kFailed, "RESET_FAILED"));
  EXPECT_EQ(host_.read(device_path(kGpu, "reset_method")), "flr bus\n");
}

TEST_F(ResetTest, MethodsThatACutLeftBehindAreRestored) {
  add_behind_bridge(kAudio, "snd_hda_intel", "");
  set_methods(kGpu, "bus");
  ASSERT_TRUE(fails(bus("flr bus", {kGpu}), ErrorCode::kRefused, "RESET_NOT_POSSIBLE"));
  EXPECT_THAT(host_.read(device_path(kGpu, "reset_method")), testing::StartsWith("flr bus"));
}

TEST_F(ResetTest, BusIsResetOnlyWhereAllOfItIsOurs) {
  struct Case {
    std::string name;
    std::function<void()> arrange;
    std::vector<PciAddress> own;
    std::string fact;
  };
  const Case cases[] = {
      {"another function", [&] { add_behind_bridge(kAudio); }, {kGpu}, "would reach 0000:41:00.1"},
      {"two, and a bridge that can't", [&] { add_behind_bridge(kAudio); }, {kGpu, kAudio}, "more than one function"},
      {"no such method", [&] { set_methods(kGpu, "flr"); }, {kGpu}, "offers a reset of the bus"},
      {"no bridge",
       [&] { host_.link("sys/bus/pci/devices/0000:41:00.0", "../../../devices/pci0000:00/0000:41:00.0"); },
       {kGpu},
       "behind no bridge"},
      {"one that the host drives",
       [&] {
         add_behind_bridge(kAudio, "snd_hda_intel", "");
         host_.write(device_path(kBridge, "reset_subordinate"), "0");
       },
       {kGpu, kAudio},
       "on snd_hda_intel"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    host_.remove(device_path(kBridge, kAudio.to_string()));
    host_.remove("sys/bus/pci/devices/" + kAudio.to_string());
    host_.remove(device_path(kAudio));
    add_behind_bridge(kGpu);
    set_methods(kGpu, "flr bus");
    c.arrange();
    const auto done = bus(read_reset_methods(host_.host(), kGpu).value(), c.own);
    ASSERT_TRUE(fails(done, ErrorCode::kRefused, "RESET_NOT_POSSIBLE"));
    EXPECT_THAT(done.error().fact, HasSubstr(c.fact));
    EXPECT_FALSE(was_reset(kGpu));
  }
}

TEST_F(ResetTest, IsForeseenWhoeverDrivesTheFunction) {
  add_behind_bridge(kGpu, "nvidia", "");
  set_methods(kGpu, "flr bus");
  const auto both = foresee_reset(host_.host(), kGpu, {kGpu}, {}).value();
  EXPECT_EQ(both.no_function_reset, std::nullopt);
  EXPECT_EQ(both.no_bus_reset, std::nullopt);

  add_behind_bridge(kAudio, "snd_hda_intel", "");
  set_methods(kGpu, "");
  const auto neither = foresee_reset(host_.host(), kGpu, {kGpu, kAudio}, {}).value();
  EXPECT_EQ(neither.no_function_reset, "the kernel has no way to reset it");
  EXPECT_EQ(neither.no_bus_reset, "this kernel resets no bus with more than one function");
  set_methods(kGpu, "bus");
  EXPECT_EQ(foresee_reset(host_.host(), kGpu, {kGpu}, {kAudio}).value().no_bus_reset, std::nullopt);
  EXPECT_FALSE(was_reset(kGpu));
}

TEST_F(ResetTest, BridgeResetsAllThatIsBehindIt) {
  add_behind_bridge(kAudio);
  host_.write(device_path(kBridge, "reset_subordinate"), "0");
  const auto done = bus("flr", {kAudio, kGpu});
  ASSERT_TRUE(ok(done));
  EXPECT_EQ(*done, (ResetDone{"bus reset behind 0000:00:01.0", {kGpu, kAudio}}));
  EXPECT_TRUE(was_reset(kBridge, "reset_subordinate"));
  EXPECT_FALSE(was_reset(kGpu));
}

}  // namespace
}  // namespace slicebroker::vfio
