// SPDX-License-Identifier: Apache-2.0
// libvirtd of a simulated host, with its domains: many clients see one world, which outlives each of them. A client
// (tests/vmm/libvirt.cpp) calls a function by writing to vmm/libvirt/FUNCTION, which is a numbered operation, and then
// reads what became of it from .simhost/answer. A running domain is a simulated process that has VFIO nodes open.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "tests/simhost/processes.h"
#include "tests/simhost/tree.h"
#include "tests/simhost/vmm/hostdev.h"

namespace slicebroker::simhost {

// Not locked: callers hold the host's lock.
class Libvirtd {
 public:
  // Puts what outlives a reboot into the tree.
  Libvirtd(Tree& tree, Processes& processes);

  // After a reboot: no domain runs.
  void boot();

  static bool knows(const std::string& verb) { return verb == "libvirt" || verb == "domain"; }
  // "libvirt 9.0.0 [QEMU|CH]", "domain NAME ...": README.md has the list.
  tl::expected<void, std::string> command(const std::vector<std::string>& line);
  // A domain from its XML, or another XML for its next start.
  tl::expected<void, std::string> define(const std::string& xml);

 private:
  // What the guest does when it is asked for a device.
  enum class Guest { kReleases, kReleasesQuietly, kNever, kRefuses, kEnds };
  struct Domain {
    std::string name;
    std::string uuid;
    std::string xml;
    pid_t pid = 0;  // 0: it does not run
    std::vector<Hostdev> hostdevs;
    Guest guest = Guest::kReleases;
    std::chrono::milliseconds delay{0};
  };
  using Answer = tl::expected<std::string, Refusal>;
  using Failure = tl::expected<void, std::string>;

  // The functions of libvirt. `text` is what the client wrote; of functions of a domain its UUID and a line feed stand
  // in front.
  Answer call(const std::string& function, const std::string& text);
  Answer look_up(const std::string& text, std::string Domain::*key, const char* what);
  Answer call_domain(const std::string& function, const std::string& text);
  Answer attach(Domain& domain, const std::string& xml);
  Answer detach(Domain& domain, const std::string& alias);
  void add_call(const std::string& function);
  void add_client_files();
  void add_domain_file(const Domain& domain);

  Failure undefine(Domain& domain);
  Failure start(Domain& domain);
  Failure set_guest(Domain& domain, const std::vector<std::string>& words);
  void end(Domain& domain);

  std::optional<Refusal> take(Domain& domain, Hostdev hostdev);
  std::optional<Refusal> check_free(const Hostdev& hostdev) const;
  void drop(Domain& domain, const std::string& alias);
  void announce(int event, const Domain& domain, const std::string& alias);
  // Guests act when somebody listens or connects, so that a client's run is the same every time.
  void let_guests_act();
  void notice_ends();
  Domain* find(const std::string& name);
  static std::string summary(const Domain& domain);
  std::string events() const;

  Tree& tree_;
  Processes& processes_;
  std::string version_ = "11.3.0";
  std::string driver_ = "QEMU";
  std::map<std::string, Domain> domains_;  // by name
  pid_t last_pid_;
  struct Event {
    std::uint64_t number = 0;
    int event = 0;
    std::string domain;  // UUID
    std::string alias;
  };
  std::vector<Event> events_;
  std::map<pid_t, std::string> answers_;  // of clients that have not read theirs
  std::string answer_;                    // to the client that reads now
};

}  // namespace slicebroker::simhost
