// SPDX-License-Identifier: Apache-2.0
// What clients call, and the files by which they do.
#include <libvirt/virterror.h>

#include "tests/simhost/text.h"
#include "tests/simhost/vmm/libvirtd.h"

namespace slicebroker::simhost {
namespace {

constexpr const char* kFunctions[] = {"virConnectDomainEventDeregisterAny",
                                      "virConnectDomainEventRegisterAny",
                                      "virConnectGetLibVersion",
                                      "virConnectOpen",
                                      "virDomainAttachDeviceFlags",
                                      "virDomainDetachDeviceAlias",
                                      "virDomainGetXMLDesc",
                                      "virDomainIsActive",
                                      "virDomainLookupByName",
                                      "virDomainLookupByUUIDString"};

// Cloud Hypervisor is a process of its own; these are its requests as operations.
constexpr const char* kRequests[] = {"vm.add-device",    "vm.boot",  "vm.create",   "vm.info",
                                     "vm.remove-device", "vmm.ping", "vmm.shutdown"};

// QEMU takes a second request as the first one's until the guest had these.
constexpr std::chrono::seconds kUnplugging{5};

// "11.3.0" -> 11003000
unsigned long version_number(const std::string& text) {
  unsigned long value = 0;
  std::size_t at = 0;
  for (int part = 0; part < 3; ++part) {
    const auto dot = std::min(text.find('.', at), text.size());
    value = value * 1000 + number<unsigned long>(text.substr(at, dot - at)).value_or(0);
    at = std::min(dot + 1, text.size());
  }
  return value;
}

// The second line of what a VMM writes of a request; the first is its client.
pid_t vmm_of(std::string_view text) {
  const auto line = text.find('\n');
  return line == std::string_view::npos ? 0 : number<pid_t>(text.substr(line + 1)).value_or(0);
}

}  // namespace

void Libvirtd::add_call(const std::string& function) {
  File file;
  file.mode = 0200;
  file.store = [this, function](std::string_view text, Caller& caller) {
    const auto answer = call(function, std::string(text));
    answers_[caller.pid()] =
        answer ? "0\n" + *answer : std::to_string(answer.error().code) + "\n" + answer.error().text;
    return 0;
  };
  tree_.add_file("vmm/libvirt/" + function, std::move(file));
}

void Libvirtd::add_domain_file(const Domain& domain) {
  tree_.add_file("vmm/domains/" + domain.name, File{.show = [this, &domain]() -> Text {
                   notice_ends();
                   return summary(domain);
                 }});
}

void Libvirtd::boot() {
  for (const auto* const function : kFunctions) add_call(function);
  for (const auto* const request : kRequests) {
    tree_.add_file("vmm/ch/" + std::string(request),
                   File{.mode = 0200, .store = [this](std::string_view text, Caller&) {
                          answers_[vmm_of(text)] = "0\n";
                          return 0;
                        }});
  }
  tree_.add_directory("vmm/domains");
  for (auto& [name, domain] : domains_) {
    domain.pid = 0;
    domain.hostdevs.clear();
    add_domain_file(domain);
  }
}

void Libvirtd::add_client_files() {
  File answer;
  answer.before_show = [this](Caller& caller) {
    const auto found = answers_.find(caller.pid());
    if (found == answers_.end()) return ENODATA;
    answer_ = std::move(found->second);
    answers_.erase(found);
    return 0;
  };
  answer.show = [this]() -> Text { return answer_; };
  tree_.add_file(".simhost/answer", std::move(answer));
  File events;
  events.before_show = [this](Caller&) {
    let_guests_act();
    return 0;
  };
  events.show = [this]() -> Text { return this->events(); };
  tree_.add_file(".simhost/events", std::move(events));
  tree_.add_directory(".simhost/xml");
}

std::string Libvirtd::events() const {
  std::string text;
  for (const auto& event : events_) {
    text += std::to_string(event.number) + " " + std::to_string(event.event) + " " + event.domain + " " + event.alias +
            "\n";
  }
  return text;
}

Libvirtd::Answer Libvirtd::call(const std::string& function, const std::string& text) {
  notice_ends();
  if (function == "virConnectOpen") {
    let_guests_act();
    return driver_;
  }
  if (function == "virConnectGetLibVersion") return std::to_string(version_number(version_));
  if (function == "virConnectDomainEventRegisterAny") return std::to_string(events_.size());
  if (function == "virConnectDomainEventDeregisterAny") return std::string();
  if (function == "virDomainLookupByName") return look_up(text, &Domain::name, "name");
  if (function == "virDomainLookupByUUIDString") return look_up(text, &Domain::uuid, "uuid");
  return call_domain(function, text);
}

Libvirtd::Answer Libvirtd::look_up(const std::string& text, std::string Domain::*key, const char* what) {
  for (const auto& [name, domain] : domains_) {
    if (domain.*key == text) return domain.uuid + " " + name;
  }
  return tl::unexpected(
      Refusal{VIR_ERR_NO_DOMAIN, std::string("Domain not found: no domain with matching ") + what + " '" + text + "'"});
}

Libvirtd::Answer Libvirtd::call_domain(const std::string& function, const std::string& text) {
  const auto end = text.find('\n');
  const auto uuid = text.substr(0, end);
  const auto rest = end == std::string::npos ? std::string() : text.substr(end + 1);
  for (auto& [name, domain] : domains_) {
    if (domain.uuid != uuid) continue;
    if (function == "virDomainIsActive") return std::string(domain.pid != 0 ? "1" : "0");
    if (function == "virDomainGetXMLDesc") return live_domain(domain.xml, domain.pid, domain.hostdevs);
    if (domain.pid == 0) return tl::unexpected(invalid_operation("domain is not running"));
    return function == "virDomainAttachDeviceFlags" ? attach(domain, rest) : detach(domain, rest);
  }
  return tl::unexpected(Refusal{VIR_ERR_NO_DOMAIN, "Domain not found: no domain with matching uuid '" + uuid + "'"});
}

Libvirtd::Answer Libvirtd::attach(Domain& domain, const std::string& xml) {
  auto hostdev = parse_hostdev(xml);
  if (!hostdev) return tl::unexpected(hostdev.error());
  if (auto refused = take(domain, *std::move(hostdev))) return tl::unexpected(*std::move(refused));
  return std::string();
}

Libvirtd::Answer Libvirtd::detach(Domain& domain, const std::string& alias) {
  for (auto& hostdev : domain.hostdevs) {
    if (hostdev.alias != alias) continue;
    const auto now = std::chrono::steady_clock::now();
    if (hostdev.unassigned) {
      drop(domain, alias);
    } else if (hostdev.asked && now < *hostdev.asked + kUnplugging) {
      return tl::unexpected(internal_error("unable to execute QEMU command 'device_del': Device " + alias +
                                           " is already in the process of unplug"));
    } else {
      hostdev.asked = now;
    }
    return std::string();
  }
  return tl::unexpected(Refusal{VIR_ERR_DEVICE_MISSING, "device not found: no device found with alias " + alias});
}

}  // namespace slicebroker::simhost
