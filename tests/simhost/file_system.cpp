// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/file_system.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {
namespace {

using Kind = Tree::Node::Kind;

bool is_below(const std::string& path, std::string_view top) {
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

// Where the kernel's rules hold, and those of calls to hypervisors; elsewhere (usr, lib) are ordinary files.
bool is_kernels(const std::string& path) {
  return is_below(path, "sys") || is_below(path, "proc") || is_below(path, "dev") || is_below(path, "vmm");
}

// A VMM writes its client's pid: its request is the client's operation.
pid_t who_asks(const std::string& path, std::string_view value, pid_t writer) {
  if (!is_below(path, "vmm/ch")) return writer;
  return number<pid_t>(value.substr(0, value.find('\n'))).value_or(writer);
}

// Processes come and go unannounced.
bool kernel_may_remember(const std::string& directory) {
  return !is_below(directory, "proc");
}

mode_t type_of(const Tree::Node& node) {
  switch (node.kind) {
    case Kind::kDirectory: return S_IFDIR;
    case Kind::kFile: return S_IFREG;
    case Kind::kLink: return S_IFLNK;
  }
  return 0;
}

std::string child_path(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

bool is_plain(const std::string& path) {
  return !is_kernels(path) && !is_below(path, ".simhost");
}

}  // namespace

FileSystem::FileSystem(Host& host) : host_(host) {
  const Host::Session session(host_);
  known_[host_.tree().root()->inode] = {host_.tree().root(), "", 1};
}

OrErrno<FileSystem::Known> FileSystem::known(ino_t inode) const {
  const auto found = known_.find(inode);
  if (found == known_.end() || found->second.node->removed) return tl::unexpected(ENOENT);
  return found->second;
}

bool FileSystem::remembers(ino_t parent) const {
  const auto found = known_.find(parent);
  return found != known_.end() && kernel_may_remember(found->second.path);
}

FileSystem::Entry FileSystem::entry_of(const Node& node, const std::string& path) const {
  Entry entry;
  entry.remember = kernel_may_remember(path);
  auto& attributes = entry.attributes;
  attributes.st_ino = node.inode;
  attributes.st_nlink = 1;
  attributes.st_uid = node.file.uid;
  attributes.st_gid = node.file.gid;
  attributes.st_blksize = 4096;
  attributes.st_mode = type_of(node) | (node.kind == Kind::kDirectory ? 0755 : 0777);
  if (node.kind == Kind::kLink) attributes.st_size = static_cast<off_t>(node.target.size());
  if (node.kind != Kind::kFile) return entry;
  attributes.st_mode = S_IFREG | node.file.mode;
  if (is_below(path, "sys")) attributes.st_size = 4096;
  if (is_plain(path) && node.file.show) {
    attributes.st_size = static_cast<off_t>(node.file.show().value_or("").size());
  }
  return entry;
}

OrErrno<FileSystem::Entry> FileSystem::lookup(ino_t parent, const std::string& name, pid_t thread) {
  const Host::Session session(host_);
  const auto directory = known(parent);
  if (!directory) return tl::unexpected(directory.error());
  if (is_below(directory->path, "proc")) {
    host_.processes().seen(thread);
    host_.processes().refresh(child_path(directory->path, name));
  }
  const auto& children = directory->node->children;
  const auto child = children.find(name);
  if (child == children.end()) return Entry{{}, kernel_may_remember(directory->path)};
  const auto path = child_path(directory->path, name);
  auto& entry = known_[child->second->inode];
  if (entry.lookups++ == 0) entry = {child->second, path, 1};
  auto result = entry_of(*child->second, path);
  result.remember = kernel_may_remember(directory->path);
  return result;
}

void FileSystem::forget(ino_t inode, std::uint64_t lookups) {
  const Host::Session session(host_);
  const auto found = known_.find(inode);
  if (found == known_.end() || inode == host_.tree().root()->inode) return;
  found->second.lookups -= std::min(lookups, found->second.lookups);
  if (found->second.lookups == 0) known_.erase(found);
}

OrErrno<FileSystem::Entry> FileSystem::attributes(ino_t inode, pid_t thread) {
  const Host::Session session(host_);
  host_.processes().seen(thread);
  const auto found = known(inode);
  if (!found) return tl::unexpected(found.error());
  return entry_of(*found->node, found->path);
}

OrErrno<FileSystem::Entry> FileSystem::change(ino_t inode, const Change& change) {
  const Host::Session session(host_);
  const auto found = known(inode);
  if (!found) return tl::unexpected(found.error());
  auto& file = found->node->file;
  constexpr mode_t kPermissions = 07777;
  if (change.mode) file.mode = *change.mode & kPermissions;
  if (change.uid) file.uid = *change.uid;
  if (change.gid) file.gid = *change.gid;
  return entry_of(*found->node, found->path);
}

OrErrno<std::string> FileSystem::read_link(ino_t inode, pid_t thread) {
  const Host::Session session(host_);
  const pid_t pid = host_.processes().seen(thread);
  const auto found = known(inode);
  if (!found) return tl::unexpected(found.error());
  const auto caller = host_.make_caller(pid);
  const auto effect = [&] { return found->node->removed ? ENOENT : 0; };
  const int result =
      is_kernels(found->path) ? host_.perform(OperationKind::kLink, found->path, *caller, effect) : effect();
  if (result != 0) return tl::unexpected(result);
  return found->node->target;
}

int FileSystem::refuse(const char* what, ino_t parent, const std::string& name, int os_errno) {
  const Host::Session session(host_);
  const auto directory = known(parent);
  // sysfs and procfs refuse for good; a devtmpfs would have done it.
  if (directory && !is_below(directory->path, "sys") && !is_below(directory->path, "proc")) {
    host_.add_unmodelled(std::string(what) + " " + child_path(directory->path, name));
  }
  return os_errno;
}

std::vector<FileSystem::Name> FileSystem::names_of(const Node& node) const {
  std::vector<Name> names{{".", node.inode, S_IFDIR}, {"..", node.inode, S_IFDIR}};
  for (const auto& [name, child] : node.children) names.push_back({name, child->inode, type_of(*child)});
  return names;
}

OrErrno<std::uint64_t> FileSystem::open_directory(ino_t inode, pid_t thread) {
  const Host::Session session(host_);
  const pid_t pid = host_.processes().seen(thread);
  const auto found = known(inode);
  if (!found) return tl::unexpected(found.error());
  host_.processes().refresh(found->path);
  const auto caller = host_.make_caller(pid);
  const auto effect = [&] { return found->node->removed ? ENOENT : 0; };
  const int result =
      is_kernels(found->path) ? host_.perform(OperationKind::kList, found->path, *caller, effect) : effect();
  if (result != 0) return tl::unexpected(result);
  const auto handle = ++last_handle_;
  directories_[handle] = {found->node, names_of(*found->node)};
  return handle;
}

std::vector<FileSystem::Name> FileSystem::list(std::uint64_t handle, std::size_t offset) {
  const Host::Session session(host_);
  auto& directory = directories_.at(handle);
  if (offset == 0) directory.names = names_of(*directory.node);  // the first time, and after rewinddir()
  const auto from = std::min(offset, directory.names.size());
  return {directory.names.begin() + static_cast<std::ptrdiff_t>(from), directory.names.end()};
}

void FileSystem::close_directory(std::uint64_t handle) {
  const Host::Session session(host_);
  directories_.erase(handle);
}

OrErrno<FileSystem::Opened> FileSystem::open(ino_t inode, int flags, pid_t thread) {
  const Host::Session session(host_);
  const pid_t pid = host_.processes().seen(thread);
  const auto found = known(inode);
  if (!found) return tl::unexpected(found.error() == ENOENT ? ENODEV : found.error());
  OpenFile file{found->node, found->path, 0, {}};
  const bool device = is_below(file.path, "dev");
  // sysfs asks this of root as well.
  const int access = flags & O_ACCMODE;
  const mode_t mode = file.node->file.mode;
  if (!device && access != O_WRONLY && (mode & 0444) == 0) return tl::unexpected(EACCES);
  if (!device && access != O_RDONLY && (mode & 0222) == 0) return tl::unexpected(EACCES);
  if (device) {
    if (const int result = open_device(file, pid); result != 0) return tl::unexpected(result);
  }
  Opened opened{++last_handle_, is_plain(file.path) ? Opened::Type::kPlain : Opened::Type::kAttribute};
  if (device) opened.type = Opened::Type::kDevice;
  files_[opened.handle] = std::make_shared<OpenFile>(std::move(file));
  return opened;
}

int FileSystem::open_device(OpenFile& file, pid_t pid) {
  const auto caller = host_.make_caller(pid);
  const int result = host_.perform(OperationKind::kOpen, file.path, *caller, [&] {
    return file.node->removed ? ENODEV : host_.processes().open_real(pid, file.path, file.node, file.device_open);
  });
  if (result != 0 && file.device_open != 0) host_.processes().close_real(file.device_open);
  return result;
}

OrErrno<std::string> FileSystem::show(const OpenFile& file, pid_t pid) {
  OrErrno<std::string> text;
  const auto caller = host_.make_caller(pid);
  const auto effect = [&] {
    const bool device = is_below(file.path, "dev");
    if (file.node->removed) {
      text = tl::unexpected(ENODEV);
    } else if (!file.node->file.show) {
      text = tl::unexpected(device ? EINVAL : EIO);
    } else if (const int error = file.node->file.before_show ? file.node->file.before_show(*caller) : 0; error != 0) {
      text = tl::unexpected(error);
    } else {
      text = file.node->file.show();
    }
    return text ? 0 : text.error();
  };
  const int result = is_kernels(file.path) ? host_.perform(OperationKind::kRead, file.path, *caller, effect) : effect();
  if (result != 0) return tl::unexpected(result);
  return text;
}

OrErrno<std::string> FileSystem::read(std::uint64_t handle, std::size_t size, std::size_t offset, pid_t thread) {
  const Host::Session session(host_);
  const auto file = files_.at(handle);
  if (file->node->removed) return tl::unexpected(ENODEV);
  if (offset == 0 || !file->text) {
    auto text = show(*file, host_.processes().seen(thread));
    if (!text) return tl::unexpected(text.error());
    file->text = *std::move(text);
  }
  if (offset >= file->text->size()) return std::string();
  return file->text->substr(offset, size);
}

int FileSystem::store(const OpenFile& file, std::string_view value, pid_t pid) {
  const auto caller = host_.make_caller(who_asks(file.path, value, pid));
  const auto effect = [&] {
    if (file.node->removed) return ENODEV;
    if (file.node->file.store) return file.node->file.store(value, *caller);
    host_.add_unmodelled("write " + file.path + " '" + std::string(value.substr(0, value.find('\n'))) + "'");
    return EIO;
  };
  return is_kernels(file.path) ? host_.perform(OperationKind::kWrite, file.path, *caller, effect) : effect();
}

int FileSystem::write(std::uint64_t handle, std::string_view value, pid_t thread) {
  const Host::Session session(host_);
  const auto file = files_.at(handle);
  return store(*file, value, host_.processes().seen(thread));
}

void FileSystem::flush(std::uint64_t handle) {
  const Host::Session session(host_);
  const auto file = files_.at(handle);
  if (file->device_open != 0) host_.processes().close_real_if_last(file->device_open);
}

void FileSystem::close(std::uint64_t handle) {
  const Host::Session session(host_);
  const auto file = files_.at(handle);
  files_.erase(handle);
  if (file->device_open != 0) host_.processes().close_real(file->device_open);
}

}  // namespace slicebroker::simhost
