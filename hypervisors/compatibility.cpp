// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/compatibility.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "vfio/pci/pci_function.h"

namespace slicebroker::hypervisors {
namespace {

constexpr auto kLibvirt = HypervisorKind::kLibvirt;
constexpr auto kCloudHypervisor = HypervisorKind::kCloudHypervisor;
constexpr Version kBeginning{};
constexpr std::optional<Version> kToday = std::nullopt;

constexpr std::string_view kVgpuNeedsQemu =
    "NVIDIA's vGPU manager looks for a QEMU command line: the device attaches and the guest's driver then fails";
constexpr std::string_view kVgpuSources =
    "cloud-hypervisor#5319 (mdev), cloud-hypervisor#7572 (mdev and vendor VF, v49 and v50; closed, no fix found up to "
    "v53.0-246)";

// The superchips that have coherent memory (GH200 three times, GB200, GB300): the ids of the kernel's
// drivers/vfio/pci/nvgrace-gpu.
constexpr std::array<std::uint16_t, 5> kGraceDevices{0x2342, 0x2345, 0x2348, 0x2941, 0x31c2};

constexpr Version kLibvirtKnowsMdevs{3, 2, 0};

// The vfio-dev/ test came with the VFIO variant driver patches between 9.0 and 10.0; the exact release was not
// confirmed. 10.0 is the first whose documentation names variant drivers, so the refusal ends there: an earlier end
// would promise what nobody has seen.
constexpr Version kLibvirtKnowsVariantDrivers{10, 0, 0};

constexpr std::array kTable = std::to_array<CompatibilityRow>({
    {kLibvirt, kBeginning, kLibvirtKnowsVariantDrivers, Surface::kVendorVf, Vendor::kAny,
     "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT",
     "this libvirt takes an unmanaged PCI device only from vfio-pci, and a vendor VF must stay on its own driver",
     "tried: 9.0.0 refuses with 'must be manually detached from the host', 11.3.0 starts it; formatdomain.html: "
     "VFIO variant drivers since 10.0.0"},
    {kLibvirt, kLibvirtKnowsVariantDrivers, kToday, Surface::kVendorVf, Vendor::kAny, "",
     "a driver is taken for VFIO where the device has a vfio-dev/ directory",
     "tried: 11.3.0 with QEMU 10.0.13; libvirt virpci.c virPCIDeviceGetCurrentDriverNameAndType"},
    {kLibvirt, kBeginning, kLibvirtKnowsMdevs, Surface::kMdev, Vendor::kAny, "COMPAT_MDEV_NEEDS_NEWER_LIBVIRT",
     "this libvirt knows no mediated devices", "formatdomain.html: type 'mdev' since 3.2.0"},
    {kLibvirt, kLibvirtKnowsMdevs, kToday, Surface::kMdev, Vendor::kAny, "", "mediated devices are given by their UUID",
     "tried: 9.0.0; formatdomain.html: type 'mdev' since 3.2.0"},
    {kLibvirt, kBeginning, kToday, Surface::kVf, Vendor::kAny, "", "PCI passthrough",
     "tried: 9.0.0; formatdomain.html 'Host device assignment'"},
    {kLibvirt, kBeginning, kToday, Surface::kGpu, Vendor::kAny, "", "PCI passthrough",
     "tried: 9.0.0; formatdomain.html 'Host device assignment'"},

    {kCloudHypervisor, kBeginning, kToday, Surface::kVendorVf, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU",
     kVgpuNeedsQemu, kVgpuSources},
    {kCloudHypervisor, kBeginning, kToday, Surface::kMdev, Vendor::kNvidia, "COMPAT_VGPU_NEEDS_QEMU", kVgpuNeedsQemu,
     kVgpuSources},
    {kCloudHypervisor, kBeginning, kToday, Surface::kVendorVf, Vendor::kAny, "",
     "the VFIO group is opened whatever driver the function is on",
     "vfio-ioctls vfio_device.rs: only iommu_group is read; docs/vfio.md names mlx5_vfio_pci"},
    // The path form parses (the group and the UUID suffice), but nobody was found who runs one and Cloud Hypervisor's
    // own words are PCI devices only: refused until tried.
    {kCloudHypervisor, kBeginning, kToday, Surface::kMdev, Vendor::kAny, "COMPAT_MDEV_UNPROVEN",
     "Cloud Hypervisor documents PCI devices only; a mediated device's path parses but is not known to work",
     "cloud-hypervisor docs/vfio.md 'only supports assigning PCI devices'; vfio-ioctls vfio_device.rs"},
    {kCloudHypervisor, kBeginning, kToday, Surface::kVf, Vendor::kAny, "", "PCI passthrough",
     "cloud-hypervisor docs/vfio.md"},
    {kCloudHypervisor, kBeginning, kToday, Surface::kGpu, Vendor::kNvidiaGrace, "COMPAT_GRACE_UNSUPPORTED",
     "a Grace superchip's memory must be mapped one to one into the guest, which Cloud Hypervisor took up and took "
     "back",
     "cloud-hypervisor#8750 (merged 2026-08-21), reverted by cloud-hypervisor#8879 (2026-09-15)"},
    {kCloudHypervisor, kBeginning, kToday, Surface::kGpu, Vendor::kAny, "", "PCI passthrough",
     "cloud-hypervisor docs/vfio.md, which names Turing, Ampere, Hopper and Lovelace GPUs"},
});

constexpr std::array kAdapterRefusals = std::to_array<AdapterRefusal>({
    {kLibvirt, Surface::kMdev, "the domain is of libvirt's Cloud Hypervisor driver (ch:///)",
     "COMPAT_LIBVIRT_CH_DROPS_MDEV", "libvirt's Cloud Hypervisor driver takes the element and gives the guest nothing",
     "libvirt ch_monitor.c virCHMonitorBuildDeviceJson: JSON for PCI devices only"},
});

bool is_about(const CompatibilityRow& row, Vendor vendor) {
  if (row.vendor == Vendor::kAny || row.vendor == vendor) return true;
  return row.vendor == Vendor::kNvidia && vendor == Vendor::kNvidiaGrace;
}

bool covers(const CompatibilityRow& row, const std::optional<Version>& version) {
  if (!version) return !row.until;
  return row.since <= *version && (!row.until || *version < *row.until);
}

}  // namespace

Vendor vendor_of(std::uint16_t vendor, std::uint16_t device) {
  if (vendor != vfio::kVendorNvidia) return Vendor::kAny;
  const bool grace = std::find(kGraceDevices.begin(), kGraceDevices.end(), device) != kGraceDevices.end();
  return grace ? Vendor::kNvidiaGrace : Vendor::kNvidia;
}

std::string_view name(Vendor vendor) {
  switch (vendor) {
    case Vendor::kAny: return "any";
    case Vendor::kNvidia: return "NVIDIA";
    case Vendor::kNvidiaGrace: return "NVIDIA Grace";
  }
  return "any";
}

std::span<const CompatibilityRow> compatibility_table() {
  return kTable;
}

std::span<const AdapterRefusal> adapter_refusals() {
  return kAdapterRefusals;
}

const CompatibilityRow& compatibility(HypervisorKind hypervisor, std::optional<Version> version, Surface surface,
                                      Vendor vendor) {
  for (const auto& row : kTable) {
    if (row.hypervisor == hypervisor && row.surface == surface && is_about(row, vendor) && covers(row, version)) {
      return row;
    }
  }
  std::abort();  // a hole in the table: compatibility_test walks every combination
}

}  // namespace slicebroker::hypervisors
