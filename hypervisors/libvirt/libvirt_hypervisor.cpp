// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/libvirt_hypervisor.h"

#include <algorithm>

#include "hypervisors/libvirt/domain_xml.h"
#include "hypervisors/libvirt/hostdev_xml.h"
#include "hypervisors/libvirt/session.h"

namespace slicebroker::hypervisors::libvirt {
namespace {

using Clock = std::chrono::steady_clock;

Error domain_error(ErrorCode code, std::string reason, const std::string& domain, std::string fact, std::string hint) {
  Error error;
  error.code = code;
  error.reason = std::move(reason);
  error.tried = "hand over device";
  error.subject = "libvirt:" + domain;
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Error still_there(const std::string& domain, const std::string& alias, std::optional<Error> last) {
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = "GUEST_KEEPS_DEVICE";
  error.tried = "take device " + alias + " back";
  error.subject = "libvirt:" + domain;
  error.fact = "the guest has not released it in time; it may do so later";
  error.hint = "is the guest's system up, and is the device unused in it? Stopping the domain releases it too";
  if (last) error.causes.push_back(std::move(*last));
  return error;
}

Error refused_by_guest(const std::string& domain, const std::string& alias) {
  Error error;
  error.reason = "GUEST_REFUSED_REMOVAL";
  error.tried = "take device " + alias + " back";
  error.subject = "libvirt:" + domain;
  error.fact = "the guest refused to release it (DEVICE_REMOVAL_FAILED)";
  return error;
}

// The device's alias and its companions'.
std::vector<std::string> aliases(const Attachment& attachment) {
  std::vector<std::string> all{hostdev_alias(attachment)};
  for (std::size_t i = 0; i < attachment.companions.size(); ++i) all.push_back(companion_alias(attachment, i));
  return all;
}

Result<bool> is_there(Session& session, const std::string& alias) {
  SLICEBROKER_TRY(const bool running, session.is_running());
  if (!running) return false;
  auto xml = session.live_xml();
  if (!xml) {
    // A domain may end between two questions.
    if (xml.error().code == ErrorCode::kNotFound) return false;
    return fail(std::move(xml).error());
  }
  SLICEBROKER_TRY(const auto address, find_guest_address(*xml, alias));
  return address.has_value();
}

// Whether asking once more may help: an earlier request is still on its way, or QEMU was busy. These have no error
// number of their own; the texts are QEMU's ("Device ua-x is already in the process of unplug", "guest is busy").
bool may_pass(const Error& error) {
  const auto says = [&](std::string_view text) { return error.fact.find(text) != std::string::npos; };
  return error.code == ErrorCode::kNoAnswer || says("in the process of unplug") || says("guest is busy");
}

}  // namespace

LibvirtHypervisor::LibvirtHypervisor(std::string domain, std::string uri, std::string library)
    : LibvirtHypervisor(std::move(domain), std::move(uri), std::move(library), Timing{}) {}

LibvirtHypervisor::LibvirtHypervisor(std::string domain, std::string uri, std::string library, Timing timing)
    : domain_(std::move(domain)), uri_(std::move(uri)), library_(std::move(library)), timing_(timing) {}

Result<std::unique_ptr<Session>> LibvirtHypervisor::open() {
  return Session::open(uri_, library_);
}

Result<std::unique_ptr<Session>> LibvirtHypervisor::open_running() {
  SLICEBROKER_TRY(auto session, open());
  if (auto chosen = session->choose_domain(domain_); !chosen) {
    if (chosen.error().code == ErrorCode::kNotFound) return std::unique_ptr<Session>();
    return fail(std::move(chosen).error());
  }
  SLICEBROKER_TRY(const bool running, session->is_running());
  if (!running) return std::unique_ptr<Session>();
  return session;
}

Result<Version> LibvirtHypervisor::version() {
  SLICEBROKER_TRY(const auto session, open());
  return session->version();
}

Result<VirtualMachine> LibvirtHypervisor::find_vm() {
  SLICEBROKER_TRY(const auto session, open());
  SLICEBROKER_CHECK(session->choose_domain(domain_));
  return session->domain();
}

Result<GuestDevice> LibvirtHypervisor::attach(const Attachment& attachment) {
  SLICEBROKER_TRY(const auto session, open());
  if (attachment.surface == Surface::kMdev && session->is_cloud_hypervisor_driver()) {
    return fail(domain_error(ErrorCode::kRefused, "COMPAT_LIBVIRT_CH_DROPS_MDEV", domain_,
                             "libvirt's Cloud Hypervisor driver drops a mediated device silently",
                             "use a domain of libvirt's QEMU driver"));
  }
  SLICEBROKER_CHECK(session->choose_domain(domain_));
  SLICEBROKER_TRY(const bool running, session->is_running());
  if (!running) {
    return fail(domain_error(ErrorCode::kRefused, "VM_NOT_RUNNING", domain_, "the domain is defined but does not run",
                             "start it and repeat, or put the request into its XML: slicebroker xml --domain FILE"));
  }
  SLICEBROKER_CHECK(attach_elements(*session, attachment));
  SLICEBROKER_TRY(const auto xml, session->live_xml());
  SLICEBROKER_TRY(auto address, find_guest_address(xml, hostdev_alias(attachment)));
  if (!address) {
    return fail(domain_error(ErrorCode::kFailed, "DEVICE_NOT_THERE", domain_,
                             "libvirt reported success, but the live XML has no " + hostdev_alias(attachment), ""));
  }
  return GuestDevice{std::move(*address)};
}

Result<void> LibvirtHypervisor::attach_elements(Session& session, const Attachment& attachment) {
  auto elements = hostdev_xml(attachment);
  auto names = aliases(attachment);
  // The device last: only it needs QEMU's consent, so only companions, which libvirt gives back at once, need undoing.
  std::reverse(elements.begin(), elements.end());
  std::reverse(names.begin(), names.end());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    auto attached = session.attach_device(elements[i]);
    if (attached) continue;
    auto error = std::move(attached).error();
    const auto deadline = Clock::now() + timing_.undo;
    while (i-- > 0) {
      if (auto undone = take_back(session, names[i], deadline); !undone) {
        error.causes.push_back(std::move(undone).error());
      }
    }
    return fail(std::move(error));
  }
  return {};
}

Result<void> LibvirtHypervisor::take_back(Session& session, const std::string& alias, Clock::time_point deadline) {
  std::optional<Clock::time_point> asked;
  std::optional<Error> last;
  for (;;) {
    SLICEBROKER_TRY(const bool there, is_there(session, alias));
    if (!there) return {};
    const auto now = Clock::now();
    if (asked && now >= deadline) return fail(still_there(domain_, alias, std::move(last)));
    // Not sooner: on PCI Express a second press of the attention button within 5 s means "never mind".
    if (!asked || now >= *asked + timing_.ask_again) {
      asked = now;
      last.reset();
      if (auto request = session.request_removal(alias); !request) {
        if (!may_pass(request.error())) {
          SLICEBROKER_TRY(const bool still, is_there(session, alias));
          return still ? Result<void>(fail(std::move(request).error())) : Result<void>();
        }
        last = std::move(request).error();
      }
    }
    const auto until = std::min({deadline, now + timing_.look, *asked + timing_.ask_again});
    switch (session.removal_news(alias, until)) {
      case Session::Removal::kRemoved: return {};
      case Session::Removal::kRefusedByGuest: return fail(refused_by_guest(domain_, alias));
      case Session::Removal::kNoNews: break;
    }
  }
}

Result<void> LibvirtHypervisor::detach(const Attachment& attachment, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + deadline;
  SLICEBROKER_TRY(const auto session, open_running());
  if (!session) return {};
  session->watch_removals();
  // The device before its companions: while it is in the guest they must not go to anybody else.
  for (const auto& alias : aliases(attachment)) SLICEBROKER_CHECK(take_back(*session, alias, end));
  return {};
}

Result<bool> LibvirtHypervisor::has(const Attachment& attachment) {
  SLICEBROKER_TRY(const auto session, open_running());
  if (!session) return false;
  for (const auto& alias : aliases(attachment)) {
    SLICEBROKER_TRY(const bool there, is_there(*session, alias));
    if (there) return true;
  }
  return false;
}

}  // namespace slicebroker::hypervisors::libvirt
