// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisors/fake_libvirt.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>

using slicebroker::hypervisors::test::FakeLibvirt;

struct _virConnect {};
struct _virDomain {};

namespace {

constexpr auto kUuid = "c7a5fdbd-cdaf-9455-926a-d65c16db1809";
using Clock = std::chrono::steady_clock;

struct Subscription {
  int event;
  virConnectDomainEventGenericCallback callback;
  void* opaque;
  virFreeCallback free;
};

struct Timer {
  virEventTimeoutCallback callback;
  void* opaque;
  virFreeCallback free;
};

// The event loop of glib, as far as it matters: timers and events before idle work, frees only when idle.
struct World : FakeLibvirt {
  World() {
    reset();
    connections = domains = running_loops = 0;
  }
  std::condition_variable wake;
  std::map<int, Timer> timers;
  std::deque<std::pair<Clock::time_point, std::function<void()>>> events;
  std::deque<std::function<void()>> idle;
  std::map<int, Subscription> subscriptions;
  int next_id = 1;
};

World& world() {
  static auto& one = *new World;
  return one;
}

thread_local virError last_error{};
thread_local std::string last_message;

int report(int code, const std::string& message) {
  last_message = message;
  last_error = {};
  last_error.code = code;
  last_error.message = last_message.data();
  return -1;
}

bool fails(FakeLibvirt::Failure& failure) {
  if (failure.code == 0 || failure.times == 0) return false;
  if (failure.times > 0) --failure.times;
  report(failure.code, failure.message);
  return true;
}

std::string alias_in(const std::string& xml) {
  const auto start = xml.find("<alias name='") + 13;
  return xml.substr(start, xml.find('\'', start) - start);
}

void announce(int event, const std::string& alias) {
  std::vector<Subscription> listeners;
  {
    const std::lock_guard lock(world().mutex);
    for (const auto& [id, one] : world().subscriptions) {
      if (one.event == event) listeners.push_back(one);
    }
  }
  for (const auto& one : listeners) {
    const auto untyped = reinterpret_cast<void (*)()>(one.callback);  // libvirt's way of passing any callback
    reinterpret_cast<virConnectDomainEventDeviceRemovedCallback>(untyped)(nullptr, nullptr, alias.c_str(), one.opaque);
  }
}

// Called with the world locked.
void guest_is_asked(const std::string& alias) {
  const auto soon = Clock::now() + std::chrono::milliseconds(20);
  switch (world().guest) {
    case FakeLibvirt::Guest::kNever: break;
    case FakeLibvirt::Guest::kEndsFirst: world().running = false; break;
    case FakeLibvirt::Guest::kRefuses:
      world().events.emplace_back(soon, [alias] { announce(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, alias); });
      break;
    case FakeLibvirt::Guest::kReleases:
    case FakeLibvirt::Guest::kReleasesQuietly: {
      const bool quietly = world().guest == FakeLibvirt::Guest::kReleasesQuietly;
      world().events.emplace_back(soon, [alias, quietly] {
        {
          const std::lock_guard lock(world().mutex);
          world().devices.erase(alias);
        }
        if (!quietly) announce(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, alias);
      });
      break;
    }
  }
  world().wake.notify_all();
}

// The work that is due now; empty: there is none. Called with the world locked.
std::function<void()> due_work() {
  auto& w = world();
  if (!w.timers.empty()) {
    const auto [id, timer] = *w.timers.begin();
    return [id = id, timer = timer] { timer.callback(id, timer.opaque); };
  }
  if (!w.events.empty() && w.events.front().first <= Clock::now()) {
    auto work = std::move(w.events.front().second);
    w.events.pop_front();
    return work;
  }
  if (!w.idle.empty()) {
    auto work = std::move(w.idle.front());
    w.idle.pop_front();
    return work;
  }
  return {};
}

}  // namespace

extern "C" {

FakeLibvirt* fake_libvirt() {
  return &world();
}

int virEventRegisterDefaultImpl() {
  return 0;
}
void virSetErrorFunc(void*, virErrorFunc) {}
virErrorPtr virGetLastError() {
  return &last_error;
}
void virResetLastError() {
  last_error = {};
}

int virEventAddTimeout(int, virEventTimeoutCallback callback, void* opaque, virFreeCallback free) {
  const std::lock_guard lock(world().mutex);
  world().timers[world().next_id] = {callback, opaque, free};
  world().wake.notify_all();
  return world().next_id++;
}

int virEventRemoveTimeout(int id) {
  const std::lock_guard lock(world().mutex);
  const auto timer = world().timers.at(id);
  world().timers.erase(id);
  world().idle.emplace_back([timer] { timer.free(timer.opaque); });
  return 0;
}

int virEventRunDefaultImpl() {
  auto& w = world();
  std::unique_lock lock(w.mutex);
  w.most_running_loops = std::max(w.most_running_loops, ++w.running_loops);
  auto work = due_work();
  while (!work) {
    if (w.events.empty()) {
      w.wake.wait(lock);
    } else {
      w.wake.wait_until(lock, w.events.front().first);
    }
    work = due_work();
  }
  lock.unlock();
  work();
  lock.lock();
  --w.running_loops;
  return 0;
}

virConnectPtr virConnectOpen(const char*) {
  const std::lock_guard lock(world().mutex);
  if (fails(world().connect)) return nullptr;
  ++world().connections;
  return new _virConnect;
}

int virConnectClose(virConnectPtr connection) {
  const std::lock_guard lock(world().mutex);
  world().idle.emplace_back([connection] {
    delete connection;
    const std::lock_guard inner(world().mutex);
    --world().connections;
  });
  world().wake.notify_all();
  return 0;
}

int virConnectSetKeepAlive(virConnectPtr, int, unsigned int) {
  return report(VIR_ERR_NO_SUPPORT, "no keepalive");
}

int virConnectGetLibVersion(virConnectPtr, unsigned long* version) {
  *version = 11'003'002;
  return 0;
}

const char* virConnectGetType(virConnectPtr) {
  return world().driver.c_str();
}

int virConnectDomainEventRegisterAny(virConnectPtr, virDomainPtr, int event,
                                     virConnectDomainEventGenericCallback callback, void* opaque,
                                     virFreeCallback free) {
  const std::lock_guard lock(world().mutex);
  world().subscriptions[world().next_id] = {event, callback, opaque, free};
  return world().next_id++;
}

int virConnectDomainEventDeregisterAny(virConnectPtr, int id) {
  const std::lock_guard lock(world().mutex);
  const auto one = world().subscriptions.at(id);
  world().subscriptions.erase(id);
  world().idle.emplace_back([one] { one.free(one.opaque); });
  world().wake.notify_all();
  return 0;
}

virDomainPtr virDomainLookupByName(virConnectPtr, const char* name) {
  const std::lock_guard lock(world().mutex);
  if (!world().defined || std::strcmp(name, "web1") != 0) {
    report(VIR_ERR_NO_DOMAIN, "Domain not found: no domain with matching name '" + std::string(name) + "'");
    return nullptr;
  }
  ++world().domains;
  return new _virDomain;
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr connection, const char* uuid) {
  return virDomainLookupByName(connection, std::strcmp(uuid, kUuid) == 0 ? "web1" : uuid);
}

int virDomainFree(virDomainPtr domain) {
  const std::lock_guard lock(world().mutex);
  --world().domains;
  delete domain;
  return 0;
}

const char* virDomainGetName(virDomainPtr) {
  return "web1";
}

int virDomainGetUUIDString(virDomainPtr, char* text) {
  std::strcpy(text, kUuid);
  return 0;
}

int virDomainIsActive(virDomainPtr) {
  const std::lock_guard lock(world().mutex);
  if (!world().defined) return report(VIR_ERR_NO_DOMAIN, "Domain not found");
  return world().running ? 1 : 0;
}

char* virDomainGetXMLDesc(virDomainPtr, unsigned int) {
  const std::lock_guard lock(world().mutex);
  std::string xml = "<domain type='kvm' id='1'><name>web1</name><devices>";
  for (const auto& [alias, device] : world().devices) {
    const auto end = device.rfind("</hostdev>");
    const bool guest_has_it = device.find("unassigned") == std::string::npos;
    xml += device.substr(0, end);
    if (guest_has_it) xml += "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>";
    xml += "</hostdev>";
  }
  return ::strdup((xml + "</devices></domain>").c_str());
}

int virDomainAttachDeviceFlags(virDomainPtr, const char* xml, unsigned int flags) {
  const std::lock_guard lock(world().mutex);
  if (flags != VIR_DOMAIN_AFFECT_LIVE) std::abort();
  const auto alias = alias_in(xml);
  world().calls.push_back("attach " + alias);
  if (const auto failure = world().attach.find(alias); failure != world().attach.end()) {
    if (fails(failure->second)) return -1;
  }
  if (!world().forgets_attached) world().devices[alias] = xml;
  return 0;
}

int virDomainDetachDeviceAlias(virDomainPtr, const char* alias, unsigned int flags) {
  const std::lock_guard lock(world().mutex);
  if (flags != VIR_DOMAIN_AFFECT_LIVE) std::abort();
  world().calls.push_back("detach " + std::string(alias));
  if (fails(world().detach)) return -1;
  const auto device = world().devices.find(alias);
  if (device == world().devices.end()) return report(VIR_ERR_DEVICE_MISSING, "device not found");
  if (device->second.find("unassigned") != std::string::npos) {
    world().devices.erase(device);
  } else {
    guest_is_asked(alias);
  }
  return 0;
}

}  // extern "C"
