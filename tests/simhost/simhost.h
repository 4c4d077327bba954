// SPDX-License-Identifier: Apache-2.0
// A simulated GPU host, mounted: any program that is given the mount point as its root works on it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace slicebroker::simhost {

class SimHost {
 public:
  // Mounts a host at an empty directory, or at a temporary one. The error is one line for people: what in the
  // description is wrong and where, or why it could not be mounted.
  static tl::expected<std::unique_ptr<SimHost>, std::string> start(std::string_view description,
                                                                   const std::string& mount_point = {});
  // Releases whatever hangs, and unmounts.
  ~SimHost();

  const std::string& root() const;  // the mount point
  std::string nvml() const;         // the host's libnvidia-ml.so.1, for SLICEBROKER_NVML; empty: it has none

  // One line as the control file takes it (README.md has the list). The error says what is wrong with it.
  tl::expected<void, std::string> command(std::string_view line);

  // Writes that the model has no answer for. A test must end with none.
  std::vector<std::string> unmodelled() const;

  // Every file's text and every link's target below sys, dev and proc, without what changes by itself (pids of real
  // processes): two snapshots are equal when the host is in the same state.
  std::string snapshot() const;

  // Operations so far, by which faults are placed: "17 write sys/bus/pci/drivers_probe". Of every program, or of the
  // one whose executable is called so.
  std::vector<std::string> operations(std::string_view program = {}) const;

 private:
  class Impl;
  explicit SimHost(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slicebroker::simhost
