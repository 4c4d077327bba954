// SPDX-License-Identifier: Apache-2.0
// Domains, their processes and their devices.
#include "tests/simhost/vmm/libvirtd.h"

#include <libvirt/libvirt.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

using Clock = std::chrono::steady_clock;

constexpr pid_t kFirstPid = 5'900'000;
constexpr int kFirstGuestBus = 5;

// The same for a name every time.
std::string uuid_of(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  char text[40];
  std::snprintf(text, sizeof text, "d0d0d0d0-0000-4000-8000-%012llx",
                static_cast<unsigned long long>(hash & 0xffffffffffff));
  return text;
}

std::string minimal_xml(const std::string& name, const std::string& uuid) {
  return "<domain type='kvm'><name>" + name + "</name><uuid>" + uuid + "</uuid><devices/></domain>";
}

std::string process_directory(pid_t pid) {
  return "proc/" + std::to_string(pid);
}

}  // namespace

Libvirtd::Libvirtd(Tree& tree, Processes& processes) : tree_(tree), processes_(processes), last_pid_(kFirstPid) {
  add_client_files();
}

Libvirtd::Domain* Libvirtd::find(const std::string& name) {
  const auto found = domains_.find(name);
  return found == domains_.end() ? nullptr : &found->second;
}

void Libvirtd::notice_ends() {
  for (auto& [name, domain] : domains_) {
    if (domain.pid != 0 && !tree_.exists(process_directory(domain.pid))) end(domain);
  }
}

void Libvirtd::end(Domain& domain) {
  if (domain.pid != 0 && tree_.exists(process_directory(domain.pid))) processes_.end(domain.pid);
  domain.pid = 0;
  domain.hostdevs.clear();
}

std::string Libvirtd::summary(const Domain& domain) {
  std::string text = domain.pid == 0 ? "shut off\n" : "running\n";
  for (const auto& hostdev : domain.hostdevs) text += hostdev.alias + " " + hostdev.device + "\n";
  return text;
}

Libvirtd::Failure Libvirtd::define(const std::string& xml) {
  auto parsed = parse_domain(xml);
  if (!parsed) return tl::unexpected(parsed.error());
  auto* domain = find(parsed->name);
  if (domain == nullptr) {
    domain = &domains_[parsed->name];
    domain->name = parsed->name;
    add_domain_file(*domain);
    tree_.add_file(".simhost/xml/" + domain->name, File{.show = [this, domain]() -> Text {
                     notice_ends();
                     return domain->pid == 0 ? domain->xml : live_domain(domain->xml, domain->pid, domain->hostdevs);
                   }});
  }
  domain->uuid = parsed->uuid.empty() ? uuid_of(parsed->name) : parsed->uuid;
  domain->xml = xml;
  return {};
}

Libvirtd::Failure Libvirtd::undefine(Domain& domain) {
  end(domain);
  tree_.remove("vmm/domains/" + domain.name);
  tree_.remove(".simhost/xml/" + domain.name);
  domains_.erase(std::string(domain.name));
  return {};
}

Libvirtd::Failure Libvirtd::start(Domain& domain) {
  if (domain.pid != 0) return tl::unexpected(std::string("domain is already running"));
  SimulatedProcess process;
  process.pid = ++last_pid_;
  process.command = "qemu-system-x86";
  process.unit = "machine-qemu-" + std::to_string(process.pid - kFirstPid) + "-" + domain.name + ".scope";
  process.arguments = {"/usr/bin/qemu-system-x86_64", "-name", "guest=" + domain.name, "-uuid", domain.uuid};
  if (const int failed = processes_.start(process); failed != 0) return tl::unexpected(std::strerror(failed));
  domain.pid = process.pid;
  const auto parsed = parse_domain(domain.xml);
  for (const auto& xml : parsed->hostdevs) {
    auto hostdev = parse_hostdev(xml);
    const auto refused = hostdev ? take(domain, *std::move(hostdev)) : hostdev.error();
    if (!refused) continue;
    end(domain);
    return tl::unexpected(refused->text);
  }
  return {};
}

std::optional<Refusal> Libvirtd::check_free(const Hostdev& hostdev) const {
  for (const auto& [name, domain] : domains_) {
    for (const auto& other : domain.hostdevs) {
      if (other.device != hostdev.device) continue;
      const auto what = (hostdev.mdev ? "mediated device " : "PCI device ") + hostdev.device;
      return invalid_operation(what + " is in use by driver " + driver_ + ", domain " + name);
    }
  }
  return std::nullopt;
}

std::optional<Refusal> Libvirtd::take(Domain& domain, Hostdev hostdev) {
  if (hostdev.mdev && driver_ == "CH") return std::nullopt;  // virCHMonitorBuildDeviceJson(): without a word
  for (const auto& other : domain.hostdevs) {
    if (other.alias == hostdev.alias) {
      return internal_error("unable to execute QEMU command 'device_add': Duplicate device ID '" + hostdev.alias + "'");
    }
  }
  const auto age = number<unsigned>(version_.substr(0, version_.find('.'))).value_or(0) < 10
                       ? LibvirtAge::kBeforeVariantDrivers
                       : LibvirtAge::kKnowsVariantDrivers;
  if (auto refused = check_free(hostdev)) return refused;
  if (auto refused = check_host(tree_, hostdev, age)) return refused;
  if (!hostdev.unassigned) {
    const auto node = find_node(tree_, hostdev);
    if (!node) return node.error();
    hostdev.node = *node;
    // QEMU opens a group once, however many of its devices it has.
    const bool open = std::any_of(domain.hostdevs.begin(), domain.hostdevs.end(),
                                  [&](const Hostdev& other) { return other.node == hostdev.node; });
    if (const int failed = open ? 0 : processes_.open(domain.pid, hostdev.node); failed != 0) {
      return open_refused(hostdev, hostdev.node, failed);
    }
    hostdev.guest_bus = kFirstGuestBus;
    while (std::any_of(domain.hostdevs.begin(), domain.hostdevs.end(),
                       [&](const Hostdev& other) { return other.guest_bus == hostdev.guest_bus; })) {
      ++hostdev.guest_bus;
    }
  }
  domain.hostdevs.push_back(std::move(hostdev));
  return std::nullopt;
}

void Libvirtd::drop(Domain& domain, const std::string& alias) {
  const auto at = std::find_if(domain.hostdevs.begin(), domain.hostdevs.end(),
                               [&](const Hostdev& hostdev) { return hostdev.alias == alias; });
  const auto node = at->node;
  domain.hostdevs.erase(at);
  const bool needed = std::any_of(domain.hostdevs.begin(), domain.hostdevs.end(),
                                  [&](const Hostdev& other) { return other.node == node; });
  if (!node.empty() && !needed) processes_.close(domain.pid, node);
}

void Libvirtd::announce(int event, const Domain& domain, const std::string& alias) {
  events_.push_back({events_.size() + 1, event, domain.uuid, alias});
}

void Libvirtd::let_guests_act() {
  notice_ends();
  for (auto& entry : domains_) {
    auto& domain = entry.second;
    const auto due = [&](const Hostdev& hostdev) {
      return hostdev.asked && Clock::now() >= *hostdev.asked + domain.delay;
    };
    if (domain.guest == Guest::kNever) continue;
    for (auto at = domain.hostdevs.begin();
         (at = std::find_if(domain.hostdevs.begin(), domain.hostdevs.end(), due)) != domain.hostdevs.end();) {
      const auto alias = at->alias;
      if (domain.guest == Guest::kEnds) {
        end(domain);
        break;
      }
      if (domain.guest == Guest::kRefuses) {
        at->asked.reset();
        announce(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, domain, alias);
        continue;
      }
      drop(domain, alias);
      if (domain.guest == Guest::kReleases) announce(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, domain, alias);
    }
  }
}

Libvirtd::Failure Libvirtd::set_guest(Domain& domain, const std::vector<std::string>& words) {
  static const std::map<std::string, Guest> kGuests = {{"releases", Guest::kReleases},
                                                       {"quietly", Guest::kReleasesQuietly},
                                                       {"never", Guest::kNever},
                                                       {"refuses", Guest::kRefuses},
                                                       {"ends", Guest::kEnds}};
  const auto guest = words.size() > 3 ? kGuests.find(words[3]) : kGuests.end();
  const auto delay = words.size() > 4 ? number<std::int64_t>(words[4]) : std::optional<std::int64_t>(0);
  if (guest == kGuests.end() || !delay || words.size() > 5) {
    return tl::unexpected(std::string("domain NAME guest releases|quietly|never|refuses|ends [MILLISECONDS]"));
  }
  domain.guest = guest->second;
  domain.delay = std::chrono::milliseconds(*delay);
  return {};
}

Libvirtd::Failure Libvirtd::command(const std::vector<std::string>& line) {
  notice_ends();
  if (line[0] == "libvirt") {
    if (line.size() < 2 || line.size() > 3) return tl::unexpected(std::string("libvirt VERSION [QEMU|CH]"));
    version_ = line[1];
    driver_ = line.size() == 3 ? line[2] : "QEMU";
    return {};
  }
  if (line.size() < 3) return tl::unexpected(std::string("domain NAME define|start|end|undefine|guest"));
  const auto& verb = line[2];
  if (verb == "define") return define(minimal_xml(line[1], uuid_of(line[1])));
  auto* domain = find(line[1]);
  if (domain == nullptr) return tl::unexpected("no domain '" + line[1] + "'");
  if (verb == "start") return start(*domain);
  if (verb == "undefine") return undefine(*domain);
  if (verb == "guest") return set_guest(*domain, line);
  if (verb != "end") return tl::unexpected("not a command for a domain: '" + verb + "'");
  end(*domain);
  return {};
}

}  // namespace slicebroker::simhost
