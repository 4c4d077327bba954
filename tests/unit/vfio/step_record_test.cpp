// SPDX-License-Identifier: Apache-2.0
// Steps as they are written down: what a recovery after a crash makes of the record.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/check.h"
#include "tests/unit/fixture_host.h"
#include "vfio/step.h"

namespace slicebroker::vfio {
namespace {

using test::fails;
using test::ok;

constexpr PciAddress kGpu{0x10000, 0xc4, 0x1f, 7};
const Uuid kUuid = *Uuid::parse("6f1c2d3e-0000-5000-8000-00000000000a");

struct Case {
  std::string name;
  Step step;
};

const Case kSteps[] = {
    {"create an mdev", CreateMdev{kGpu, "nvidia-699", kUuid, 5}},
    {"create an mdev on any instance", CreateMdev{kGpu, "nvidia-699", kUuid, {}}},
    {"assign a type", AssignVgpuType{kGpu, 1155, 0}},
    {"assign a type on any instance", AssignVgpuType{kGpu, 1155, {}}},
    {"bind", BindDriver{kGpu, "vfio-pci"}},
    {"disable VFs", DisableVfs{kGpu}},
    {"destroy GPU instances", DestroyGpuInstances{kGpu}},
    {"disable MIG", DisableMig{kGpu}},
};

TEST(StepRecord, MakesTheSameStepAgain) {
  for (const auto& c : kSteps) {
    SCOPED_TRACE(c.name);
    const auto again = step_from(kind(c.step), fields(c.step));
    ASSERT_TRUE(ok(again));
    EXPECT_TRUE(*again == c.step);
    EXPECT_EQ(describe(*again), describe(c.step));
  }
}

TEST(StepRecord, WithAFieldMissingIsMalformedAndSaysWhich) {
  for (const auto& c : kSteps) {
    for (const auto& [key, value] : fields(c.step)) {
      if (key == "gpu_instance_id") continue;  // its absence means any
      SCOPED_TRACE(c.name + " without " + key);
      auto fewer = fields(c.step);
      fewer.erase(key);
      const auto step = step_from(kind(c.step), fewer);
      ASSERT_TRUE(fails(step, ErrorCode::kFailed, "MALFORMED_RECORD"));
      EXPECT_TRUE(test::mentions(step.error(), "'" + key + "'")) << to_text(step.error());
    }
  }
}

TEST(StepRecord, WithAGarbledFieldIsMalformedAndShowsIt) {
  for (const auto& c : kSteps) {
    for (const auto& [key, value] : fields(c.step)) {
      const bool mdev_type = std::holds_alternative<CreateMdev>(c.step) && key == "type";
      if (key == "driver" || mdev_type) continue;  // any text will do
      for (const char* garbage : {"", "garbage", "-1", "0000:41:00.0\n", "99999999999"}) {
        SCOPED_TRACE(c.name + " with " + key + " '" + garbage + "'");
        auto garbled = fields(c.step);
        garbled[key] = garbage;
        const auto step = step_from(kind(c.step), garbled);
        ASSERT_TRUE(fails(step, ErrorCode::kFailed, "MALFORMED_RECORD"));
        EXPECT_TRUE(test::mentions(step.error(), "'" + key + "'")) << to_text(step.error());
      }
    }
  }
}

TEST(StepRecord, OfAnUnknownKindIsMalformed) {
  for (const char* kind : {"", "bind", "BIND-DRIVER", "reset-gpu"}) {
    SCOPED_TRACE(kind);
    EXPECT_TRUE(fails(step_from(kind, {{"gpu", kGpu.to_string()}}), ErrorCode::kFailed, "MALFORMED_RECORD"));
  }
}

TEST(StepRecord, KindsAndDescriptionsTellStepsApart) {
  std::set<std::string> kinds;
  for (const auto& c : kSteps) {
    kinds.insert(std::string(kind(c.step)));
    EXPECT_NE(describe(c.step).find("10000:c4:1f.7"), std::string::npos) << describe(c.step);
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Step>);
}

// Nothing of the host is there: every step says so, and none reports success.
TEST(Step, OnAHostWithoutTheDeviceFails) {
  const test::FixtureHost fixture;
  const auto host = fixture.host();
  for (const auto& c : kSteps) {
    SCOPED_TRACE(c.name);
    const auto before = fixture.snapshot();
    const auto applied = vfio::apply(c.step, host);
    ASSERT_FALSE(applied);
    EXPECT_FALSE(applied.error().tried.empty());
    if (!std::holds_alternative<CreateMdev>(c.step)) {
      EXPECT_FALSE(observe(c.step, host));
    }
    EXPECT_TRUE(fixture.is_as(before));
  }
}

// What a step recorded is all that undo has; a record that can't be read must not be guessed at.
TEST(Step, UndoOfAGarbledRecordTouchesNothing) {
  struct UndoCase {
    std::string name;
    Step step;
    Fields before;
  };
  const UndoCase cases[] = {
      {"bind without driver", BindDriver{kGpu, "vfio-pci"}, {{"driver_override", "(null)"}}},
      {"bind without override", BindDriver{kGpu, "vfio-pci"}, {{"driver", "nvidia"}}},
      {"type without type", AssignVgpuType{kGpu, 5, {}}, {}},
      {"type garbled", AssignVgpuType{kGpu, 5, {}}, {{"type", "none"}}},
      {"VFs without count", DisableVfs{kGpu}, {}},
      {"VFs with a garbled count", DisableVfs{kGpu}, {{"count", "-4"}}},
      {"MIG without mode", DisableMig{kGpu}, {}},
      {"instances garbled", DestroyGpuInstances{kGpu}, {{"gpu_instance.1", "9,4"}}},
      {"instances with a garbled id", DestroyGpuInstances{kGpu}, {{"gpu_instance.x", "9,4,4"}}},
      {"instances with a garbled compute instance", DestroyGpuInstances{kGpu}, {{"gpu_instance.1", "9,4,4;1"}}},
  };
  const test::FixtureHost fixture;
  fixture.add_function(kGpu, {.driver = "vfio-pci", .driver_override = "vfio-pci"});
  fixture.set_vendor_vf(kGpu, "5", "");
  fixture.set_vfs(kGpu, {}, 16);
  const auto before = fixture.snapshot();
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(fails(undo(c.step, fixture.host(), c.before), ErrorCode::kFailed, "MALFORMED_RECORD"));
  }
  EXPECT_TRUE(fixture.is_as(before));
}

}  // namespace
}  // namespace slicebroker::vfio
