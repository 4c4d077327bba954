// SPDX-License-Identifier: Apache-2.0
// The contract that each VMM's adapter fulfils. Adapters talk to the VMM only; they never write to the host.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "hypervisors/attachment.h"
#include "vfio/base/result.h"

namespace slicebroker::hypervisors {

enum class HypervisorKind { kLibvirt, kCloudHypervisor };

// "libvirt", "cloud-hypervisor". parse_kind() also takes the short scheme "ch".
std::string_view name(HypervisorKind kind);
std::optional<HypervisorKind> parse_kind(std::string_view text);

struct Version {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t patch = 0;

  // "11.3", "v53.0", "9.0.0", "53": missing parts are 0. Text behind '-' or '+' is ignored ("53.0-246-gae44c29").
  static std::optional<Version> parse(std::string_view text);
  std::string to_string() const;  // "11.3.0"
  auto operator<=>(const Version&) const = default;
};

// Which VM is meant, as the command line writes it: `libvirt:NAME|UUID`, `ch:API-SOCKET`; no scheme means libvirt.
struct VmReference {
  HypervisorKind kind = HypervisorKind::kLibvirt;
  std::string target;  // domain name or UUID; path of the API socket

  // Errors: kUsage for an empty target or an unknown scheme.
  static Result<VmReference> parse(std::string_view text);
  std::string to_string() const;  // "libvirt:web1"
  bool operator==(const VmReference&) const = default;
};

// A VM as its hypervisor knows it.
struct VirtualMachine {
  std::string name;
  std::optional<Uuid> uuid;  // libvirt only
  bool running = false;
  std::optional<pid_t> vmm_pid;  // the process that holds the devices, where the hypervisor tells
};

// Where the guest finds an attached device.
struct GuestDevice {
  std::string guest_address;  // guest BDF such as "0000:05:00.0"; empty where the VMM has not said yet
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  Hypervisor(const Hypervisor&) = delete;
  Hypervisor& operator=(const Hypervisor&) = delete;

  virtual HypervisorKind kind() const = 0;

  // Version of the daemon or VMM that answers. Errors: kNotFound nobody answers, kNoAnswer too late.
  virtual Result<Version> version() = 0;

  // The VM that this adapter was made for. Errors: kNotFound.
  virtual Result<VirtualMachine> find_vm() = 0;

  // Hands the prepared device to the VM. Blocks until the VMM has answered. On error the VM has no part of it, except
  // on kNoAnswer, after which only has() can tell. Errors: kNotFound no such VM, kRefused the VM is in a state that
  // takes no device, kHeld a VM has it already, kNoAnswer, kFailed with the VMM's own words as fact or causes.
  virtual Result<GuestDevice> attach(const Attachment& attachment) = 0;

  // Asks for the device back and blocks until it is really gone: a VMM's "success" is only a request, so this waits
  // for DEVICE_REMOVED (libvirt), `device-removed` or its absence from the VM's device tree (Cloud Hypervisor), or
  // the VMM's end. A device or VM that is no longer there is success. Errors: kNoAnswer when the guest has not
  // released it within `deadline`; it may do so later. kFailed where the guest refuses. Asks at least once, however
  // short the deadline.
  virtual Result<void> detach(const Attachment& attachment, std::chrono::milliseconds deadline) = 0;

  // Whether the VM has the device now. A VM that is gone has none, nor has a domain of libvirt that does not run; a
  // Cloud Hypervisor VM that does not run has what its configuration names, as it opens that when it boots.
  virtual Result<bool> has(const Attachment& attachment) = 0;

 protected:
  Hypervisor() = default;
};

// To attach a device pins the guest's memory: minutes with a terabyte.
inline constexpr std::chrono::milliseconds kAttachDeadline{300'000};

// Makes the adapter for a VM. Nothing is contacted before the first call. `libvirt_uri` is used for libvirt only. Silent
// is who has not attached after `deadline` (libvirt: 40 s at least); questions are given no longer, and usually less.
std::unique_ptr<Hypervisor> make_hypervisor(const VmReference& vm, const std::string& libvirt_uri,
                                            std::chrono::milliseconds deadline = kAttachDeadline);

}  // namespace slicebroker::hypervisors
