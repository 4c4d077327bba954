// SPDX-License-Identifier: Apache-2.0
// A library that does not return keeps one thread, and nobody else.
#include "hypervisors/bounded.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

namespace slicebroker::hypervisors {
namespace {

using namespace std::chrono_literals;

// Answers at once, or not until it is let go.
class SlowHypervisor final : public Hypervisor {
 public:
  HypervisorKind kind() const override { return HypervisorKind::kLibvirt; }
  Result<Version> version() override { return answer(Version{11, 3, 0}); }
  Result<VirtualMachine> find_vm() override { return answer(VirtualMachine{"web1", {}, true, {}}); }
  Result<GuestDevice> attach(const Attachment&) override { return answer(GuestDevice{"0000:05:00.0"}); }
  Result<void> detach(const Attachment&, std::chrono::milliseconds) override {
    wait();
    return {};
  }
  Result<bool> has(const Attachment&) override { return answer(true); }

  void hang() {
    const std::lock_guard lock(mutex_);
    hangs_ = true;
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    hangs_ = false;
    changed_.notify_all();
  }

 private:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !hangs_; });
  }
  template <class T>
  Result<T> answer(T value) {
    wait();
    return value;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool hangs_ = false;
};

struct Case {
  const char* name;
  std::function<std::optional<Error>(Bounded&)> call;
};

template <class T>
std::optional<Error> error_of(Result<T> result) {
  if (result) return std::nullopt;
  return std::move(result).error();
}

const std::vector<Case>& calls() {
  static const std::vector<Case> all = {
      {"version", [](Bounded& vmm) { return error_of(vmm.version()); }},
      {"find_vm", [](Bounded& vmm) { return error_of(vmm.find_vm()); }},
      {"attach", [](Bounded& vmm) { return error_of(vmm.attach({})); }},
      {"detach", [](Bounded& vmm) { return error_of(vmm.detach({}, 10ms)); }},
      {"has", [](Bounded& vmm) { return error_of(vmm.has({})); }},
  };
  return all;
}

TEST(BoundedTest, QemuThatNeverAnswersKeepsNoCaller) {
  for (const auto& c : calls()) {
    SCOPED_TRACE(c.name);
    const auto slow = std::make_shared<SlowHypervisor>();
    Bounded vmm(slow, "libvirt:web1", {.query = 50ms, .attach = 50ms});
    slow->hang();
    const auto error = c.call(vmm);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, ErrorCode::kNoAnswer);
    EXPECT_EQ(error->reason, "LIBVIRT_NO_ANSWER");
    EXPECT_EQ(error->subject, "libvirt:web1");
    slow->let_go();
    EXPECT_FALSE(c.call(vmm)) << "a later call is one of its own";
  }
}

TEST(BoundedTest, AnswersPass) {
  Bounded vmm(std::make_shared<SlowHypervisor>(), "libvirt:web1", {});
  EXPECT_EQ(vmm.version().value(), (Version{11, 3, 0}));
  EXPECT_EQ(vmm.find_vm().value().name, "web1");
  EXPECT_EQ(vmm.attach({}).value().guest_address, "0000:05:00.0");
  EXPECT_TRUE(vmm.has({}).value());
}

}  // namespace
}  // namespace slicebroker::hypervisors
