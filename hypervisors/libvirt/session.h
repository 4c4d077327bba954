// SPDX-License-Identifier: Apache-2.0
// One connection to libvirt and the one domain that an adapter is about. libvirt itself is loaded when first needed,
// so a host without it needs no libvirt installed.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "hypervisors/hypervisor.h"
#include "vfio/base/result.h"

namespace slicebroker::hypervisors::libvirt {

// Every error carries libvirt's number as its reason, "LIBVIRT_42" for VIR_ERR_NO_DOMAIN, and its text as its fact.
// Codes: kNotFound no such domain, kHeld another domain has the device, kNoAnswer libvirt gave up waiting for the VMM,
// kRefused not permitted or not supported, else kFailed.
class Session {
 public:
  // Connects. Errors: kNotFound for a library that is not installed or a daemon that does not answer, kRefused where
  // it does not let us in.
  static Result<std::unique_ptr<Session>> open(const std::string& uri, const std::string& library);

  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<Version> version();

  // Whether this is libvirt's driver for Cloud Hypervisor.
  bool is_cloud_hypervisor_driver();

  // Chooses the domain by UUID, else by name. Errors: kNotFound. The rest needs this to have succeeded.
  Result<void> choose_domain(const std::string& target);

  Result<VirtualMachine> domain();

  // A domain that is gone is not running.
  Result<bool> is_running();

  // The XML of the running domain.
  Result<std::string> live_xml();

  Result<void> attach_device(const std::string& xml);

  // Asks for a device back; returns before the guest has let go.
  Result<void> request_removal(const std::string& alias);

  // Subscribes to the end of removals; without this, or where the driver has no such events, removal_news() sees none.
  void watch_removals();

  enum class Removal { kNoNews, kRemoved, kRefusedByGuest };

  // What the events have said of this alias; waits for one until `until` at most.
  Removal removal_news(const std::string& alias, std::chrono::steady_clock::time_point until);

 private:
  struct Parts;
  explicit Session(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace slicebroker::hypervisors::libvirt
