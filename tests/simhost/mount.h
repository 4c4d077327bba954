// SPDX-License-Identifier: Apache-2.0
// A host, mounted.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "tests/simhost/file_system.h"
#include "tests/simhost/host.h"
#include "tests/simhost/workers.h"

struct fuse_lowlevel_ops;
struct fuse_session;

namespace slicebroker::simhost {

const fuse_lowlevel_ops& requests();  // their user data is a FileSystem

class Mount final : public Host::Front {
 public:
  static tl::expected<std::unique_ptr<Mount>, std::string> start(Host& host, const std::string& mount_point);
  ~Mount() override;

  const std::string& mount_point() const { return mount_point_; }

  void invalidate(ino_t parent, const std::string& name) override;
  bool remembers(ino_t parent) const override { return files_.remembers(parent); }
  void waits(Wait wait) override;

 private:
  Mount(Host& host, std::string mount_point);
  bool mount();

  Host& host_;
  std::string mount_point_;
  FileSystem files_;
  fuse_session* session_ = nullptr;
  std::unique_ptr<Workers> workers_;
};

}  // namespace slicebroker::simhost
