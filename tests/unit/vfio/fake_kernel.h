// SPDX-License-Identifier: Apache-2.0
// The part of the kernel that moves one function of a FixtureHost between drivers: it reads unbind and drivers_probe
// (FIFOs, so a write waits for it as in the kernel) and moves the driver link by driver_override.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fixture_host.h"

namespace slicebroker::test {

class FakeKernel {
 public:
  FakeKernel(const FixtureHost& fixture, const PciAddress& function) : fixture_(fixture), function_(function) {
    const auto drivers = fixture.root().list_dir("sys/bus/pci/drivers").value();
    for (const auto& name : drivers) {
      open("sys/bus/pci/drivers/" + name + "/unbind");
    }
    probe_ = descriptors_.size();
    open("sys/bus/pci/drivers_probe");
    thread_ = std::thread([this] { run(); });
  }
  ~FakeKernel() {
    ended_ = true;
    thread_.join();
    for (const int descriptor : descriptors_) ::close(descriptor);
    for (const auto& path : paths_) {
      fixture_.remove(path);
      fixture_.write(path, "");
    }
  }
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

 private:
  void open(const std::string& path) {
    fixture_.make_fifo(path);
    paths_.push_back(path);
    // Also for writing, so that the FIFO never reads as ended.
    descriptors_.push_back(::open((fixture_.directory() + "/" + path).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  }

  void run() {
    while (!ended_) {
      std::vector<pollfd> waiting;
      for (const int descriptor : descriptors_) waiting.push_back({descriptor, POLLIN, 0});
      if (::poll(waiting.data(), waiting.size(), 10) <= 0) continue;
      for (std::size_t i = 0; i < waiting.size(); ++i) {
        std::array<char, 64> text;
        if ((waiting[i].revents & POLLIN) == 0 || ::read(descriptors_[i], text.data(), text.size()) <= 0) continue;
        i == probe_ ? probe() : fixture_.set_driver(function_, "");
      }
    }
  }

  void probe() {
    auto driver = fixture_.read(device_path(function_, "driver_override"));
    driver = driver.substr(0, driver.find('\n'));
    const bool known = !driver.empty() && fixture_.exists("sys/bus/pci/drivers/" + driver);
    const bool bound = fixture_.exists(device_path(function_, "driver"));
    if (known && !bound) fixture_.set_driver(function_, driver);
  }

  const FixtureHost& fixture_;
  PciAddress function_;
  std::size_t probe_ = 0;
  std::vector<std::string> paths_;
  std::vector<int> descriptors_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace slicebroker::test
