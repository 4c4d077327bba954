// SPDX-License-Identifier: Apache-2.0
// Which surface of which vendor each hypervisor version can really give to a guest: data, with sources.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "hypervisors/attachment.h"
#include "hypervisors/hypervisor.h"

namespace slicebroker::hypervisors {

// Whose GPU a row is about. NVIDIA's Grace superchips are NVIDIA's too: what no row says of them alone, NVIDIA's rows
// do.
enum class Vendor { kAny, kNvidia, kNvidiaGrace };

// By PCI vendor and device id. kAny: of nobody for whom there are rows (AMD, Intel ...).
Vendor vendor_of(std::uint16_t vendor, std::uint16_t device);
std::string_view name(Vendor vendor);  // "any", "NVIDIA", "NVIDIA Grace"

// One row: for versions since <= v < until of this hypervisor, this surface of this vendor is supported or not.
struct CompatibilityRow {
  HypervisorKind hypervisor;
  Version since;                 // 0.0.0: from the beginning
  std::optional<Version> until;  // exclusive; nullopt: to this day
  Surface surface;
  Vendor vendor;
  std::string_view reason;       // empty: supported; else a stable code such as COMPAT_VGPU_NEEDS_QEMU
  std::string_view explanation;  // one sentence
  std::string_view source;       // document, issue or test that the row rests on
};

// Every row. Where several match, the first decides.
std::span<const CompatibilityRow> compatibility_table();

// The row that decides for a device. An unknown version (nullopt) is judged as the newest.
// Pure; touches nothing. Every (hypervisor, surface, vendor) has a row, which a test proves.
const CompatibilityRow& compatibility(HypervisorKind hypervisor, std::optional<Version> version, Surface surface,
                                      Vendor vendor);

// What no row can tell, because more decides than hypervisor, version, surface and vendor: the adapter refuses it
// itself.
struct AdapterRefusal {
  HypervisorKind hypervisor;
  Surface surface;
  std::string_view when;
  std::string_view reason;
  std::string_view explanation;
  std::string_view source;
};
std::span<const AdapterRefusal> adapter_refusals();

}  // namespace slicebroker::hypervisors
