// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/cloud_hypervisor/arguments.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace slicebroker::hypervisors::cloud_hypervisor {
namespace {

// With a trailing slash always: Cloud Hypervisor finds a device that was given twice by comparing the text.
std::string sysfs_path(const Attachment& attachment) {
  if (attachment.surface == Surface::kMdev) {
    if (!attachment.mdev) std::abort();  // Attachment's own rule: the caller made no sense
    return "/sys/bus/mdev/devices/" + attachment.mdev->to_string() + "/";
  }
  if (!attachment.function) std::abort();
  return "/sys/bus/pci/devices/" + attachment.function->to_string() + "/";
}

}  // namespace

std::vector<std::string> arguments(const Attachment& attachment) {
  return {"--device", "path=" + sysfs_path(attachment) + ",id=" + attachment.id};
}

std::string add_device_body(const Attachment& attachment) {
  const nlohmann::ordered_json body = {{"path", sysfs_path(attachment)}, {"id", attachment.id}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace slicebroker::hypervisors::cloud_hypervisor
