// SPDX-License-Identifier: Apache-2.0
// What the tests set and see of fake_libvirt.so, a libvirt.so.0 with one domain. Found by dlsym("fake_libvirt").
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace slicebroker::hypervisors::test {

struct FakeLibvirt {
  // What the guest does when it is asked for a device.
  enum class Guest {
    kReleases,         // soon, with an event
    kReleasesQuietly,  // without an event
    kNever,
    kRefuses,    // DEVICE_REMOVAL_FAILED
    kEndsFirst,  // the domain stops instead
  };
  struct Failure {
    int code = 0;  // a virErrorNumber; 0: none
    std::string message;
    int times = -1;
  };

  std::mutex mutex;

  std::string driver;
  bool defined;
  bool running;
  Guest guest;
  Failure connect;
  Failure detach;
  std::map<std::string, Failure> attach;  // by alias
  bool forgets_attached;                  // reports success and has no such device

  std::map<std::string, std::string> devices;  // XML by alias
  std::vector<std::string> calls;              // "attach ALIAS", "detach ALIAS"
  int connections;                             // opened and not yet freed by the event loop
  int domains;                                 // handles not yet freed
  int running_loops;
  int most_running_loops;

  void reset() {
    driver = "QEMU";
    defined = running = true;
    guest = Guest::kReleases;
    connect = detach = {};
    attach.clear();
    forgets_attached = false;
    devices.clear();
    calls.clear();
    most_running_loops = 0;
  }
};

}  // namespace slicebroker::hypervisors::test
