// SPDX-License-Identifier: Apache-2.0
#include "vfio/mdev/create_mdev.h"

#include <cerrno>

#include "vfio/host/wait.h"
#include "vfio/mdev/mdev.h"
#include "vfio/pci/bind_driver.h"

namespace slicebroker::vfio {
namespace {

std::string instance_text(std::optional<std::uint32_t> id) {
  return id ? std::to_string(*id) : "none";
}

Error not_ours(const CreateMdev& step, const MdevDevice& found) {
  Error error;
  error.code = ErrorCode::kDrift;
  error.reason = "CHANGED_BY_OTHERS";
  error.tried = "remove the mediated device";
  error.subject = step.uuid.to_string();
  error.fact = "it was made as " + step.type_id + " on " + step.parent.to_string() + " and is now " + found.type_id +
               (found.parent ? " on " + found.parent->to_string() : "");
  return error;
}

}  // namespace

Result<void> check_gpu_instance(std::optional<std::uint32_t> wanted, std::optional<std::uint32_t> given,
                                const std::string& subject) {
  if (!wanted || wanted == given) return {};
  Error error;
  error.code = ErrorCode::kRefused;
  error.reason = "GPU_INSTANCE_MISMATCH";
  error.tried = "verify the GPU instance";
  error.subject = subject;
  error.fact = "GPU instance " + instance_text(wanted) + " was asked for and the driver gave " + instance_text(given);
  error.hint = "the driver picks among free instances of one profile: ask for the profile, or free this one alone";
  return fail(std::move(error));
}

Fields CreateMdev::fields() const {
  Fields fields{{"parent", parent.to_string()}, {"type", type_id}, {"uuid", uuid.to_string()}};
  if (gpu_instance_id) fields["gpu_instance_id"] = std::to_string(*gpu_instance_id);
  return fields;
}

Result<CreateMdev> CreateMdev::from_fields(const Fields& fields) {
  CreateMdev step;
  SLICEBROKER_TRY(step.parent, address_field(fields, "parent"));
  SLICEBROKER_TRY(step.type_id, text_field(fields, "type"));
  SLICEBROKER_TRY(step.uuid, uuid_field(fields, "uuid"));
  SLICEBROKER_TRY(step.gpu_instance_id, find_number_field(fields, "gpu_instance_id"));
  return step;
}

std::string CreateMdev::describe() const {
  return "create mdev " + uuid.to_string() + " of type " + type_id + " on " + parent.to_string();
}

Result<Observation> CreateMdev::observe(const Host& host) const {
  SLICEBROKER_TRY(const auto found, find_mdev_device(host.root, uuid));
  Observation seen;
  seen.before = {{"exists", found ? "yes" : "no"}};
  seen.already_so = found && found->type_id == type_id && found->parent == parent;
  return seen;
}

Result<void> CreateMdev::apply(const Host& host) const {
  const std::string create =
      "sys/class/mdev_bus/" + parent.to_string() + "/mdev_supported_types/" + type_id + "/create";
  SLICEBROKER_CHECK(host.root.write_attr_within(create, uuid.to_string(), host.deadline));
  SLICEBROKER_TRY(const auto made, find_mdev_device(host.root, uuid));
  if (!made) {
    Error error = os_error("create mdev", uuid.to_string(), ENODEV);
    error.fact = "the write was accepted and no such device appeared";
    return fail(std::move(error));
  }
  return check_gpu_instance(gpu_instance_id, made->gpu_instance_id, uuid.to_string());
}

Result<void> CreateMdev::undo(const Host& host, const Fields& /*before*/) const {
  SLICEBROKER_TRY(const auto found, find_mdev_device(host.root, uuid));
  if (!found) return {};
  if (found->type_id != type_id || found->parent != parent) return fail(not_ours(*this, *found));
  // A remove with the device open waits in the kernel, unkillable.
  SLICEBROKER_CHECK(check_no_holder(host.root, device_nodes(*found), uuid.to_string()));
  SLICEBROKER_CHECK(host.root.write_attr_within(mdev_path(uuid, "remove"), "1", host.deadline));
  if (wait_until(host.deadline, [&] { return host.root.is_there(mdev_path(uuid)) == false; })) return {};
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "MDEV_NOT_REMOVED";
  error.tried = "remove the mediated device";
  error.subject = uuid.to_string();
  error.fact = "the write was accepted and the device is still there";
  return fail(std::move(error));
}

}  // namespace slicebroker::vfio
