// SPDX-License-Identifier: Apache-2.0
// The host behind a mount: the tree, the model, the processes and the faults under one lock, as a kernel with a big
// lock has them. What waits in it leaves the lock to the others.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "tests/simhost/faults.h"
#include "tests/simhost/kernel/kernel.h"
#include "tests/simhost/process_table.h"
#include "tests/simhost/tree.h"
#include "tests/simhost/vmm/libvirtd.h"

namespace slicebroker::simhost {

class Host {
 public:
  // Whoever shows the host to others. Called without the host's lock, but for waits().
  class Front {
   public:
    virtual ~Front() = default;
    virtual void invalidate(ino_t parent, const std::string& name) = 0;
    // Whether the kernel may remember this directory's entries: others need no invalidation. Called locked.
    virtual bool remembers(ino_t parent) const = 0;
    // This thread begins or ends to wait for others.
    enum class Wait { kBegins, kEnds };
    virtual void waits(Wait wait) = 0;
  };

  static tl::expected<std::unique_ptr<Host>, std::string> create(std::string_view description);

  // The lock, for as long as this lives. At its end the front learns of the entries that changed: before whoever caused
  // the changes gets an answer, and after the lock is free, since a lookup that is under way needs it to get out of the
  // way of the news.
  class Session {
   public:
    explicit Session(Host& host) : host_(host) { host_.lock(); }
    ~Session() { host_.unlock(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    Host& host_;
  };

  void set_front(Front* front, const std::string& mount_point);

  // Everything below is for whoever has a session.
  Tree& tree() { return tree_; }
  ProcessTable& processes() { return processes_; }
  std::unique_ptr<Caller> make_caller(pid_t pid);

  // One numbered operation, with the faults that lie on it: 0 or an errno.
  int perform(OperationKind kind, const std::string& path, Caller& caller, const std::function<int()>& effect);
  tl::expected<void, std::string> command(std::string_view line);
  void add_unmodelled(std::string what) { unmodelled_.push_back(std::move(what)); }
  const std::vector<std::string>& unmodelled() const { return unmodelled_; }
  std::vector<std::string> operations(std::string_view program) const { return operations_.log(program); }
  std::string snapshot() const;

  // Without a session: whatever waits gives up, and whoever comes later does not wait. Returns when nobody waits.
  void stop();

 private:
  class HostCaller;
  using Until = std::optional<std::chrono::steady_clock::time_point>;
  enum class Strike { kGoOn, kFailAfter, kKillAfter, kEnd };

  explicit Host(std::string_view description);
  void lock();
  void unlock();
  bool wait(std::uint64_t boot, const std::function<bool()>& done, const Until& until = {});
  // Tells the front, unlocked meanwhile.
  void send_changes();

  Strike strike(const Fault& fault, Caller& caller, int& result);
  tl::expected<void, std::string> boot_kernel();
  tl::expected<void, std::string> reboot();
  void clear_tree();
  void add_control_files();
  int write_control(std::string_view text);
  tl::expected<void, std::string> add_fault(std::string_view line);
  tl::expected<void, std::string> process_command(const std::vector<std::string>& line);
  void add_to_snapshot(const Tree::Node& node, const std::string& path, std::string& text) const;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  Front* front_ = nullptr;
  std::vector<std::pair<ino_t, std::string>> changes_;
  std::size_t waiting_ = 0;
  std::uint64_t boot_ = 1;
  std::uint64_t releases_ = 0;
  bool rebooting_ = false;
  bool stopping_ = false;

  std::string description_;
  Tree tree_;
  ProcessTable processes_;
  Libvirtd libvirtd_{tree_, processes_};
  Operations operations_;
  std::vector<std::string> unmodelled_;
  std::string error_;
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace slicebroker::simhost
