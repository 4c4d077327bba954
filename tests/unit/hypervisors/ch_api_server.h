// SPDX-License-Identifier: Apache-2.0
// A stand-in for Cloud Hypervisor's API socket: its states, status codes and words, taken from v53.0-246-gae44c2971,
// and the failures of a server that none should meet.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "vfio/base/unique_fd.h"

namespace slicebroker::hypervisors::test {

class ChApiServer {
 public:
  struct Options {
    std::string socket;
    std::string log;            // every request, one line each; empty: none
    std::string host_root;      // below which /sys and /dev lie
    bool open_devices = false;  // open the VFIO group of an added device, as the VMM does, and keep it until ejected
  };

  struct Request {
    std::string method;
    std::string endpoint;  // "vm.info"
    std::string body;
    bool operator==(const Request&) const = default;
  };

  // What to send instead of the VMM's own answer.
  struct Override {
    std::string bytes;       // sent as they are
    bool hang = false;       // then keep the connection open; else close it
    int times = -1;          // so many requests; -1: all
    bool shut_down = false;  // then end, as a VMM that dies
  };

  static constexpr int kNever = -1;

  explicit ChApiServer(Options options);
  ~ChApiServer();
  ChApiServer(const ChApiServer&) = delete;
  ChApiServer& operator=(const ChApiServer&) = delete;

  // Whether it listens; a program says why not by errno.
  bool listening() const { return listener_.valid(); }

  void create_vm();
  void boot_vm();

  // A device that was asked back stays in the device tree for so many looks at vm.info.
  void eject_after(int looks);

  // Through v46 the words of an error came as plain text.
  void plain_text_errors();

  // The answer to vmm.ping: {"build_version","version","pid","features"}.
  void set_ping(nlohmann::json ping);

  void override_answer(const std::string& endpoint, Override answer);

  std::vector<Request> requests() const;

  // Blocks until vmm.shutdown was answered.
  void wait_for_shutdown();

 private:
  struct Device {
    std::string path;
    UniqueFd group;
    bool configured = true;
    bool plugged = false;  // in the running VM's device tree
    int looks_left = 0;
  };
  struct Reply {
    int status = 204;
    std::string body;
  };

  struct Fate {
    int os_errno = 0;     // what the client gets to see is this failure
    bool happens = true;  // whether the request has its effect
  };

  void serve();
  void serve_connection(int connection);
  bool wait_readable(int fd) const;
  std::optional<Request> read_request(int connection, std::string& buffer) const;
  bool answer(int connection, const Request& request);
  void end();
  Reply reply(const Request& request);
  Reply boot();
  Reply info();
  Reply add_device(const std::string& body);
  Reply remove_device(const std::string& body);
  Reply failure(int status, const std::vector<std::string>& chain) const;
  std::optional<std::vector<std::string>> open_group(Device& device) const;
  void record(const Request& request);
  Fate number_operation(int connection, const Request& request) const;

  Options options_;
  UniqueFd listener_;
  UniqueFd stop_;
  mutable std::mutex mutex_;
  nlohmann::json ping_;
  bool created_ = false;
  bool booted_ = false;
  bool plain_text_ = false;
  int eject_after_ = 0;
  std::uint8_t next_slot_ = 5;
  std::map<std::string, Device> devices_;
  std::map<std::string, Override> overrides_;
  std::vector<Request> requests_;
  std::atomic<bool> shut_down_ = false;
  std::thread thread_;
};

}  // namespace slicebroker::hypervisors::test
