// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "hypervisors/hypervisor.h"

namespace slicebroker::hypervisors {

// An adapter whose library may never return: libvirt waits for QEMU's monitor as long as it takes, and its keepalive
// only tells that the daemon lives. Each call is made in a thread of its own; one that is silent is left behind with
// its thread, until the process ends. The adapter must bear a call beside one that is stuck.
class Bounded : public Hypervisor {
 public:
  struct Limits {
    std::chrono::milliseconds query{40'000};  // libvirt's own come first: 20 s without keepalive, 30 s for a job
    std::chrono::milliseconds attach{kAttachDeadline};
  };

  // `subject` is the VM, for errors.
  Bounded(std::shared_ptr<Hypervisor> adapter, std::string subject, Limits limits);

  HypervisorKind kind() const override { return adapter_->kind(); }

  // Errors of each, besides the adapter's: kNoAnswer LIBVIRT_NO_ANSWER, after which it may happen all the same.
  Result<Version> version() override;
  Result<VirtualMachine> find_vm() override;
  Result<GuestDevice> attach(const Attachment& attachment) override;
  // Silent when it is so much later than the deadline as a query may take.
  Result<void> detach(const Attachment& attachment, std::chrono::milliseconds deadline) override;
  Result<bool> has(const Attachment& attachment) override;

 private:
  std::shared_ptr<Hypervisor> adapter_;
  std::string subject_;
  Limits limits_;
};

}  // namespace slicebroker::hypervisors
