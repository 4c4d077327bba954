// SPDX-License-Identifier: Apache-2.0
// A libvirt.so.0 whose daemon is the simulated host's (tests/simhost/vmm/libvirtd.h): every call is an operation there,
// made by a write to vmm/libvirt/FUNCTION. The host is where SIMHOST says.
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

struct _virConnect {
  std::string driver;
  bool broken = false;
};

struct _virDomain {
  virConnectPtr connection;
  std::string name;
  std::string uuid;
};

namespace {

thread_local virError last_error{};
thread_local std::string last_message;

int report(int code, const std::string& message) {
  last_message = message;
  last_error = {};
  last_error.code = code;
  last_error.message = last_message.data();
  return -1;
}

std::string host_file(const std::string& below) {
  const char* const root = std::getenv("SIMHOST");
  return std::string(root != nullptr ? root : "/nonexistent") + "/" + below;
}

// 0 or an errno.
int write_file(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int result = ::write(file, text.data(), text.size()) < 0 ? errno : 0;
  ::close(file);
  return result;
}

std::optional<std::string> read_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::string text;
  std::array<char, 65536> piece{};
  ssize_t got = 0;
  while ((got = ::read(file, piece.data(), piece.size())) > 0) text.append(piece.data(), static_cast<std::size_t>(got));
  ::close(file);
  if (got < 0) return std::nullopt;
  return text;
}

// By a child, when this process has ended. It keeps stdout: whoever reads that to its end sees what comes of it.
void write_when_client_has_gone(const std::string& path, const std::string& text) {
  constexpr int kKept = 3;
  const int client = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (::fork() != 0) {
    ::close(client);
    return;
  }
  ::dup2(client, kKept);
  ::close_range(kKept + 1, std::numeric_limits<unsigned>::max(), 0);
  pollfd gone{kKept, POLLIN, 0};
  ::poll(&gone, 1, -1);
  write_file(path, text);
  ::_exit(0);
}

[[noreturn]] void never_return() {
  for (;;) ::pause();
}

int report_errno(virConnect* connection, int os_errno) {
  switch (os_errno) {
    case EPIPE:
    case ECONNRESET:
      if (connection != nullptr) connection->broken = true;
      return report(VIR_ERR_INTERNAL_ERROR, "internal error: client socket is closed");
    case ETIMEDOUT:
      return report(VIR_ERR_OPERATION_TIMEOUT, "Timed out during operation: cannot acquire state change lock");
    default: return report(VIR_ERR_INTERNAL_ERROR, std::string("internal error: ") + std::strerror(os_errno));
  }
}

// One call of a process at a time: the answer is the process's. Never destroyed: a thread may still wait at exit.
std::mutex& one_call = *new std::mutex;

std::optional<std::string> call(virConnect* connection, const char* function, const std::string& text) {
  std::unique_lock lock(one_call);
  int result = connection != nullptr && connection->broken ? ECONNRESET : 0;
  const auto file = host_file(std::string("vmm/libvirt/") + function);
  if (result == 0) result = write_file(file, text);
  if (result == EINPROGRESS) write_when_client_has_gone(file, text);
  if (result == EINPROGRESS || result == ETIME) {
    lock.unlock();
    never_return();
  }
  if (result != 0 && connection == nullptr) {
    report(VIR_ERR_SYSTEM_ERROR,
           std::string("Failed to connect socket to '/var/run/libvirt/libvirt-sock': ") + std::strerror(result));
    return std::nullopt;
  }
  const auto answer = result == 0 ? read_file(host_file(".simhost/answer")) : std::nullopt;
  if (!answer) {
    report_errno(connection, result == 0 ? ECONNRESET : result);
    return std::nullopt;
  }
  const auto end = answer->find('\n');
  const auto rest = answer->substr(end + 1);
  const int code = std::atoi(answer->substr(0, end).c_str());
  if (code == 0) return rest;
  report(code, rest);
  return std::nullopt;
}

std::optional<std::string> call_domain(virDomain* domain, const char* function, const std::string& text = {}) {
  return call(domain->connection, function, domain->uuid + "\n" + text);
}

struct Subscription {
  virConnectPtr connection;
  virDomainPtr domain;
  int event;
  virConnectDomainEventGenericCallback callback;
  void* opaque;
  virFreeCallback free;
  std::uint64_t seen;  // events up to this number were before it
};

struct Timer {
  virEventTimeoutCallback callback;
  void* opaque;
  virFreeCallback free;
};

// The event loop of glib, as far as it matters: timers and events before idle work, frees only when idle.
struct Loop {
  std::mutex mutex;
  std::condition_variable wake;
  std::map<int, Timer> timers;
  std::map<int, Subscription> subscriptions;
  std::deque<std::function<void()>> idle;
  int last_id = 0;
};

// Never destroyed: a thread may still wait in it at exit.
Loop& the_loop = *new Loop;

void when_idle(std::function<void()> work) {
  const std::lock_guard lock(the_loop.mutex);
  the_loop.idle.push_back(std::move(work));
  the_loop.wake.notify_all();
}

// Called with the loop locked; empty: there is none.
std::function<void()> due_work() {
  if (!the_loop.timers.empty()) {
    const auto [id, timer] = *the_loop.timers.begin();
    return [id = id, timer = timer] { timer.callback(id, timer.opaque); };
  }
  if (the_loop.idle.empty()) return {};
  auto work = std::move(the_loop.idle.front());
  the_loop.idle.pop_front();
  return work;
}

void deliver(const Subscription& to, const std::string& alias) {
  const auto untyped = reinterpret_cast<void (*)()>(to.callback);  // libvirt's way of passing any callback
  reinterpret_cast<virConnectDomainEventDeviceRemovedCallback>(untyped)(to.connection, to.domain, alias.c_str(),
                                                                        to.opaque);
}

// Looks for what is new; the daemon would send it.
void poll_events() {
  const auto text = read_file(host_file(".simhost/events"));
  if (!text) return;
  std::vector<std::pair<Subscription, std::string>> news;
  {
    const std::lock_guard lock(the_loop.mutex);
    std::istringstream lines(*text);
    std::uint64_t number = 0;
    int event = 0;
    for (std::string domain, alias; lines >> number >> event >> domain >> alias;) {
      for (auto& [id, subscription] : the_loop.subscriptions) {
        if (number <= subscription.seen || subscription.connection->broken) continue;
        if (event != subscription.event || domain != subscription.domain->uuid) continue;
        subscription.seen = number;
        news.emplace_back(subscription, alias);
      }
    }
  }
  for (const auto& [subscription, alias] : news) deliver(subscription, alias);
}

virDomainPtr domain_of(virConnectPtr connection, const std::optional<std::string>& answer) {
  if (!answer) return nullptr;
  const auto space = answer->find(' ');
  return new _virDomain{connection, answer->substr(space + 1), answer->substr(0, space)};
}

}  // namespace

extern "C" {

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
  const std::lock_guard lock(the_loop.mutex);
  the_loop.timers[++the_loop.last_id] = {callback, opaque, free};
  the_loop.wake.notify_all();
  return the_loop.last_id;
}

int virEventRemoveTimeout(int id) {
  const std::lock_guard lock(the_loop.mutex);
  const auto timer = the_loop.timers.at(id);
  the_loop.timers.erase(id);
  the_loop.idle.emplace_back([timer] { timer.free(timer.opaque); });
  return 0;
}

int virEventRunDefaultImpl() {
  constexpr std::chrono::milliseconds kPause{2};
  std::unique_lock lock(the_loop.mutex);
  auto work = due_work();
  while (!work) {
    if (the_loop.subscriptions.empty()) {
      the_loop.wake.wait(lock);
    } else {
      the_loop.wake.wait_for(lock, kPause);
      lock.unlock();
      poll_events();
      lock.lock();
    }
    work = due_work();
  }
  lock.unlock();
  work();
  return 0;
}

virConnectPtr virConnectOpen(const char* uri) {
  const auto driver = call(nullptr, "virConnectOpen", uri);
  return driver ? new _virConnect{*driver} : nullptr;
}

int virConnectClose(virConnectPtr connection) {
  when_idle([connection] { delete connection; });
  return 0;
}

int virConnectSetKeepAlive(virConnectPtr, int, unsigned int) {
  return 0;
}

int virConnectGetLibVersion(virConnectPtr connection, unsigned long* version) {
  const auto answer = call(connection, "virConnectGetLibVersion", "-");
  if (!answer) return -1;
  *version = std::strtoul(answer->c_str(), nullptr, 10);
  return 0;
}

const char* virConnectGetType(virConnectPtr connection) {
  return connection->driver.c_str();
}

int virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int event,
                                     virConnectDomainEventGenericCallback callback, void* opaque,
                                     virFreeCallback free) {
  const auto answer = call(connection, "virConnectDomainEventRegisterAny", std::to_string(event));
  if (!answer) return -1;
  const std::lock_guard lock(the_loop.mutex);
  the_loop.subscriptions[++the_loop.last_id] = {
      connection, domain, event, callback, opaque, free, std::strtoull(answer->c_str(), nullptr, 10)};
  the_loop.wake.notify_all();
  return the_loop.last_id;
}

// A client that can't tell the daemon has unsubscribed all the same.
int virConnectDomainEventDeregisterAny(virConnectPtr connection, int id) {
  const bool told = call(connection, "virConnectDomainEventDeregisterAny", std::to_string(id)).has_value();
  const std::lock_guard lock(the_loop.mutex);
  const auto one = the_loop.subscriptions.at(id);
  the_loop.subscriptions.erase(id);
  the_loop.idle.emplace_back([one] { one.free(one.opaque); });
  the_loop.wake.notify_all();
  return told ? 0 : -1;
}

virDomainPtr virDomainLookupByName(virConnectPtr connection, const char* name) {
  return domain_of(connection, call(connection, "virDomainLookupByName", name));
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr connection, const char* uuid) {
  return domain_of(connection, call(connection, "virDomainLookupByUUIDString", uuid));
}

// A callback of the loop may be about to use it.
int virDomainFree(virDomainPtr domain) {
  when_idle([domain] { delete domain; });
  return 0;
}

const char* virDomainGetName(virDomainPtr domain) {
  return domain->name.c_str();
}

int virDomainGetUUIDString(virDomainPtr domain, char* text) {
  if (domain->uuid.size() >= VIR_UUID_STRING_BUFLEN) return report(VIR_ERR_INTERNAL_ERROR, "not a UUID");
  std::strcpy(text, domain->uuid.c_str());
  return 0;
}

int virDomainIsActive(virDomainPtr domain) {
  const auto answer = call_domain(domain, "virDomainIsActive");
  return answer ? (*answer == "1" ? 1 : 0) : -1;
}

char* virDomainGetXMLDesc(virDomainPtr domain, unsigned int) {
  const auto answer = call_domain(domain, "virDomainGetXMLDesc");
  return answer ? ::strdup(answer->c_str()) : nullptr;
}

int virDomainAttachDeviceFlags(virDomainPtr domain, const char* xml, unsigned int flags) {
  if (flags != VIR_DOMAIN_AFFECT_LIVE) std::abort();
  return call_domain(domain, "virDomainAttachDeviceFlags", xml) ? 0 : -1;
}

int virDomainDetachDeviceAlias(virDomainPtr domain, const char* alias, unsigned int flags) {
  if (flags != VIR_DOMAIN_AFFECT_LIVE) std::abort();
  return call_domain(domain, "virDomainDetachDeviceAlias", alias) ? 0 : -1;
}

}  // extern "C"
