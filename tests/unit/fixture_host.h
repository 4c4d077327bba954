// SPDX-License-Identifier: Apache-2.0
// A host's /sys, /proc and /dev, built from code in a temporary directory and removed at the end. Plain files: nothing
// answers a write, so tests see what is read, what is written, and what is said when nothing happens.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/host/holders.h"
#include "vfio/host/host.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::test {

// A PCI function as add_function() makes it: an A100 that nobody uses.
struct FunctionSpec {
  std::string vendor = "0x10de";
  std::string device = "0x20b5";
  std::string class_code = "0x030200";
  std::string driver = {};  // empty: none
  std::string driver_override = "(null)";
  std::optional<std::uint32_t> iommu_group = {};
  std::string vfio_device = {};  // "vfio0"; empty: its driver speaks no VFIO
};

class FixtureHost {
 public:
  FixtureHost();
  ~FixtureHost();
  FixtureHost(const FixtureHost&) = delete;
  FixtureHost& operator=(const FixtureHost&) = delete;

  const std::string& directory() const { return directory_; }
  vfio::HostRoot root() const;
  vfio::Host host(std::chrono::milliseconds deadline = std::chrono::seconds(10)) const;
  // For what is to run out: long enough for the writes before it on a busy machine.
  vfio::Host impatient_host() const { return host(std::chrono::milliseconds(400)); }

  // Files by their path below the root. Directories on the way are made.
  void write(const std::string& path, std::string_view text) const;
  void link(const std::string& path, const std::string& target) const;
  void make_directory(const std::string& path) const;
  void make_fifo(const std::string& path) const;
  void make_unreadable(const std::string& path) const;  // a node whose open fails with ENXIO, for root as well
  void remove(const std::string& path) const;
  std::string read(const std::string& path) const;
  bool exists(const std::string& path) const;

  // Every file's text and every link's target, and whether they are still the same: if not, which differ.
  using Snapshot = std::map<std::string, std::string>;
  Snapshot snapshot() const;
  testing::AssertionResult is_as(const Snapshot& before) const;

  void add_function(const PciAddress& address, const FunctionSpec& spec = {}) const;
  void set_driver(const PciAddress& address, const std::string& driver) const;  // "": none
  // Links existing functions as the VFs of a physical function.
  void set_vfs(const PciAddress& physical, const std::vector<PciAddress>& vfs, unsigned total) const;
  void set_nvidia_minor(const PciAddress& address, unsigned minor) const;
  void set_vendor_vf(const PciAddress& vf, const std::string& current_type, const std::string& creatable) const;

  void add_mdev_type(const PciAddress& parent, const std::string& id, const std::string& type_name,
                     const std::string& available) const;
  void add_mdev(const std::string& uuid, const PciAddress& parent, const std::string& type_id,
                std::uint32_t iommu_group) const;
  void remove_mdev(const std::string& uuid) const;

  // A process with these nodes open beside /dev/null.
  void add_process(pid_t pid, const std::string& command, const std::vector<std::string>& nodes,
                   std::uint64_t start_time = 1000, char state = 'S') const;
  void remove_process(pid_t pid) const;
  void set_boot_id(const std::string& boot_id) const;

 private:
  std::string at(const std::string& path) const { return directory_ + "/" + path; }
  std::string directory_;
};

// "sys/devices/pci0000:00/0000:41:00.0/leaf": where a function of the fixture really lies.
std::string device_path(const PciAddress& address, const std::string& leaf = {});

}  // namespace slicebroker::test
