// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisors/ch_api_server.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "vfio/base/pci_address.h"
#include "vfio/base/text.h"

namespace slicebroker::hypervisors::test {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "/api/v1/";

UniqueFd listen_on(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ::unlink(path.c_str());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  if (::listen(listener.get(), 16) != 0) return {};
  return listener;
}

// As Rust prints an io::Error.
std::string os_text(int error) {
  return std::string(std::strerror(error)) + " (os error " + std::to_string(error) + ")";
}

// The process at the other end of a socket.
pid_t peer_of(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

bool send_all(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// The real server sends no reason phrase, and no length with 204.
std::string http_text(int status, const std::string& body) {
  std::string text =
      "HTTP/1.1 " + std::to_string(status) + " \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n";
  if (status != 204) {
    text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return text + "\r\n" + (status == 204 ? "" : body);
}

}  // namespace

ChApiServer::ChApiServer(Options options)
    : options_(std::move(options)), listener_(listen_on(options_.socket)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  ping_ = {
      {"build_version", "v53.0-246-gae44c2971"}, {"version", "54.0.0"}, {"pid", ::getpid()}, {"features", {"kvm"}}};
  if (listening()) thread_ = std::thread([this] { serve(); });
}

ChApiServer::~ChApiServer() {
  ::eventfd_write(stop_.get(), 1);
  if (thread_.joinable()) thread_.join();
  if (listening() || shut_down_) ::unlink(options_.socket.c_str());
}

void ChApiServer::create_vm() {
  const std::lock_guard lock(mutex_);
  created_ = true;
}

void ChApiServer::boot_vm() {
  const std::lock_guard lock(mutex_);
  created_ = true;
  boot();
}

void ChApiServer::eject_after(int looks) {
  const std::lock_guard lock(mutex_);
  eject_after_ = looks;
}

void ChApiServer::plain_text_errors() {
  const std::lock_guard lock(mutex_);
  plain_text_ = true;
}

void ChApiServer::set_ping(json ping) {
  const std::lock_guard lock(mutex_);
  ping_ = std::move(ping);
}

void ChApiServer::override_answer(const std::string& endpoint, Override answer) {
  const std::lock_guard lock(mutex_);
  overrides_[endpoint] = std::move(answer);
}

std::vector<ChApiServer::Request> ChApiServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ChApiServer::wait_for_shutdown() {
  shut_down_.wait(false);
}

void ChApiServer::serve() {
  while (!shut_down_ && wait_readable(listener_.get())) {
    const UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) serve_connection(connection.get());
  }
}

// False: the server is told to stop.
bool ChApiServer::wait_readable(int fd) const {
  std::array<pollfd, 2> fds{{{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  while (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
  }
  return fds[1].revents == 0;
}

void ChApiServer::serve_connection(int connection) {
  std::string buffer;
  while (!shut_down_) {
    const auto request = read_request(connection, buffer);
    if (!request) return;
    record(*request);
    if (!answer(connection, *request)) return;
  }
}

std::optional<ChApiServer::Request> ChApiServer::read_request(int connection, std::string& buffer) const {
  for (;;) {
    if (const auto head = buffer.find("\r\n\r\n"); head != std::string::npos) {
      const auto fields = lower(buffer.substr(0, head));
      std::size_t length = 0;
      if (const auto at = fields.find("content-length:"); at != std::string::npos) {
        const auto end = fields.find("\r\n", at);
        length = parse_number<std::size_t>(trim(std::string_view(fields).substr(at + 15, end - at - 15))).value_or(0);
      }
      if (buffer.size() >= head + 4 + length) {
        const auto words = split(std::string_view(buffer).substr(0, buffer.find("\r\n")), ' ');
        Request request;
        request.method = std::string(words.at(0));
        const auto target = words.at(1);
        request.endpoint = std::string(target.starts_with(kPrefix) ? target.substr(kPrefix.size()) : target);
        request.body = buffer.substr(head + 4, length);
        buffer.erase(0, head + 4 + length);
        return request;
      }
    }
    std::array<char, 65536> piece{};
    if (!wait_readable(connection)) return std::nullopt;
    const auto got = ::recv(connection, piece.data(), piece.size(), 0);
    if (got <= 0) return std::nullopt;
    buffer.append(piece.data(), static_cast<std::size_t>(got));
  }
}

void ChApiServer::record(const Request& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  if (options_.log.empty()) return;
  std::ofstream(options_.log, std::ios::app)
      << request.method << ' ' << request.endpoint << ' ' << request.body << '\n';
}

// False: the connection is to be closed.
bool ChApiServer::answer(int connection, const Request& request) {
  std::optional<Override> instead;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = overrides_.find(request.endpoint); found != overrides_.end() && found->second.times != 0) {
      if (found->second.times > 0) --found->second.times;
      instead = found->second;
    }
  }
  if (instead) {
    send_all(connection, instead->bytes);
    if (instead->hang) wait_readable(connection);  // until the client hangs up
    if (instead->shut_down) end();
    return false;
  }
  const auto [failed, happens] = number_operation(connection, request);
  const bool late = failed == EINPROGRESS;
  if (late) wait_readable(connection);  // until the client hangs up
  auto made = happens || late ? reply(request) : Reply{};
  if (failed == ETIME) wait_readable(connection);
  constexpr std::array kHangsUp = {EINTR, EPIPE, ECONNRESET, ETIME, EINPROGRESS};
  if (std::ranges::find(kHangsUp, failed) != kHangsUp.end()) return false;
  if (failed != 0) made = failure(500, {"Error from API", os_text(failed)});
  const bool sent = send_all(connection, http_text(made.status, made.body));
  if (request.endpoint == "vmm.shutdown") end();
  return sent;
}

// A simulated host counts requests as operations of the client, and may fail them before they happen or after.
ChApiServer::Fate ChApiServer::number_operation(int connection, const Request& request) const {
  const UniqueFd file(::open((options_.host_root + "/vmm/ch/" + request.endpoint).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  const auto who = std::to_string(peer_of(connection)) + "\n" + std::to_string(::getpid());
  const int failed = ::write(file.get(), who.data(), who.size()) < 0 ? errno : 0;
  const UniqueFd answer(::open((options_.host_root + "/.simhost/answer").c_str(), O_RDONLY | O_CLOEXEC));
  char first = 0;
  return {failed, answer.valid() && ::read(answer.get(), &first, 1) == 1};
}

void ChApiServer::end() {
  listener_ = {};  // whoever connects from now on is refused
  shut_down_ = true;
  shut_down_.notify_all();
}

ChApiServer::Reply ChApiServer::reply(const Request& request) {
  const std::lock_guard lock(mutex_);
  const auto call = request.method + " " + request.endpoint;
  if (call == "GET vmm.ping") return {200, ping_.dump()};
  if (call == "GET vm.info") return info();
  if (call == "PUT vm.create") {
    if (!json::accept(request.body)) return failure(400, {"Failed to deserialize JSON", "expected value"});
    if (created_) return failure(500, {"Error from API", "The VM could not be created", "VM is already created"});
    created_ = true;
    return {};
  }
  if (call == "PUT vm.boot") {
    return boot();
  }
  if (call == "PUT vm.add-device") return add_device(request.body);
  if (call == "PUT vm.remove-device") return remove_device(request.body);
  if (call == "PUT vmm.shutdown") {
    devices_.clear();
    return {200, ""};
  }
  return failure(404, {"Not Found"});
}

ChApiServer::Reply ChApiServer::boot() {
  const std::string refusal = "The VM could not boot";
  if (!created_) return failure(404, {"Error from API", refusal, "VM is not created"});
  for (auto& [id, device] : devices_) {
    if (const auto error = options_.open_devices ? open_group(device) : std::nullopt) {
      return failure(
          500, {"Error from API", refusal, "Error from device manager", "Cannot create a VFIO device", error->front()});
    }
    device.plugged = true;
  }
  booted_ = true;
  return {};
}

ChApiServer::Reply ChApiServer::info() {
  if (!created_) return failure(404, {"Error from API", "The VM info is not available", "VM is not created"});
  json configured = json::array();
  json tree = json::object();
  for (auto it = devices_.begin(); it != devices_.end();) {
    auto& [id, device] = *it;
    const bool leaving = !device.configured;
    if (leaving && device.looks_left == 0) {
      it = devices_.erase(it);
      continue;
    }
    if (leaving && device.looks_left > 0) --device.looks_left;
    if (device.configured) configured.push_back({{"id", id}, {"path", device.path}, {"iommu", false}});
    if (device.plugged) tree[id] = {{"id", id}, {"resources", json::array()}, {"children", json::array()}};
    ++it;
  }
  json info = {{"state", booted_ ? "Running" : "Created"}, {"memory_actual_size", 134217728}};
  info["config"] = {{"cpus", {{"boot_vcpus", 1}}}};
  if (!configured.empty()) info["config"]["devices"] = configured;
  if (booted_) info["device_tree"] = tree;
  return {200, info.dump()};
}

ChApiServer::Reply ChApiServer::add_device(const std::string& body) {
  const std::string refusal = "The device could not be added to the VM";
  const auto config = json::parse(body, nullptr, false);
  if (!config.is_object()) return failure(400, {"Failed to deserialize JSON", "expected value"});
  if (!created_) return failure(404, {"Error from API", refusal, "VM is not created"});
  Device device;
  device.path = config.value("path", "");
  const auto id = config.value("id", "_vfio" + std::to_string(next_slot_));
  for (const auto& [other, there] : devices_) {
    if (there.configured && there.path == device.path) {
      return failure(
          409, {"Error from API", refusal, "Failed to validate config", "Duplicated device path: " + device.path});
    }
    if (other == id) {
      return failure(409,
                     {"Error from API", refusal, "Failed to validate config", "Identifier " + id + " is not unique"});
    }
  }
  device.plugged = booted_;
  if (booted_ && options_.open_devices) {
    if (auto error = open_group(device)) {
      std::vector<std::string> chain = {"Error from API", refusal, "Error from device manager",
                                        "Cannot create a VFIO device"};
      chain.insert(chain.end(), error->begin(), error->end());
      return failure(500, chain);
    }
  }
  devices_[id] = std::move(device);
  if (!booted_) return {};
  const PciAddress guest{0, 0, next_slot_++, 0};
  return {200, json{{"id", id}, {"bdf", guest.to_string()}}.dump()};
}

// The VMM's words where the device's VFIO group cannot be had, innermost last.
std::optional<std::vector<std::string>> ChApiServer::open_group(Device& device) const {
  std::error_code error;
  const auto link = std::filesystem::read_symlink(options_.host_root + device.path + "/iommu_group", error);
  if (error) return std::vector<std::string>{"invalid file path"};
  const auto number = link.filename().string();
  const auto node = options_.host_root + "/dev/vfio/" + number;
  device.group = UniqueFd(::open(node.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.group.valid()) {
    const auto why = os_text(errno);
    return std::vector<std::string>{"failed to open /dev/vfio/" + number + " group: " + why, why};
  }
  vfio_group_status status{};
  status.argsz = sizeof status;
  // A node that is not VFIO's (a simulated host's) knows no such request and counts as viable.
  const bool asked = ::ioctl(device.group.get(), VFIO_GROUP_GET_STATUS, &status) == 0;
  if (asked && (status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
    device.group = {};
    return std::vector<std::string>{"group is not viable"};
  }
  return std::nullopt;
}

ChApiServer::Reply ChApiServer::remove_device(const std::string& body) {
  const std::string refusal = "The device could not be removed from the VM";
  const auto config = json::parse(body, nullptr, false);
  if (!config.is_object()) return failure(400, {"Failed to deserialize JSON", "expected value"});
  if (!created_) return failure(404, {"Error from API", refusal, "VM is not created"});
  const auto id = config.value("id", "");
  const auto found = devices_.find(id);
  if (found == devices_.end()) {
    if (!booted_) return failure(404, {"Error from API", refusal, "No device with id \"" + id + "\" to remove"});
    return failure(404, {"Error from API", refusal, "Error from device manager",
                         "Failed to find device corresponding to the given identifier: " + id});
  }
  if (!booted_ || eject_after_ == 0) {
    devices_.erase(found);
    return {};
  }
  if (std::exchange(found->second.configured, false)) found->second.looks_left = eject_after_;
  return {};
}

ChApiServer::Reply ChApiServer::failure(int status, const std::vector<std::string>& chain) const {
  if (!plain_text_) return {status, json(chain).dump()};
  return {500, join(chain, ": ")};
}

}  // namespace slicebroker::hypervisors::test
