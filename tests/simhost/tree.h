// SPDX-License-Identifier: Apache-2.0
// The files of a simulated host: what the kernel model puts there and takes away, and what a read, a write or an open
// of each does. Knows nothing of FUSE and nothing of GPUs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace slicebroker::simhost {

// The process that an operation comes from, and the model's way to make it wait as a kernel would.
class Caller {
 public:
  virtual ~Caller() = default;
  virtual pid_t pid() const = 0;
  // Waits, with the host unlocked meanwhile, until `done` holds. False where the host is taken down first: the
  // operation should then fail with EINTR.
  virtual bool wait(const std::function<bool()>& done) = 0;
};

using Text = tl::expected<std::string, int>;  // or an errno

// A regular file of sysfs, procfs or devtmpfs. A device node is one too: a FUSE mount can't serve character devices, so
// nodes are regular files whose open and close the model sees.
struct File {
  mode_t mode = 0444;
  std::function<Text()> show = {};               // none: not readable
  std::function<int(Caller&)> before_show = {};  // may wait for whoever keeps it from being shown; 0 or an errno
  // 0 or an errno; none with a mode that allows writing: a write that is not modelled, which fails the test
  std::function<int(std::string_view value, Caller&)> store = {};
  std::function<int(Caller&)> open = {};    // device nodes: 0 or an errno
  std::function<void(pid_t)> release = {};  // the last close of one open
  uid_t uid = 0;                            // as chown and chmod of a mounted host leave them
  gid_t gid = 0;
};

// Paths are relative to the host's root: "sys/bus/pci/devices". Not locked: callers hold the host's lock.
class Tree {
 public:
  struct Node {
    enum class Kind { kDirectory, kFile, kLink };
    Kind kind = Kind::kDirectory;
    ino_t inode = 0;                                        // never used twice
    File file;                                              // kFile
    std::string target;                                     // kLink
    std::map<std::string, std::shared_ptr<Node>> children;  // kDirectory
    bool removed = false;  // an open descriptor may outlive the path: reads and writes then give ENODEV
  };

  Tree();

  // Directories on the way are made. Adding what exists is a mistake of the model and aborts.
  void add_directory(const std::string& path);  // one that exists is left as it is
  void add_file(const std::string& path, File file);
  void add_text(const std::string& path, std::string text);  // constant; a newline is added
  void add_link(const std::string& path, std::string target);
  // With everything below. Removing what is not there aborts.
  void remove(const std::string& path);

  // Links are not followed: that is up to the kernel that mounted us.
  std::shared_ptr<Node> find(const std::string& path) const;
  bool exists(const std::string& path) const { return find(path) != nullptr; }
  std::vector<std::string> list(
      const std::string& path) const;  // names, sorted; empty where there is no such directory

  // Called for every entry that appears, and for the one whose subtree vanishes: parent's inode and the entry's name.
  void on_change(std::function<void(ino_t parent, const std::string& name)> listener);

  const std::shared_ptr<Node>& root() const { return root_; }

 private:
  std::shared_ptr<Node> add(const std::string& path, Node node);
  std::shared_ptr<Node> root_;
  ino_t last_inode_ = 1;
  std::function<void(ino_t, const std::string&)> listener_;
};

}  // namespace slicebroker::simhost
