// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/watch.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "vfio/base/pci_address.h"
#include "vfio/base/text.h"
#include "vfio/base/uuid.h"

namespace slicebroker::vfio {
namespace {

// Made when the device was found, and shown without any lock (Linux drivers/pci/pci-sysfs.c, drivers/pci/iov.c).
constexpr std::array<std::string_view, 5> kFromMemory{"modalias", "vendor", "device", "class", "sriov_totalvfs"};

constexpr std::string_view kNvml = "NVML";

bool from_memory(std::string_view path) {
  const auto leaf = path.substr(path.rfind('/') + 1);
  return std::find(kFromMemory.begin(), kFromMemory.end(), leaf) != kFromMemory.end();
}

}  // namespace

struct Watch::Shared {
  std::atomic<std::uint64_t> number{0};
  std::atomic<std::uint32_t> kind{0};
  std::array<char, 1024> what{};  // ends with a NUL; the parent reads it only when nothing has moved for long
};

Watch::Watch() {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  shared_ = new (memory) Shared;
}

Watch::~Watch() {
  ::munmap(shared_, sizeof(Shared));
}

void Watch::begin(Kind kind, std::string_view what) const {
  const std::size_t length = std::min(what.size(), shared_->what.size() - 1);
  std::memcpy(shared_->what.data(), what.data(), length);
  shared_->what[length] = '\0';
  shared_->kind.store(static_cast<std::uint32_t>(kind), std::memory_order_relaxed);
  shared_->number.fetch_add(1, std::memory_order_release);
}

Watch::Sight Watch::look() const {
  Sight sight;
  sight.number = shared_->number.load(std::memory_order_acquire);
  sight.kind = static_cast<Kind>(shared_->kind.load(std::memory_order_relaxed));
  sight.what.assign(shared_->what.data(), ::strnlen(shared_->what.data(), shared_->what.size()));
  return sight;
}

bool Watch::avoids(std::string_view what, Access access) const {
  for (const auto& silent : silent_) {
    if (silent == what) return true;
    if (silent.starts_with(kNvml) || what.starts_with(kNvml)) continue;  // sysfs may well answer where NVML does not
    const auto device = device_in(silent);
    if (device.empty() || device != device_in(what)) continue;
    // One that does not even give what is in memory is not read at all.
    if (access == Access::kRead && (from_memory(silent) || !from_memory(what))) return true;
  }
  return false;
}

std::string device_in(std::string_view path) {
  if (path.starts_with(kNvml)) path.remove_prefix(path.rfind(' ') + 1);
  const auto parts = split(path, '/');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (PciAddress::parse(*part) || Uuid::parse(*part)) return std::string(*part);
  }
  const bool process = parts.size() > 2 && parts[0] == "proc" && parse_number<std::uint32_t>(parts[1]);
  return process ? "proc/" + std::string(parts[1]) : "";
}

}  // namespace slicebroker::vfio
