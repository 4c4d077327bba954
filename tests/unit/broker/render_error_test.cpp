// SPDX-License-Identifier: Apache-2.0
#include "broker/render/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "broker/render/table.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using nlohmann::json;

// The failure of design.md section 6.
Error example() {
  Error vf;
  vf.code = ErrorCode::kRefused;
  vf.reason = "COMPAT_VGPU_NEEDS_QEMU";
  vf.tried = "vendor-vf";
  vf.subject = "0000:41:00.4";
  vf.fact = "cloud-hypervisor 53 cannot run an NVIDIA vGPU";
  Error gpu;
  gpu.code = ErrorCode::kHeld;
  gpu.reason = "GPU_NOT_IDLE";
  gpu.tried = "gpu";
  gpu.subject = "0000:41:00.0";
  gpu.fact = "1 other slice is leased (libvirt:db2)";
  Error refusal;
  refusal.code = ErrorCode::kRefused;
  refusal.reason = "COMPAT_VGPU_NEEDS_QEMU";
  refusal.tried = "find a device";
  refusal.hint = "use --for libvirt, or free GPU 0000:41:00.0 and repeat";
  refusal.causes = {vf, gpu};
  auto error = caused_by("attach MIG-6f1c to", "libvirt:web1", refusal);
  error.host = HostOutcome::kUntouched;
  return error;
}

TEST(ErrorText, IsThatOfTheDesign) {
  EXPECT_EQ(error_text(example()),
            "error: attach MIG-6f1c to libvirt:web1: refused\n"
            "  vendor-vf  0000:41:00.4  COMPAT_VGPU_NEEDS_QEMU  cloud-hypervisor 53 cannot run an NVIDIA vGPU\n"
            "  gpu        0000:41:00.0  GPU_NOT_IDLE            1 other slice is leased (libvirt:db2)\n"
            "host: untouched\n"
            "hint: use --for libvirt, or free GPU 0000:41:00.0 and repeat\n");
}

TEST(ErrorText, OfALeafNamesWhatPathAndErrno) {
  const auto text = error_text(os_error("write '0000:41:00.0'", "/sys/bus/pci/drivers/vfio-pci/bind", EBUSY));
  EXPECT_THAT(text, testing::StartsWith("error: write '0000:41:00.0' /sys/bus/pci/drivers/vfio-pci/bind: failed"));
  EXPECT_THAT(text, testing::HasSubstr("EBUSY"));
  EXPECT_THAT(text, testing::HasSubstr("Device or resource busy"));
}

TEST(ErrorText, KeepsTheLayersThatSaySomethingApart) {
  auto middle = caused_by("bind 0000:41:00.0 to vfio-pci", "", os_error("write '1'", "/sys/x", EBUSY));
  middle.fact = "the driver is nvidia";
  const auto text = error_text(caused_by("prepare", "web1", middle));
  EXPECT_EQ(text,
            "error: prepare web1: failed\n"
            "  bind 0000:41:00.0 to vfio-pci                 the driver is nvidia\n"
            "    write '1'                    /sys/x  EBUSY  Device or resource busy\n");
}

TEST(ErrorText, NamesEveryUndoThatFailed) {
  Error error;
  error.code = ErrorCode::kHostChanged;
  error.tried = "assign vGPU type 5";
  error.host = HostOutcome::kChanged;
  error.causes = {caused_by("undo: assign vGPU type 5 to VF 0000:41:00.4", "", os_error("write '0'", "/sys/x", EBUSY))};
  const auto text = error_text(error);
  EXPECT_THAT(text, testing::HasSubstr("undo: assign vGPU type 5 to VF 0000:41:00.4"));
  EXPECT_THAT(text, testing::HasSubstr("host: changed\n"));
}

TEST(ErrorJson, HasSchemaCodeAndEveryLayer) {
  const auto object = json::parse(error_json(example()));
  EXPECT_EQ(object.at("schema"), "slicebroker/1");
  const auto& error = object.at("error");
  EXPECT_EQ(error.at("code"), "REFUSED");
  EXPECT_EQ(error.at("reason"), "COMPAT_VGPU_NEEDS_QEMU");
  EXPECT_EQ(error.at("tried"), "attach MIG-6f1c to");
  EXPECT_EQ(error.at("subject"), "libvirt:web1");
  EXPECT_EQ(error.at("host"), "untouched");
  EXPECT_EQ(error.at("hint"), "use --for libvirt, or free GPU 0000:41:00.0 and repeat");
  ASSERT_EQ(error.at("causes").size(), 1U);
  const auto& candidates = error["causes"][0].at("causes");
  ASSERT_EQ(candidates.size(), 2U);
  EXPECT_EQ(candidates[1].at("code"), "HELD");
  EXPECT_EQ(candidates[1].at("subject"), "0000:41:00.0");
  EXPECT_FALSE(candidates[1].contains("errno"));
}

TEST(ErrorJson, NamesTheErrnoAndAReasonAlways) {
  const auto leaf = json::parse(error_json(os_error("open", "/sys/x", EACCES))).at("error");
  EXPECT_EQ(leaf.at("errno"), "EACCES");
  EXPECT_FALSE(leaf.contains("host")) << "nobody has said so";
  const auto bare = json::parse(error_json(Error{})).at("error");
  EXPECT_EQ(bare.at("reason"), "FAILED");
}

TEST(ErrorJson, TextFromTheHostThatIsNoUtf8IsReplaced) {
  auto error = os_error("understand", "/sys/x", EINVAL);
  error.fact = "its text is '\xff\xfe'";
  const auto object = json::parse(error_json(error), nullptr, false);
  ASSERT_FALSE(object.is_discarded());
  EXPECT_EQ(object["error"]["fact"], "its text is '\xEF\xBF\xBD\xEF\xBF\xBD'");
}

TEST(ExitStatus, IsThatOfTheDesign) {
  struct Case {
    std::string name;
    ErrorCode code;
    int status;
  };
  const Case cases[] = {
      {"failed, host as before", ErrorCode::kFailed, 1},
      {"usage or configuration", ErrorCode::kUsage, 2},
      {"not found", ErrorCode::kNotFound, 3},
      {"held by someone", ErrorCode::kHeld, 4},
      {"refused", ErrorCode::kRefused, 5},
      {"no answer in time", ErrorCode::kNoAnswer, 6},
      {"host changed and not restored", ErrorCode::kHostChanged, 7},
      {"drift found", ErrorCode::kDrift, 8},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(exit_status(c.code), c.status);
    Error error;
    error.code = c.code;
    error.tried = "x";
    EXPECT_THAT(error_text(error), testing::MatchesRegex("error: x: .+\n")) << "in words";
  }
}

TEST(Table, AlignsColumnsAndEndsLinesWithoutBlanks) {
  EXPECT_EQ(table({}), "");
  EXPECT_EQ(table({{"A", "LONG", "C"}, {"aaa", "", "c"}, {"a", "b", ""}}), "A    LONG  C\naaa        c\na    b\n");
  EXPECT_EQ(table({{"a"}, {"b", "c"}}, "  "), "  a\n  b  c\n");
}

TEST(Table, FoldsRowsThatDifferInOneColumnOnly) {
  using Rows = std::vector<std::vector<std::string>>;
  const Rows rows{{"VF", "0", "BUSY"}, {"VF", "1", "BUSY"}, {"VF", "2", "BUSY"},
                  {"VF", "3", "FREE"}, {"VF", "4", "BUSY"}, {"VF", "1", "BUSY"}};
  EXPECT_EQ(folded(rows, 1), (Rows{{"VF", "0 and 3 more", "BUSY"}, {"VF", "3", "FREE"}}));
  EXPECT_EQ(folded({}, 1), Rows{});
  EXPECT_EQ(folded({{"a"}, {"b"}}, 1), (Rows{{"a"}, {"b"}})) << "no such column";
}

}  // namespace
}  // namespace slicebroker::broker
