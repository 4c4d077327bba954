// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/simhost.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/simhost/host.h"
#include "tests/simhost/mount.h"

namespace slicebroker::simhost {
namespace {

constexpr const char* kNvml = "usr/lib/libnvidia-ml.so.1";

tl::expected<std::string, std::string> make_temporary_directory() {
  const char* const configured = std::getenv("TMPDIR");
  std::string path = std::string(configured != nullptr ? configured : "/tmp") + "/simhost.XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return tl::unexpected(path + ": " + std::strerror(errno));
  return path;
}

// A directory that is removed at the end, once nothing is mounted there.
class TemporaryDirectory {
 public:
  ~TemporaryDirectory() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  void remember(std::string path) { path_ = std::move(path); }

 private:
  std::string path_;
};

}  // namespace

// Members end in the reverse order: the mount, the host, the directory.
class SimHost::Impl {
 public:
  TemporaryDirectory temporary;
  std::unique_ptr<Host> host;
  std::unique_ptr<Mount> mount;
};

SimHost::SimHost(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SimHost::~SimHost() = default;

tl::expected<std::unique_ptr<SimHost>, std::string> SimHost::start(std::string_view description,
                                                                   const std::string& mount_point) {
  auto impl = std::make_unique<Impl>();
  auto host = Host::create(description);
  if (!host) return tl::unexpected(host.error());
  impl->host = *std::move(host);

  auto directory = mount_point;
  if (directory.empty()) {
    const auto temporary = make_temporary_directory();
    if (!temporary) return tl::unexpected(temporary.error());
    directory = *temporary;
    impl->temporary.remember(directory);
  }
  auto mount = Mount::start(*impl->host, directory);
  if (!mount) return tl::unexpected(mount.error());
  impl->mount = *std::move(mount);
  return std::unique_ptr<SimHost>(new SimHost(std::move(impl)));
}

const std::string& SimHost::root() const {
  return impl_->mount->mount_point();
}

std::string SimHost::nvml() const {
  const Host::Session session(*impl_->host);
  return impl_->host->tree().exists(kNvml) ? root() + "/" + kNvml : std::string();
}

tl::expected<void, std::string> SimHost::command(std::string_view line) {
  const Host::Session session(*impl_->host);
  return impl_->host->command(line);
}

std::vector<std::string> SimHost::unmodelled() const {
  const Host::Session session(*impl_->host);
  return impl_->host->unmodelled();
}

std::string SimHost::snapshot() const {
  const Host::Session session(*impl_->host);
  return impl_->host->snapshot();
}

std::vector<std::string> SimHost::operations(std::string_view program) const {
  const Host::Session session(*impl_->host);
  return impl_->host->operations(program);
}

}  // namespace slicebroker::simhost
