// SPDX-License-Identifier: Apache-2.0
#include "broker/render/code_table.h"

#include <algorithm>
#include <array>

#include "broker/request/nearest.h"
#include "broker/service/drift.h"
#include "hypervisors/compatibility.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

constexpr const char* kCandidate = "a candidate";
constexpr const char* kHypervisorPair = "a candidate and its hypervisor";
constexpr const char* kRequest = "what was asked for";
constexpr const char* kHost = "the host";
constexpr const char* kVmm = "a hypervisor";
constexpr const char* kLedger = "the ledger";
constexpr const char* kLease = "a lease, by reconcile";
constexpr const char* kAnything = "anything";

constexpr const char* kErrnos = "E*";

using enum ErrorCode;

// The errors that are no verdict on a candidate. A test finds codes that the sources use and nobody put here.
const std::vector<CodeEntry>& failures() {
  static const std::vector<CodeEntry> kFailures{
      {"BAD_SELECTOR", kRequest, "the selector is not understood", "see the selectors in slicebroker(8)", kUsage},
      {"BAD_POLICY", kRequest, "the policy file is not understood, so nothing of it is applied",
       "mend what is named; slicebroker policy check FILE", kUsage},
      {"BAD_DOMAIN_XML", kRequest, "the text is no domain XML, or its slicebroker request is malformed",
       "mend the XML at the offset that is named", kUsage},
      {"BAD_DOMAIN_REQUEST", kRequest, "the domain's slicebroker request can't be followed",
       "mend the request, then make the XML anew: slicebroker xml --domain FILE", kUsage},
      {"NO_LEASE", kRequest, "the VM holds no such lease", "see: slicebroker list leases", kNotFound},
      {"NOT_QUARANTINED", kRequest, "the device is not quarantined", "see: slicebroker quarantine list", kNotFound},
      {"LEASE_UNDER_WAY", kRequest, "another slicebroker is preparing or releasing the lease right now",
       "wait until it is done", kHeld},

      {"MALFORMED_CLAIM", kHost,
       "another tool's file is not understood; the device that its name tells stays that tool's",
       "mend the file with the tool that owns it", kFailed},
      {"WEDGED", kHost, "the kernel has not answered a write in time, and the write still waits in it",
       "find who uses the device and end it, then: slicebroker reconcile", kNoAnswer},
      {"NVML_SILENT", kHost, "NVIDIA's driver has not answered a call of NVML in time",
       "see the kernel's log for Xid and GSP messages; the GPU may need a reset", kNoAnswer},
      {"CHANGED_BY_OTHERS", kHost, "what slicebroker made was changed by somebody else since, so it is left alone",
       "undo it by hand if nobody owns it, then: slicebroker reconcile", kDrift},
      {"DRIVER_NOT_BOUND", kHost, "the kernel took the write and the function is not on the wanted driver",
       "see the kernel's log: the driver's probe may have refused the function", kFailed},
      {"VFIO_NODE_MISSING", kHost, "the driver is bound and the node in /dev/vfio has not appeared",
       "see whether udev runs", kNoAnswer},
      {"RESET_FAILED", kHost,
       "what a guest gave back was reset in vain, or did not come back from it; it is quarantined",
       "see the kernel's log; when it is clean (a reboot will do): slicebroker quarantine clear DEVICE", kFailed},
      {"RESET_NOT_POSSIBLE", kHost, "what a guest gave back can't be reset as the policy demands, so it is quarantined",
       "clean it by other means, then: slicebroker quarantine clear DEVICE; or see [hygiene] in slicebroker-policy(5)",
       kRefused},
      {"VFS_NOT_DISABLED", kHost, "the driver took the write and keeps its virtual functions",
       "disable them with the vendor's tool", kFailed},
      {"VGPU_TYPE_NOT_TAKEN", kHost, "the write of the vGPU type was accepted and another type reads back",
       "see the kernel's log and the journal of nvidia-vgpu-mgr", kFailed},
      {"GPU_INSTANCE_MISMATCH", kHost, "NVIDIA's driver gave another GPU instance than the one asked for",
       "ask for the profile, or see that this instance is the only free one of its profile", kRefused},
      {"GPU_INSTANCE_NOT_THE_SAME", kHost, "a GPU instance was made again and got another id or UUID",
       "make the GPU's MIG layout anew", kHostChanged},
      {"MIG_MODE_NOT_TAKEN", kHost, "the driver accepted the MIG mode and has not switched",
       "the GPU may need a reset: nvidia-smi --gpu-reset", kFailed},
      {"MDEV_NOT_REMOVED", kHost, "the removal was accepted and the mediated device is still there",
       "see who has it open, then: slicebroker reconcile", kNoAnswer},
      {"GPU_NOT_IN_NVML", kHost, "the nvidia driver does not list the GPU", "see that it is bound to nvidia",
       kNotFound},
      {"NVML_NOT_FOUND", kHost, "NVIDIA's management library can't be loaded",
       "install NVIDIA's driver, or name its library with --nvml", kNotFound},
      {"HOST_NOT_ALL_READ", kRequest, "nothing of this name was seen, and a part of the host could not be read",
       "mend what is named, then repeat", kRefused},
      {"NVML_BAD_ANSWER", kHost, "NVML's answer makes no sense", "report it, with the driver's version", kFailed},
      {"NVML_*", kHost, "NVML's own return value, such as NVML_IN_USE or NVML_NO_PERMISSION", "", std::nullopt},
      {"MALFORMED_ATTRIBUTE", kHost, "a file in sysfs has a text that is not understood",
       "report it, with the driver's and the kernel's version", kFailed},
      {"MALFORMED_UEVENT", kHost, "a message about a device from the kernel or udev is not understood",
       "report it, with the kernel's version", kFailed},
      {kErrnos, kHost, "a system call's errno, such as EBUSY", "", std::nullopt},

      {"VM_NOT_RUNNING", kVmm, "the domain is defined and does not run",
       "start it, or put the request into its XML: slicebroker xml --domain FILE", kRefused},
      {"GUEST_KEEPS_DEVICE", kVmm, "the guest has not released the device in time; it may do so later",
       "see that the guest's system is up and does not use it; stopping the VM releases it too", kNoAnswer},
      {"GUEST_REFUSED_REMOVAL", kVmm, "the guest refused to release the device",
       "end its use in the guest, or stop the VM", kFailed},
      {"DEVICE_NOT_THERE", kVmm, "libvirt reported success and the guest has no such device", "see libvirt's log",
       kFailed},
      {"LIBVIRT_NOT_INSTALLED", kVmm, "libvirt's library can't be loaded", "install libvirt0 or libvirt-libs",
       kNotFound},
      {"LIBVIRT_NO_ANSWER", kVmm, "libvirt, or QEMU behind it, has not answered in time",
       "see whether libvirt answers others; then: slicebroker reconcile", kNoAnswer},
      {"LIBVIRT_*", kVmm, "libvirt's own error; the number is its virErrorNumber", "", std::nullopt},
      {"CH_VM_NOT_CREATED", kVmm, "the Cloud Hypervisor process has no VM yet", "create the VM first", kNotFound},
      {"CH_NO_ANSWER", kVmm, "Cloud Hypervisor does not answer on its socket", "see whether it runs", kNoAnswer},
      {"CH_CLOSED", kVmm, "Cloud Hypervisor closed the connection", "see whether it still runs", kFailed},
      {"CH_BAD_ANSWER", kVmm, "Cloud Hypervisor's answer is not understood", "report it, with its version", kFailed},
      {"CH_HTTP_*", kVmm, "Cloud Hypervisor refused the call; the number is the HTTP status", "", std::nullopt},

      {"LEDGER_UNUSABLE", kLedger, "the ledger can't be read or written; it was left as it is",
       "see slicebroker(8), section LEDGER", kFailed},
      {"LEDGER_MOVED_ON", kLedger, "other leases began or ended faster than this one could be recorded", "repeat",
       kFailed},
      {"LEDGER_DAMAGED", kLedger, "ledger check has found what is named", "see slicebroker(8), section LEDGER",
       kFailed},
      {"NO_LEDGER", kLedger, "there is no ledger yet", "name its directory with --state", kNotFound},
      {"FILE_EXISTS", kLedger, "something is where the copy was to be, and is not overwritten",
       "name a file that does not exist", kRefused},
      {"AUDIT_BROKEN", kLedger, "a record of the audit trail is not as it was written, or missing",
       "keep a copy (slicebroker ledger backup FILE) and find out who wrote to the ledger", kFailed},
      {"STALE_LEASE", kLedger, "another slicebroker worked on the lease meanwhile",
       "look again: slicebroker list leases", kFailed},
      {"MALFORMED_RECORD", kLedger, "a recorded text is not understood; the ledger was left as it is",
       "see slicebroker(8), section LEDGER", kFailed},

      {"FAILED", kAnything, "it was tried and did not happen", "", kFailed},
      {"USAGE", kAnything, "a command line, selector, XML or policy is wrong", "", kUsage},
      {"NOT_FOUND", kAnything, "what was named does not exist", "", kNotFound},
      {"HELD", kAnything, "somebody has it", "", kHeld},
      {"REFUSED", kAnything, "it is unsupported, unsafe or against policy", "", kRefused},
      {"NO_ANSWER", kAnything, "the kernel or the hypervisor has not answered in time", "", kNoAnswer},
      {"HOST_CHANGED", kAnything, "the host was changed and could not be restored", "", kHostChanged},
      {"DRIFT", kAnything, "ledger and host disagree", "", kDrift},
  };
  return kFailures;
}

ErrorCode code_of(const Reason& reason) {
  if (reason.reason_class == ReasonClass::kHeld) return kHeld;
  return reason.reason_class == ReasonClass::kSilent ? kNoAnswer : kRefused;
}

void add_reasons(std::vector<CodeEntry>& entries) {
  for (const auto* reason : all_reasons()) {
    if (reason == &reasons::kHypervisorUnsupported) continue;  // printed under the compatibility table's codes
    entries.push_back({std::string(reason->code), kCandidate, std::string(reason->meaning), std::string(reason->remedy),
                       code_of(*reason),
                       reason->reason_class == ReasonClass::kNotSurfaced ? MayFallBack::kYes : MayFallBack::kNo});
  }
}

void add_compatibility(std::vector<CodeEntry>& entries) {
  const auto add = [&](std::string_view code, std::string_view explanation, MayFallBack fallback) {
    const bool known =
        std::any_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry.code == code; });
    if (code.empty() || known) return;
    entries.push_back({std::string(code), kHypervisorPair, std::string(explanation),
                       std::string(reasons::kHypervisorUnsupported.remedy), kRefused, fallback});
  };
  for (const auto& row : hypervisors::compatibility_table()) add(row.reason, row.explanation, MayFallBack::kYes);
  // An adapter refuses when the choice has been made.
  for (const auto& row : hypervisors::adapter_refusals()) add(row.reason, row.explanation, MayFallBack::kNo);
}

void add_drifts(std::vector<CodeEntry>& entries) {
  for (const auto* drift : all_drifts()) {
    entries.push_back({std::string(drift->code), kLease, std::string(drift->meaning),
                       (drift->remedy == Remedy::kReport ? "" : "reconcile does it: ") + std::string(drift->action),
                       kDrift});
  }
  entries.push_back({"NOT_JUDGED", kLease, "it can't be told now whether the lease fits its host and its VM",
                     "look again when the cause is gone", kDrift});
}

bool is_errno(std::string_view code) {
  constexpr int kMost = 255;  // Linux has 133
  for (int number = 1; number <= kMost; ++number) {
    if (lower(errno_name(number)) == lower(code)) return true;
  }
  return false;
}

bool stands_for(const CodeEntry& entry, std::string_view code) {
  if (entry.code == kErrnos) return is_errno(code);
  if (!entry.code.ends_with('*')) return lower(entry.code) == lower(code);
  return lower(code).starts_with(lower(entry.code.substr(0, entry.code.size() - 1)));
}

}  // namespace

std::vector<CodeEntry> list_codes() {
  std::vector<CodeEntry> entries;
  add_reasons(entries);
  add_compatibility(entries);
  add_drifts(entries);
  entries.insert(entries.end(), failures().begin(), failures().end());
  return entries;
}

Result<CodeEntry> find_code(std::string_view code) {
  const auto entries = list_codes();
  std::vector<std::string> known;
  for (const auto& entry : entries) {
    if (stands_for(entry, code)) return entry;
    known.push_back(entry.code);
  }
  Error error;
  error.code = kNotFound;
  error.tried = "explain the code";
  error.subject = std::string(code);
  error.fact = "slicebroker has no such code";
  error.hint = hint_for(code, known, "see: slicebroker reasons");
  return fail(std::move(error));
}

}  // namespace slicebroker::broker
