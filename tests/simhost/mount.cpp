// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/mount.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace slicebroker::simhost {
namespace {

// Who else unmounts takes the mount from the table first and ends the connection then; libfuse, which looks only at the
// connection, would complain in between. For a second at most: a copy in another mount namespace keeps it alive.
void wait_for_end_of_connection(int device) {
  constexpr int kMilliseconds = 1000;
  pollfd connection{device, 0, 0};  // POLLERR is always told
  ::poll(&connection, 1, kMilliseconds);
}

}  // namespace

Mount::Mount(Host& host, std::string mount_point) : host_(host), mount_point_(std::move(mount_point)), files_(host) {}

bool Mount::mount() {
  // Others see the host too, as they do a real one; only root may offer that without leave in /etc/fuse.conf.
  std::string options = "fsname=simhost,subtype=simhost,default_permissions";
  if (::geteuid() == 0) options += ",allow_other";
  std::string program = "simhost";
  std::string flag = "-o";
  std::array<char*, 3> arguments{program.data(), flag.data(), options.data()};
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(arguments.size()), arguments.data());
  session_ = fuse_session_new(&args, &requests(), sizeof(fuse_lowlevel_ops), &files_);
  fuse_opt_free_args(&args);
  return session_ != nullptr && fuse_session_mount(session_, mount_point_.c_str()) == 0;
}

tl::expected<std::unique_ptr<Mount>, std::string> Mount::start(Host& host, const std::string& mount_point) {
  constexpr const char* kDevice = "/dev/fuse";
  if (::access(kDevice, R_OK | W_OK) != 0) {
    return tl::unexpected(std::string(kDevice) + ": " + std::strerror(errno) +
                          "; load the kernel's module fuse, or give the container this device");
  }
  ::umount2(mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);  // what a simhost that was killed has left there
  std::array<char, PATH_MAX> real{};
  if (::realpath(mount_point.c_str(), real.data()) == nullptr) {
    return tl::unexpected(mount_point + ": " + std::strerror(errno));
  }
  std::unique_ptr<Mount> mount(new Mount(host, real.data()));
  if (!mount->mount()) return tl::unexpected(mount_point + ": could not be mounted, see above");
  host.set_front(mount.get(), mount->mount_point_);
  mount->workers_ = std::make_unique<Workers>(mount->session_);
  mount->workers_->start();
  return mount;
}

Mount::~Mount() {
  if (workers_) {
    host_.stop();
    host_.set_front(nullptr, mount_point_);
    workers_->drain();  // an answer that comes after the unmounting is lost: who waited would see ECONNABORTED
    // MNT_FORCE ends the connection although files are open.
    const bool is_unmounted =
        ::umount2(mount_point_.c_str(), MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno == EINVAL;
    workers_->stop();  // it is still theirs while they end
    if (is_unmounted) wait_for_end_of_connection(fuse_session_fd(session_));
    // Frees what belongs to the mount; for those who are not root fusermount3 unmounts now.
    fuse_session_unmount(session_);
  }
  if (session_ != nullptr) fuse_session_destroy(session_);
}

void Mount::invalidate(ino_t parent, const std::string& name) {
  // ENOENT where the kernel does not know the entry.
  fuse_lowlevel_notify_inval_entry(session_, parent, name.c_str(), name.size());
}

void Mount::waits(Wait wait) {
  if (!workers_) return;
  if (wait == Wait::kBegins) workers_->begin_wait();
  if (wait == Wait::kEnds) workers_->end_wait();
}

}  // namespace slicebroker::simhost
