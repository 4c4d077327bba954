// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/bounded.h"

#include <future>
#include <thread>
#include <type_traits>
#include <utility>

namespace slicebroker::hypervisors {
namespace {

using std::chrono::milliseconds;

Error silence(std::string tried, std::string subject, milliseconds limit) {
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "LIBVIRT_NO_ANSWER";
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.fact = "no answer in " + std::to_string(limit.count()) + " ms";
  error.hint = "see whether libvirt answers others, and QEMU libvirt: virsh domstate, virsh qemu-monitor-command";
  return error;
}

// `call` owns what it needs: it may outlive its caller.
template <class Call>
std::invoke_result_t<Call> within(milliseconds limit, std::string tried, const std::string& subject, Call call) {
  using Answer = std::invoke_result_t<Call>;
  std::packaged_task<Answer()> task(std::move(call));
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  if (answer.wait_for(limit) == std::future_status::ready) return answer.get();
  return fail(silence(std::move(tried), subject, limit));
}

}  // namespace

Bounded::Bounded(std::shared_ptr<Hypervisor> adapter, std::string subject, Limits limits)
    : adapter_(std::move(adapter)), subject_(std::move(subject)), limits_(limits) {}

Result<Version> Bounded::version() {
  return within(limits_.query, "ask for the version", subject_, [adapter = adapter_] { return adapter->version(); });
}

Result<VirtualMachine> Bounded::find_vm() {
  return within(limits_.query, "find the VM", subject_, [adapter = adapter_] { return adapter->find_vm(); });
}

Result<GuestDevice> Bounded::attach(const Attachment& attachment) {
  return within(limits_.attach, "attach " + attachment.id, subject_,
                [adapter = adapter_, attachment] { return adapter->attach(attachment); });
}

Result<void> Bounded::detach(const Attachment& attachment, milliseconds deadline) {
  return within(deadline + limits_.query, "take device " + attachment.id + " back", subject_,
                [adapter = adapter_, attachment, deadline] { return adapter->detach(attachment, deadline); });
}

Result<bool> Bounded::has(const Attachment& attachment) {
  return within(limits_.query, "ask for device " + attachment.id, subject_,
                [adapter = adapter_, attachment] { return adapter->has(attachment); });
}

}  // namespace slicebroker::hypervisors
