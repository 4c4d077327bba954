// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/session.h"

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "vfio/base/text.h"

namespace slicebroker::hypervisors::libvirt {
namespace {

// The functions used, each with the type that libvirt's own header declares.
#define SLICEBROKER_LIBVIRT_FUNCTIONS(X)                                                                               \
  X(virConnectClose)                                                                                                   \
  X(virConnectDomainEventDeregisterAny)                                                                                \
  X(virConnectDomainEventRegisterAny)                                                                                  \
  X(virConnectGetLibVersion)                                                                                           \
  X(virConnectGetType)                                                                                                 \
  X(virConnectOpen)                                                                                                    \
  X(virConnectSetKeepAlive)                                                                                            \
  X(virDomainAttachDeviceFlags) X(virDomainDetachDeviceAlias) X(virDomainFree) X(virDomainGetName)                     \
      X(virDomainGetUUIDString) X(virDomainGetXMLDesc) X(virDomainIsActive) X(virDomainLookupByName)                   \
          X(virDomainLookupByUUIDString) X(virEventAddTimeout) X(virEventRegisterDefaultImpl) X(virEventRemoveTimeout) \
              X(virEventRunDefaultImpl) X(virGetLastError) X(virResetLastError) X(virSetErrorFunc)

struct Library;

// Runs libvirt's event loop, which delivers events, keeps connections alive and frees closed ones.
class EventLoop {
 public:
  explicit EventLoop(Library& library) : library_(library), thread_([this] { run(); }) {}
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

 private:
  void run();

  Library& library_;
  bool ended_ = false;  // touched by the loop's own thread only
  std::thread thread_;
};

// libvirt.so.0, loaded once per process and never unloaded: it keeps threads and thread-local data of its own.
struct Library {
#define SLICEBROKER_MEMBER(function) decltype(&::function) function = nullptr;
  SLICEBROKER_LIBVIRT_FUNCTIONS(SLICEBROKER_MEMBER)
#undef SLICEBROKER_MEMBER

  // libvirt has one event loop per process: it runs while any session is open, and never twice.
  std::mutex mutex;
  int sessions = 0;
  std::optional<EventLoop> loop;
};

void EventLoop::run() {
  while (!ended_) library_.virEventRunDefaultImpl();
}

// libvirt frees what was removed when the loop next runs idle, in the order of removal. The last thing removed is this
// timer, so once it is freed every closed connection is too, and the loop may end.
EventLoop::~EventLoop() {
  const auto fire = [](int timer, void* opaque) {
    static_cast<EventLoop*>(opaque)->library_.virEventRemoveTimeout(timer);
  };
  const auto freed = [](void* opaque) { static_cast<EventLoop*>(opaque)->ended_ = true; };
  if (library_.virEventAddTimeout(0, fire, this, freed) < 0) std::abort();  // out of memory
  thread_.join();
}

// One session's share in the event loop.
class LoopUse {
 public:
  explicit LoopUse(Library& library) : library_(library) {
    const std::lock_guard lock(library_.mutex);
    if (library_.sessions++ == 0) library_.loop.emplace(library_);
  }
  LoopUse(const LoopUse&) = delete;
  LoopUse& operator=(const LoopUse&) = delete;
  ~LoopUse() {
    const std::lock_guard lock(library_.mutex);
    if (--library_.sessions == 0) library_.loop.reset();
  }

 private:
  Library& library_;
};

Error library_error(const std::string& library, std::string fact) {
  Error error;
  error.code = ErrorCode::kNotFound;
  error.reason = "LIBVIRT_NOT_INSTALLED";
  error.tried = "load libvirt";
  error.subject = library;
  error.fact = std::move(fact);
  error.hint = "install libvirt0 (Debian) or libvirt-libs (Fedora)";
  return error;
}

Result<std::unique_ptr<Library>> load(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return fail(library_error(name, dlerror()));
  auto library = std::make_unique<Library>();
#define SLICEBROKER_RESOLVE(function)                                                    \
  library->function = reinterpret_cast<decltype(&::function)>(dlsym(handle, #function)); \
  if (library->function == nullptr) return fail(library_error(name, "it has no " #function));
  SLICEBROKER_LIBVIRT_FUNCTIONS(SLICEBROKER_RESOLVE)
#undef SLICEBROKER_RESOLVE
  // Without this libvirt prints every error on stderr, which belongs to render/.
  library->virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  if (library->virEventRegisterDefaultImpl() < 0) return fail(library_error(name, "it has no event loop"));
  return library;
}

// The library of that name, loaded at the first call. The table lasts as long as the process, as the library does.
Result<Library*> acquire(const std::string& name) {
  static std::mutex mutex;
  static auto& libraries = *new std::map<std::string, std::unique_ptr<Library>>;
  const std::lock_guard lock(mutex);
  auto& library = libraries[name];
  if (!library) {
    SLICEBROKER_TRY(library, load(name));
  }
  return library.get();
}

ErrorCode code_of(const virError& error) {
  switch (error.code) {
    case VIR_ERR_NO_DOMAIN: return ErrorCode::kNotFound;
    case VIR_ERR_OPERATION_TIMEOUT: return ErrorCode::kNoAnswer;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE: return ErrorCode::kRefused;
    default: break;
  }
  // "PCI device 0000:41:00.0 is in use by driver QEMU, domain db2" has no number of its own.
  const std::string_view text = error.message != nullptr ? error.message : "";
  return text.find("is in use by driver") != std::string_view::npos ? ErrorCode::kHeld : ErrorCode::kFailed;
}

// Events of one domain, written by the loop's thread and read by ours.
struct RemovalLog {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> removed;
  std::set<std::string> refused;
};

template <std::set<std::string> RemovalLog::*kind>
void note_event(virConnectPtr, virDomainPtr, const char* alias, void* opaque) {
  auto& log = **static_cast<std::shared_ptr<RemovalLog>*>(opaque);
  const std::lock_guard lock(log.mutex);
  (log.*kind).insert(alias != nullptr ? alias : "");
  log.changed.notify_all();
}

void free_log(void* opaque) {
  delete static_cast<std::shared_ptr<RemovalLog>*>(opaque);
}

}  // namespace

struct Session::Parts {
  Parts(Library& loaded, std::string given_uri) : library(loaded), loop(loaded), uri(std::move(given_uri)) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  ~Parts() {
    for (const int subscription : subscriptions) {
      library.virConnectDomainEventDeregisterAny(connection, subscription);
    }
    if (domain != nullptr) library.virDomainFree(domain);
    if (connection != nullptr) library.virConnectClose(connection);
  }

  // The calling thread's last libvirt error.
  Error error(std::string tried, std::string subject) const {
    Error error;
    error.tried = std::move(tried);
    error.subject = std::move(subject);
    if (const auto* last = library.virGetLastError(); last != nullptr && last->code != VIR_ERR_OK) {
      error.code = code_of(*last);
      error.reason = "LIBVIRT_" + std::to_string(last->code);
      error.fact = last->message != nullptr ? last->message : "";
    }
    library.virResetLastError();
    return error;
  }

  void subscribe(int event, virConnectDomainEventGenericCallback callback) {
    auto* opaque = new std::shared_ptr<RemovalLog>(log);
    const int subscription =
        library.virConnectDomainEventRegisterAny(connection, domain, event, callback, opaque, free_log);
    if (subscription >= 0) {
      subscriptions.push_back(subscription);
    } else {
      library.virResetLastError();
      free_log(opaque);
    }
  }

  Library& library;
  LoopUse loop;
  std::string uri;
  virConnectPtr connection = nullptr;
  virDomainPtr domain = nullptr;
  std::string target;
  std::vector<int> subscriptions;
  std::shared_ptr<RemovalLog> log = std::make_shared<RemovalLog>();
};

Session::Session(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::open(const std::string& uri, const std::string& library) {
  SLICEBROKER_TRY(auto* loaded, acquire(library));
  auto parts = std::make_unique<Parts>(*loaded, uri);
  parts->connection = parts->library.virConnectOpen(uri.c_str());
  if (parts->connection == nullptr) {
    auto error = parts->error("connect to libvirt", uri);
    if (error.code != ErrorCode::kRefused) {
      error.code = ErrorCode::kNotFound;
      error.hint = "is libvirtd (or virtqemud) running, and is this its URI?";
    }
    return fail(std::move(error));
  }
  // A daemon that stops answering breaks the connection after 3 unanswered probes. Drivers inside this process need
  // none and say so.
  if (parts->library.virConnectSetKeepAlive(parts->connection, 5, 3) < 0) parts->library.virResetLastError();
  return std::unique_ptr<Session>(new Session(std::move(parts)));
}

Result<Version> Session::version() {
  unsigned long number = 0;
  if (parts_->library.virConnectGetLibVersion(parts_->connection, &number) < 0) {
    return fail(parts_->error("ask for libvirt's version", parts_->uri));
  }
  return Version{static_cast<std::uint32_t>(number / 1'000'000), static_cast<std::uint32_t>(number / 1'000 % 1'000),
                 static_cast<std::uint32_t>(number % 1'000)};
}

bool Session::is_cloud_hypervisor_driver() {
  const char* type = parts_->library.virConnectGetType(parts_->connection);
  return type != nullptr && lower(type) == "ch";
}

Result<void> Session::choose_domain(const std::string& target) {
  parts_->target = "libvirt:" + target;
  // A name may look like a UUID, so a UUID that nobody has is looked up as a name.
  if (const auto uuid = Uuid::parse(target)) {
    parts_->domain = parts_->library.virDomainLookupByUUIDString(parts_->connection, uuid->to_string().c_str());
  }
  if (parts_->domain == nullptr) {
    parts_->domain = parts_->library.virDomainLookupByName(parts_->connection, target.c_str());
  }
  if (parts_->domain == nullptr) return fail(parts_->error("find domain", parts_->target));
  return {};
}

Result<VirtualMachine> Session::domain() {
  VirtualMachine vm;
  SLICEBROKER_TRY(vm.running, is_running());
  const char* name = parts_->library.virDomainGetName(parts_->domain);
  std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
  if (name == nullptr || parts_->library.virDomainGetUUIDString(parts_->domain, uuid.data()) < 0) {
    return fail(parts_->error("read the domain's identity", parts_->target));
  }
  vm.name = name;
  vm.uuid = Uuid::parse(uuid.data());
  return vm;
}

Result<bool> Session::is_running() {
  const int active = parts_->library.virDomainIsActive(parts_->domain);
  if (active >= 0) return active == 1;
  auto error = parts_->error("ask whether the domain runs", parts_->target);
  if (error.code == ErrorCode::kNotFound) return false;
  return fail(std::move(error));
}

Result<std::string> Session::live_xml() {
  char* xml = parts_->library.virDomainGetXMLDesc(parts_->domain, 0);
  if (xml == nullptr) return fail(parts_->error("read the domain's XML", parts_->target));
  std::string text = xml;
  std::free(xml);
  return text;
}

Result<void> Session::attach_device(const std::string& xml) {
  if (parts_->library.virDomainAttachDeviceFlags(parts_->domain, xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0) {
    return fail(parts_->error("attach device", parts_->target));
  }
  return {};
}

Result<void> Session::request_removal(const std::string& alias) {
  if (parts_->library.virDomainDetachDeviceAlias(parts_->domain, alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0) {
    return fail(parts_->error("ask for device " + alias, parts_->target));
  }
  return {};
}

void Session::watch_removals() {
  parts_->subscribe(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(note_event<&RemovalLog::removed>));
  parts_->subscribe(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                    VIR_DOMAIN_EVENT_CALLBACK(note_event<&RemovalLog::refused>));
}

Session::Removal Session::removal_news(const std::string& alias, std::chrono::steady_clock::time_point until) {
  auto& log = *parts_->log;
  std::unique_lock lock(log.mutex);
  log.changed.wait_until(lock, until, [&] { return log.removed.contains(alias) || log.refused.contains(alias); });
  if (log.removed.contains(alias)) return Removal::kRemoved;
  return log.refused.contains(alias) ? Removal::kRefusedByGuest : Removal::kNoNews;
}

}  // namespace slicebroker::hypervisors::libvirt
