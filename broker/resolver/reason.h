// SPDX-License-Identifier: Apache-2.0
// Why a candidate was not taken: one table of stable codes.
#pragma once

#include <span>
#include <string_view>

#include "vfio/base/error.h"

namespace slicebroker::broker {

// What a reason says about the slice; it decides the exit status and whether the whole GPU may stand in.
enum class ReasonClass {
  kNotSurfaced,  // the slice exists and this host, hypervisor or driver can't hand it over: fallback may apply
  kSilent,       // it does not answer: nobody can tell, and fallback must not go around it either
  kHeld,         // somebody has it: the request may succeed later, and fallback must not go around the holder
  kRefused,      // unsafe, against policy, or not what it was taken for
};

struct Reason {
  std::string_view code;
  ReasonClass reason_class;
  std::string_view meaning;
  std::string_view remedy;
};

namespace reasons {
extern const Reason kLeased;
extern const Reason kSliceInUse;
extern const Reason kVfInUse;
extern const Reason kHeldByProcess;
extern const Reason kGpuNotIdle;
extern const Reason kNoCapacity;
extern const Reason kNoGpuInstance;
extern const Reason kInstancesTaken;
extern const Reason kMigModeOn;
extern const Reason kMigModeOff;
extern const Reason kOtherSizeResident;
extern const Reason kComputeInstance;
extern const Reason kMigNotSurfaced;
extern const Reason kVfsNotEnabled;
extern const Reason kVgpuDriverAbsent;
extern const Reason kNoVgpuType;
extern const Reason kIsolationTooLow;
extern const Reason kGroupNotViable;
extern const Reason kIommuOff;
extern const Reason kVfioPciNotLoaded;
extern const Reason kVfioDriverNotLoaded;
extern const Reason kNotAGpu;
extern const Reason kNotAVf;
extern const Reason kVgpuTypeNotSet;
extern const Reason kNotTheAgreedDevice;
extern const Reason kHypervisorUnsupported;
extern const Reason kMigLayoutUnknown;
extern const Reason kNvswitchFabric;
extern const Reason kMdevUuidTaken;
extern const Reason kNotManaged;
extern const Reason kSurfaceDenied;
extern const Reason kFallbackDenied;
extern const Reason kQuarantined;
extern const Reason kForeignOwner;
extern const Reason kDeviceSilent;
}  // namespace reasons

// Every reason, for documents and tests.
std::span<const Reason* const> all_reasons();

}  // namespace slicebroker::broker
