// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/compatibility.h"

#include <gtest/gtest.h>

namespace slicebroker::hypervisors {
namespace {

constexpr HypervisorKind kKinds[] = {HypervisorKind::kLibvirt, HypervisorKind::kCloudHypervisor};
constexpr Surface kSurfaces[] = {Surface::kVendorVf, Surface::kMdev, Surface::kVf, Surface::kGpu};
constexpr Vendor kVendors[] = {Vendor::kAny, Vendor::kNvidia};

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
    SCOPED_TRACE(std::string(name(c.kind)) + " " + c.version + " " + std::string(name(c.surface)) +
                 (c.vendor == Vendor::kNvidia ? " NVIDIA" : " any"));
    EXPECT_EQ(compatibility(c.kind, Version::parse(c.version), c.surface, c.vendor).reason, c.reason);
  }
}

}  // namespace
}  // namespace slicebroker::hypervisors
