// SPDX-License-Identifier: Apache-2.0
// FUSE's requests, each as a call of FileSystem.
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/simhost/mount.h"

namespace slicebroker::simhost {
namespace {

constexpr double kForGood = 1e6;  // seconds; Mount::invalidate() ends it

FileSystem& files(fuse_req_t req) {
  return *static_cast<FileSystem*>(fuse_req_userdata(req));
}

pid_t thread_of(fuse_req_t req) {
  return fuse_req_ctx(req)->pid;
}

double timeout_of(const FileSystem::Entry& entry) {
  return entry.remember ? kForGood : 0;
}

void init(void* /*files*/, fuse_conn_info* connection) {
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  const auto entry = files(req).lookup(parent, name, thread_of(req));
  if (!entry || (entry->attributes.st_ino == 0 && !entry->remember)) {
    fuse_reply_err(req, entry ? ENOENT : entry.error());
    return;
  }
  fuse_entry_param reply{};
  reply.ino = entry->attributes.st_ino;
  reply.attr = entry->attributes;
  reply.entry_timeout = timeout_of(*entry);
  reply.attr_timeout = timeout_of(*entry);
  if (fuse_reply_entry(req, &reply) != 0 && reply.ino != 0) files(req).forget(reply.ino, 1);
}

void forget(fuse_req_t req, fuse_ino_t inode, std::uint64_t lookups) {
  files(req).forget(inode, lookups);
  fuse_reply_none(req);
}

void reply_attributes(fuse_req_t req, const OrErrno<FileSystem::Entry>& entry) {
  if (entry) {
    fuse_reply_attr(req, &entry->attributes, timeout_of(*entry));
  } else {
    fuse_reply_err(req, entry.error());
  }
}

void getattr(fuse_req_t req, fuse_ino_t inode, fuse_file_info* /*file*/) {
  reply_attributes(req, files(req).attributes(inode, thread_of(req)));
}

// A size (of O_TRUNC) and times are accepted and mean nothing, as in sysfs.
void setattr(fuse_req_t req, fuse_ino_t inode, struct stat* attributes, int set, fuse_file_info* /*file*/) {
  FileSystem::Change change;
  if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = attributes->st_mode;
  if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = attributes->st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = attributes->st_gid;
  reply_attributes(req, files(req).change(inode, change));
}

void readlink(fuse_req_t req, fuse_ino_t inode) {
  const auto target = files(req).read_link(inode, thread_of(req));
  if (target) {
    fuse_reply_readlink(req, target->c_str());
  } else {
    fuse_reply_err(req, target.error());
  }
}

void opendir(fuse_req_t req, fuse_ino_t inode, fuse_file_info* file) {
  const auto handle = files(req).open_directory(inode, thread_of(req));
  if (!handle) {
    fuse_reply_err(req, handle.error());
    return;
  }
  file->fh = *handle;
  if (fuse_reply_open(req, file) != 0) files(req).close_directory(*handle);
}

void readdir(fuse_req_t req, fuse_ino_t /*inode*/, std::size_t size, off_t offset, fuse_file_info* file) {
  std::vector<char> buffer(size);
  std::size_t used = 0;
  off_t next = offset;
  for (const auto& entry : files(req).list(file->fh, static_cast<std::size_t>(offset))) {
    struct stat attributes {};
    attributes.st_ino = entry.inode;
    attributes.st_mode = entry.type;
    const auto needed =
        fuse_add_direntry(req, buffer.data() + used, size - used, entry.name.c_str(), &attributes, ++next);
    if (needed > size - used) break;
    used += needed;
  }
  fuse_reply_buf(req, buffer.data(), used);
}

void releasedir(fuse_req_t req, fuse_ino_t /*inode*/, fuse_file_info* file) {
  files(req).close_directory(file->fh);
  fuse_reply_err(req, 0);
}

// fuse_reply_open() of libfuse 3.14 does not know FOPEN_PARALLEL_DIRECT_WRITES, without which a second write to an
// attribute would wait for one that hangs, and in a state in which it can't be killed.
void open(fuse_req_t req, fuse_ino_t inode, fuse_file_info* file) {
  using Type = FileSystem::Opened::Type;
  const auto opened = files(req).open(inode, file->flags, thread_of(req));
  if (!opened) {
    fuse_reply_err(req, opened.error());
    return;
  }
  fuse_open_out reply{};
  reply.fh = opened->handle;
  if (opened->type != Type::kPlain) reply.open_flags |= FOPEN_DIRECT_IO | (1 << 6);
  if (opened->type != Type::kDevice) reply.open_flags |= FOPEN_NOFLUSH;
  std::vector<char> bytes(sizeof reply);
  std::memcpy(bytes.data(), &reply, sizeof reply);
  if (fuse_reply_buf(req, bytes.data(), bytes.size()) != 0) files(req).close(opened->handle);
}

void read(fuse_req_t req, fuse_ino_t /*inode*/, std::size_t size, off_t offset, fuse_file_info* file) {
  const auto text = files(req).read(file->fh, size, static_cast<std::size_t>(offset), thread_of(req));
  if (text) {
    fuse_reply_buf(req, text->data(), text->size());
  } else {
    fuse_reply_err(req, text.error());
  }
}

void write(fuse_req_t req, fuse_ino_t /*inode*/, const char* value, std::size_t size, off_t /*offset*/,
           fuse_file_info* file) {
  const int result = files(req).write(file->fh, {value, size}, thread_of(req));
  if (result == 0) {
    fuse_reply_write(req, size);
  } else {
    fuse_reply_err(req, result);
  }
}

void flush(fuse_req_t req, fuse_ino_t /*inode*/, fuse_file_info* file) {
  files(req).flush(file->fh);
  fuse_reply_err(req, 0);
}

void release(fuse_req_t req, fuse_ino_t /*inode*/, fuse_file_info* file) {
  files(req).close(file->fh);
  fuse_reply_err(req, 0);
}

// The errnos are what a real sysfs gives to root.
void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t /*mode*/, fuse_file_info* /*file*/) {
  fuse_reply_err(req, files(req).refuse("create", parent, name, EACCES));
}
void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t /*mode*/, dev_t /*device*/) {
  fuse_reply_err(req, files(req).refuse("mknod", parent, name, EPERM));
}
void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t /*mode*/) {
  fuse_reply_err(req, files(req).refuse("mkdir", parent, name, EPERM));
}
void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_reply_err(req, files(req).refuse("unlink", parent, name, EPERM));
}
void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_reply_err(req, files(req).refuse("rmdir", parent, name, EPERM));
}
void symlink(fuse_req_t req, const char* /*target*/, fuse_ino_t parent, const char* name) {
  fuse_reply_err(req, files(req).refuse("symlink", parent, name, EPERM));
}
void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t /*to*/, const char* /*new_name*/,
            unsigned /*flags*/) {
  fuse_reply_err(req, files(req).refuse("rename", parent, name, EPERM));
}
void link(fuse_req_t req, fuse_ino_t /*inode*/, fuse_ino_t parent, const char* name) {
  fuse_reply_err(req, files(req).refuse("link", parent, name, EPERM));
}

fuse_lowlevel_ops make_requests() {
  fuse_lowlevel_ops ops{};
  ops.init = init;
  ops.lookup = lookup;
  ops.forget = forget;
  ops.getattr = getattr;
  ops.setattr = setattr;
  ops.readlink = readlink;
  ops.opendir = opendir;
  ops.readdir = readdir;
  ops.releasedir = releasedir;
  ops.open = open;
  ops.read = read;
  ops.write = write;
  ops.flush = flush;
  ops.release = release;
  ops.create = create;
  ops.mknod = mknod;
  ops.mkdir = mkdir;
  ops.unlink = unlink;
  ops.rmdir = rmdir;
  ops.symlink = symlink;
  ops.rename = rename;
  ops.link = link;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& requests() {
  static const fuse_lowlevel_ops kRequests = make_requests();
  return kRequests;
}

}  // namespace slicebroker::simhost
