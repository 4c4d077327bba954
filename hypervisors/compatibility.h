// SPDX-License-Identifier: Apache-2.0
// Which surface of which vendor each hypervisor version can really give to a guest: data, with sources.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "hypervisors/attachment.h"
#include "hypervisors/hypervisor.h"

namespace slicebroker::hypervisors {

enum class Vendor { kAny, kNvidia };

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

}  // namespace slicebroker::hypervisors
