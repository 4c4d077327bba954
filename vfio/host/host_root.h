// SPDX-License-Identifier: Apache-2.0
// The one place that reads and writes the host's files.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vfio/base/result.h"
#include "vfio/base/unique_fd.h"
#include "vfio/host/watch.h"

namespace slicebroker::vfio {

// Everything below one directory that stands for the host's "/": sys, proc, dev. Paths are relative to it
// ("sys/bus/pci/devices"), and no symbolic link leads out of it (openat2 RESOLVE_IN_ROOT), so a link inside a
// fixture can't reach the real host.
class HostRoot {
 public:
  // Errors: errno of opening the directory.
  static Result<HostRoot> open(const std::string& directory);

  // The same tree, by one who says to `watch`, which outlives it, what is about to be read. What the watch avoids fails
  // at once: kNoAnswer DEVICE_SILENT. For a process of one thread.
  HostRoot watched_by(const Watch& watch) const;
  // The same tree, watched as this one is.
  HostRoot again() const;
  int descriptor() const { return root_.get(); }

  // The attribute's text without its one trailing newline. Reads at most 1 MiB.
  Result<std::string> read_attr(std::string_view path) const;
  // The same; nullopt where there is no such file.
  Result<std::optional<std::string>> find_attr(std::string_view path) const;

  // A file's whole text; nullopt where there is no such file. Errors: EFBIG where it is longer than `most` bytes.
  Result<std::optional<std::string>> find_text(std::string_view path, std::size_t most) const;

  // Names in a directory, sorted, without "." and "..". find_dir: empty where there is no such directory.
  Result<std::vector<std::string>> list_dir(std::string_view path) const;
  Result<std::vector<std::string>> find_dir(std::string_view path) const;

  // The last component of a link's target ("../../bus/pci/drivers/nvidia" -> "nvidia"); nullopt where there is none.
  Result<std::optional<std::string>> find_link_name(std::string_view path) const;
  // The link's text as it stands.
  Result<std::string> read_link(std::string_view path) const;

  // Whether there is such an entry. Errors: errno, where that could not be found out.
  Result<bool> is_there(std::string_view path) const;

  // Writes the whole value in one write(2), in this process: for attributes whose write does not wait for anything.
  // Errors: errno of the open or the write, naming path and value.
  Result<void> write_attr(std::string_view path, std::string_view value) const;

  // The same in a child process, for attributes whose write may wait in the kernel for ever (unbind, bind,
  // sriov_numvfs, mdev create and remove, current_vgpu_type). Errors: as write_attr; kNoAnswer with reason WEDGED
  // and the child's pid when the kernel has not answered by the deadline. The child is then left behind: a process
  // in an uninterruptible wait can't be ended.
  Result<void> write_attr_within(std::string_view path, std::string_view value,
                                 std::chrono::milliseconds deadline) const;

  // The path as messages show it: "/sys/..." below the real root, "/tmp/fixture/sys/..." below another.
  std::string display(std::string_view path) const;

 private:
  HostRoot(UniqueFd root, std::string directory);
  Result<UniqueFd> open_below(std::string_view path, int flags) const;

  UniqueFd root_;
  std::string directory_;
  const Watch* watch_ = nullptr;
};

}  // namespace slicebroker::vfio
