// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/compatibility.h"

#include <gtest/gtest.h>

namespace slicebroker::hypervisors {
namespace {

constexpr HypervisorKind kKinds[] = {HypervisorKind::kLibvirt, HypervisorKind::kCloudHypervisor};
constexpr Surface kSurfaces[] = {Surface::kVendorVf, Surface::kMdev, Surface::kVf, Surface::kGpu};
constexpr Vendor kVendors[] = {Vendor::kAny, Vendor::kNvidia, Vendor::kNvidiaGrace};

TEST(Compatibility, EveryCombinationHasARow) {
  // Each version at which a row begins or ends, the one before, and none.
  std::vector<std::optional<Version>> versions{std::nullopt,      Version{},         Version{9, 0, 0},
                                               Version{11, 3, 0}, Version{53, 0, 0}, Version{4'000'000'000u, 0, 0}};
  for (const auto& row : compatibility_table()) {
    versions.emplace_back(row.since);
    if (row.until) versions.emplace_back(row.until);
  }
  for (const auto kind : kKinds) {
    for (const auto surface : kSurfaces) {
      for (const auto vendor : kVendors) {
        for (const auto& version : versions) {
          const auto& row = compatibility(kind, version, surface, vendor);
          EXPECT_EQ(row.hypervisor, kind);
          EXPECT_EQ(row.surface, surface);
        }
      }
    }
  }
}

TEST(Compatibility, EveryRowSaysWhyAndWhence) {
  for (const auto& row : compatibility_table()) {
    SCOPED_TRACE(std::string(name(row.hypervisor)) + " " + std::string(name(row.surface)) + " " +
                 std::string(row.reason));
    EXPECT_FALSE(row.explanation.empty());
    EXPECT_FALSE(row.source.empty());
    if (!row.reason.empty()) {
      EXPECT_TRUE(row.reason.starts_with("COMPAT_"));
    }
    if (row.until) {
      EXPECT_LT(row.since, *row.until);
    }
  }
}

TEST(Compatibility, VendorIsToldByTheIds) {
  EXPECT_EQ(vendor_of(0x10de, 0x20b5), Vendor::kNvidia);
  constexpr std::uint16_t kGrace[] = {0x2342, 0x2345, 0x2348, 0x2941, 0x31c2};
  for (const auto grace : kGrace) {
    EXPECT_EQ(vendor_of(0x10de, grace), Vendor::kNvidiaGrace) << grace;
  }
  EXPECT_EQ(vendor_of(0x1002, 0x2342), Vendor::kAny) << "another vendor's device of that number";
}

TEST(Compatibility, RefusalOfAnAdapterSaysWhyAndWhence) {
  for (const auto& row : adapter_refusals()) {
    EXPECT_TRUE(row.reason.starts_with("COMPAT_"));
    EXPECT_FALSE(row.when.empty() || row.explanation.empty() || row.source.empty()) << row.reason;
  }
}

TEST(Compatibility, Verdicts) {
  struct Case {
    HypervisorKind kind;
    const char* version;  // empty: unknown
    Surface surface;
    Vendor vendor;
    const char* reason;
  };
  const auto libvirt = HypervisorKind::kLibvirt;
  const auto ch = HypervisorKind::kCloudHypervisor;
  const Case cases[] = {
      {ch, "53.0", Surface::kVendorVf, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU"},
      {ch, "53.0", Surface::kMdev, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU"},
      {ch, "", Surface::kMdev, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU"},
      {ch, "20.0", Surface::kVendorVf, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU"},
      {ch, "53.0", Surface::kVendorVf, Vendor::kAny, ""},
      {ch, "53.0", Surface::kMdev, Vendor::kAny, "COMPAT_MDEV_UNPROVEN"},
      {ch, "53.0", Surface::kGpu, Vendor::kNvidia, ""},
      {ch, "53.0", Surface::kVf, Vendor::kNvidia, ""},
      {ch, "53.0", Surface::kGpu, Vendor::kNvidiaGrace, "COMPAT_GRACE_UNSUPPORTED"},
      {ch, "53.0", Surface::kMdev, Vendor::kNvidiaGrace, "COMPAT_VGPU_NEEDS_QEMU"},
      {libvirt, "11.3.0", Surface::kGpu, Vendor::kNvidiaGrace, ""},
      {libvirt, "3.1.0", Surface::kMdev, Vendor::kNvidia, "COMPAT_MDEV_NEEDS_NEWER_LIBVIRT"},
      {libvirt, "3.2.0", Surface::kMdev, Vendor::kAny, ""},
      {libvirt, "9.0.0", Surface::kVendorVf, Vendor::kNvidia, "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT"},
      {libvirt, "9.0.0", Surface::kVendorVf, Vendor::kAny, "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT"},
      {libvirt, "9.10.0", Surface::kVendorVf, Vendor::kNvidia, "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT"},
      {libvirt, "10.0.0", Surface::kVendorVf, Vendor::kNvidia, ""},
      {libvirt, "11.3.0", Surface::kVendorVf, Vendor::kNvidia, ""},
      {libvirt, "", Surface::kVendorVf, Vendor::kNvidia, ""},
      {libvirt, "9.0.0", Surface::kMdev, Vendor::kNvidia, ""},
      {libvirt, "9.0.0", Surface::kGpu, Vendor::kNvidia, ""},
      {libvirt, "9.0.0", Surface::kVf, Vendor::kAny, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(name(c.kind)) + " " + c.version + " " + std::string(name(c.surface)) + " " +
                 std::string(name(c.vendor)));
    EXPECT_EQ(compatibility(c.kind, Version::parse(c.version), c.surface, c.vendor).reason, c.reason);
  }
}

}  // namespace
}  // namespace slicebroker::hypervisors
