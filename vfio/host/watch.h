// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace slicebroker::vfio {

// What a child is waiting for: it says so in memory that it shares with its parent, before each thing that may never
// end. That costs no system call, so every file can be announced.
class Watch {
 public:
  enum class Kind : std::uint32_t {
    kNothing,  // it computes, or waits between two looks
    kFile,     // it reads a file, a link or a directory
    kWrite,    // its own child writes, which has a deadline
    kNvml,     // it is in NVIDIA's library
  };
  struct Sight {
    std::uint64_t number = 0;  // of things begun so far: two equal ones mean that the child did not get on
    Kind kind = Kind::kNothing;
    std::string what;  // "sys/bus/pci/devices/0000:41:00.0/driver_override"; "NVML on GPU 0000:41:00.0"
  };

  Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  // The child's side.
  void begin(Kind kind, std::string_view what) const;
  // Whether `what` has not answered before, or is of a device that has not: of that one only the attributes that a
  // kernel gives from memory are still read, and its links.
  enum class Access { kRead, kLookUp };
  bool avoids(std::string_view what, Access access) const;

  // The parent's side.
  Sight look() const;
  // From now on a child leaves this alone.
  void avoid(std::string what) { silent_.push_back(std::move(what)); }
  const std::vector<std::string>& silent() const { return silent_; }

 private:
  struct Shared;
  Shared* shared_;
  std::vector<std::string> silent_;
};

// The device that such a text is about, or the process: its last component that is a PCI address or UUID
// ("0000:41:00.0"), "proc/4711"; empty where there is none.
std::string device_in(std::string_view path);

}  // namespace slicebroker::vfio
