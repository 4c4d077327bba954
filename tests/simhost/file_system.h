// SPDX-License-Identifier: Apache-2.0
// The host as a file system: inodes that the kernel knows, open files, and what sysfs, procfs and devtmpfs do when a
// file is read or written. requests.cpp turns FUSE's requests into these calls.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tl/expected.hpp>

#include "tests/simhost/host.h"

namespace slicebroker::simhost {

template <class T>
using OrErrno = tl::expected<T, int>;

class FileSystem {
 public:
  explicit FileSystem(Host& host);

  struct Entry {
    struct stat attributes {};  // st_ino 0: there is no such entry, and the kernel may remember that
    bool remember = false;
  };
  struct Opened {
    std::uint64_t handle = 0;
    enum class Type { kAttribute, kPlain, kDevice } type = Type::kAttribute;
  };
  struct Change {
    std::optional<mode_t> mode = {};
    std::optional<uid_t> uid = {};
    std::optional<gid_t> gid = {};
  };

  // `thread` is who asks. Each call locks the host, and tells the kernel what changed before it returns.
  OrErrno<Entry> lookup(ino_t parent, const std::string& name, pid_t thread);
  void forget(ino_t inode, std::uint64_t lookups);
  OrErrno<Entry> attributes(ino_t inode, pid_t thread);
  OrErrno<Entry> change(ino_t inode, const Change& change);
  OrErrno<std::string> read_link(ino_t inode, pid_t thread);
  // What sysfs refuses to everybody: 0 is never returned.
  int refuse(const char* what, ino_t parent, const std::string& name, int os_errno);

  OrErrno<std::uint64_t> open_directory(ino_t inode, pid_t thread);
  struct Name {
    std::string name;
    ino_t inode = 0;
    mode_t type = 0;
  };
  std::vector<Name> list(std::uint64_t handle, std::size_t offset);
  void close_directory(std::uint64_t handle);

  OrErrno<Opened> open(ino_t inode, int flags, pid_t thread);
  OrErrno<std::string> read(std::uint64_t handle, std::size_t size, std::size_t offset, pid_t thread);
  int write(std::uint64_t handle, std::string_view value, pid_t thread);
  void flush(std::uint64_t handle);
  void close(std::uint64_t handle);

  // For Host::Front, with the host locked.
  bool remembers(ino_t parent) const;

 private:
  using Node = Tree::Node;
  struct Known {
    std::shared_ptr<Node> node;
    std::string path;
    std::uint64_t lookups = 0;
  };
  struct OpenFile {
    std::shared_ptr<Node> node;
    std::string path;
    std::uint64_t device_open = 0;    // of ProcessTable
    std::optional<std::string> text;  // as it was at offset 0
  };
  struct OpenDirectory {
    std::shared_ptr<Node> node;
    std::vector<Name> names;
  };

  OrErrno<Known> known(ino_t inode) const;
  Entry entry_of(const Node& node, const std::string& path) const;
  std::vector<Name> names_of(const Node& node) const;
  int open_device(OpenFile& file, pid_t pid);
  OrErrno<std::string> show(const OpenFile& file, pid_t pid);
  int store(const OpenFile& file, std::string_view value, pid_t pid);

  Host& host_;
  std::unordered_map<ino_t, Known> known_;
  std::unordered_map<std::uint64_t, std::shared_ptr<OpenFile>> files_;
  std::unordered_map<std::uint64_t, OpenDirectory> directories_;
  std::uint64_t last_handle_ = 0;
};

}  // namespace slicebroker::simhost
