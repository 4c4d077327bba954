// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "hypervisors/hypervisor.h"

namespace slicebroker::hypervisors::libvirt {

class Session;

// A domain of libvirt's QEMU driver. Each call opens a connection of its own and closes it, so that a libvirtd that was
// restarted in between does not matter; within a call it does. vmm_pid is not told: libvirt's API has none.
class LibvirtHypervisor : public Hypervisor {
 public:
  struct Timing {
    std::chrono::milliseconds look{500};          // longest wait between two looks at the live XML
    std::chrono::milliseconds ask_again{10'000};  // a guest that was still booting has missed the first request
    std::chrono::milliseconds undo{5'000};        // for taking companions back after a failed attach
  };

  // `domain` is a name or UUID. `library` is what is loaded, another one in tests only.
  LibvirtHypervisor(std::string domain, std::string uri, std::string library = "libvirt.so.0");
  LibvirtHypervisor(std::string domain, std::string uri, std::string library, Timing timing);

  HypervisorKind kind() const override { return HypervisorKind::kLibvirt; }
  Result<Version> version() override;
  Result<VirtualMachine> find_vm() override;

  // To the running domain only (AFFECT_LIVE): its stored XML stays as it is. Companions first, so that no other domain
  // gets them meanwhile; libvirt wants each of them on a VFIO driver. Errors, besides the contract's: kHeld where
  // another domain has the device or a companion.
  Result<GuestDevice> attach(const Attachment& attachment) override;

  // kFailed where the guest refuses (DEVICE_REMOVAL_FAILED).
  Result<void> detach(const Attachment& attachment, std::chrono::milliseconds deadline) override;

  // Whether the live XML has the device or one of its companions.
  Result<bool> has(const Attachment& attachment) override;

 private:
  Result<std::unique_ptr<Session>> open();
  // A session on the domain; null where there is no such domain or it does not run.
  Result<std::unique_ptr<Session>> open_running();
  Result<void> attach_elements(Session& session, const Attachment& attachment);
  Result<void> take_back(Session& session, const std::string& alias, std::chrono::steady_clock::time_point deadline);

  std::string domain_;
  std::string uri_;
  std::string library_;
  Timing timing_;
};

}  // namespace slicebroker::hypervisors::libvirt
