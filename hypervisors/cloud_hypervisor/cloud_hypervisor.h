// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "hypervisors/cloud_hypervisor/api_client.h"
#include "hypervisors/hypervisor.h"

namespace slicebroker::hypervisors::cloud_hypervisor {

// The one VM of a Cloud Hypervisor process, named by its API socket.
class CloudHypervisor : public Hypervisor {
 public:
  struct Timing {
    std::chrono::milliseconds query{10'000};            // vmm.ping, vm.info, vm.remove-device
    std::chrono::milliseconds attach{kAttachDeadline};  // vm.add-device
    std::chrono::milliseconds look{200};                // between two looks at vm.info
    std::chrono::milliseconds ask_again{10'000};        // a guest that was still booting has missed the first request
  };

  explicit CloudHypervisor(std::string socket);
  CloudHypervisor(std::string socket, Timing timing);

  HypervisorKind kind() const override { return HypervisorKind::kCloudHypervisor; }

  // From build_version ("v53.0-246-gae44c2971"), the release that a build descends from; `version` runs ahead of it
  // between releases (that build says 54.0.0) and is used only where the other is no version.
  Result<Version> version() override;

  // name is the socket's path: the VMM knows no other. Errors: kNotFound also where the VMM runs but has no VM yet.
  Result<VirtualMachine> find_vm() override;

  // To a VM that was created and not booted the device is added cold (HTTP 204), without a guest address yet.
  // Errors, besides the contract's: kHeld where the VM already has a device of that id or path; kNoAnswer, after which
  // the VMM may still attach it: ask has().
  Result<GuestDevice> attach(const Attachment& attachment) override;

  // Waits until the id is in neither the VM's configuration nor its device tree. From vm.remove-device on the
  // configuration lacks it; the tree keeps it until the guest ejects it, and the VMM closes its VFIO descriptors while
  // it answers no questions (it holds the device manager's lock), so on success they are closed. Two exceptions, for
  // which the caller looks into /proc as well: VMMs before v51 keep the group open, and a VMM that is being killed
  // closes its socket before its other descriptors.
  Result<void> detach(const Attachment& attachment, std::chrono::milliseconds deadline) override;

  // Whether the configuration or the device tree has the id: also a device that the guest has yet to eject, and one
  // that a VM not yet booted will open.
  Result<bool> has(const Attachment& attachment) override;

 private:
  struct Ping {
    std::optional<Version> version;
    std::optional<pid_t> pid;
  };
  enum class Presence { kAbsent, kLeaving, kPresent };

  Result<Ping> ping() const;
  Result<Presence> presence(const std::string& id, std::chrono::milliseconds timeout) const;
  Result<void> request_removal(const std::string& id, Presence seen, std::chrono::milliseconds timeout) const;
  std::string subject() const { return "ch:" + client_.socket(); }

  ApiClient client_;
  Timing timing_;
};

}  // namespace slicebroker::hypervisors::cloud_hypervisor
