// SPDX-License-Identifier: Apache-2.0
// The libvirt adapter on fake_libvirt.so, and a little of it on the real library's test driver.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "hypervisors/libvirt/libvirt_hypervisor.h"
#include "tests/unit/hypervisors/fake_libvirt.h"

namespace slicebroker::hypervisors {
namespace {

using libvirt::LibvirtHypervisor;
using test::FakeLibvirt;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr auto kFake = BUILD_DIR "/tests/fake_libvirt.so";

// Numbers of libvirt/virterror.h, whose text a user may search for.
constexpr int kInternalError = 1;
constexpr int kOperationInvalid = 55;
constexpr int kOperationTimeout = 68;
constexpr int kAuthFailed = 45;
constexpr int kSystemError = 38;

FakeLibvirt& fake() {
  static auto* one = [] {
    void* handle = ::dlopen(kFake, RTLD_NOW);
    if (handle == nullptr) throw std::runtime_error(::dlerror());
    return reinterpret_cast<FakeLibvirt* (*)()>(::dlsym(handle, "fake_libvirt"))();
  }();
  return *one;
}

Attachment gpu_with_companion() {
  Attachment attachment;
  attachment.id = "gpu0";
  attachment.surface = Surface::kGpu;
  attachment.function = PciAddress::parse("41:00.0");
  attachment.companions = {*PciAddress::parse("41:00.1")};
  return attachment;
}

Attachment mdev() {
  Attachment attachment;
  attachment.id = "vgpu0";
  attachment.surface = Surface::kMdev;
  attachment.mdev = Uuid::parse("c2177883-f1bb-47f0-914d-32a22e3a8804");
  return attachment;
}

class LibvirtTest : public ::testing::Test {
 protected:
  LibvirtTest() {
    const std::lock_guard lock(fake().mutex);
    fake().reset();
  }
  ~LibvirtTest() override {
    const std::lock_guard lock(fake().mutex);
    EXPECT_EQ(fake().connections, 0) << "left open or not freed by the event loop";
    EXPECT_EQ(fake().domains, 0);
    EXPECT_LE(fake().most_running_loops, 1);
  }

  LibvirtHypervisor adapter(const std::string& target = "web1") const {
    return {target, "qemu:///system", kFake, {.look = 5ms, .ask_again = 30ms, .undo = 50ms}};
  }

  std::vector<std::string> calls() const {
    const std::lock_guard lock(fake().mutex);
    return fake().calls;
  }
};

TEST_F(LibvirtTest, VersionIsTheDaemons) {
  EXPECT_EQ(adapter().version()->to_string(), "11.3.2");
}

TEST_F(LibvirtTest, FindVmByNameAndByUuid) {
  for (const auto* target : {"web1", "c7a5fdbd-cdaf-9455-926a-d65c16db1809", "C7A5FDBDCDAF9455926AD65C16DB1809"}) {
    SCOPED_TRACE(target);
    const auto vm = adapter(target).find_vm();
    ASSERT_TRUE(vm);
    EXPECT_EQ(vm->name, "web1");
    EXPECT_EQ(vm->uuid, Uuid::parse("c7a5fdbd-cdaf-9455-926a-d65c16db1809"));
    EXPECT_TRUE(vm->running);
    EXPECT_EQ(vm->vmm_pid, std::nullopt);
  }
}

TEST_F(LibvirtTest, NoSuchDomain) {
  for (const auto* target : {"web2", "00000000-0000-0000-0000-000000000000"}) {
    SCOPED_TRACE(target);
    const auto vm = adapter(target).find_vm();
    ASSERT_FALSE(vm);
    EXPECT_EQ(vm.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(vm.error().reason, "LIBVIRT_42");
    EXPECT_THAT(vm.error().fact, HasSubstr(target));
    EXPECT_EQ(adapter(target).attach(mdev()).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(adapter(target).has(mdev()), false);
    EXPECT_TRUE(adapter(target).detach(mdev(), 0ms));
  }
}

TEST_F(LibvirtTest, LibraryThatIsNotInstalled) {
  const auto version = LibvirtHypervisor("web1", "qemu:///system", "libvirt-that-nobody-has.so.0").version();
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(version.error().reason, "LIBVIRT_NOT_INSTALLED");
  EXPECT_THAT(version.error().hint, HasSubstr("libvirt0"));
}

TEST_F(LibvirtTest, LibraryThatIsSomethingElse) {
  const auto version = LibvirtHypervisor("web1", "qemu:///system", "libm.so.6").version();
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().reason, "LIBVIRT_NOT_INSTALLED");
}

TEST_F(LibvirtTest, DaemonThatCannotBeReached) {
  struct Case {
    const char* name;
    FakeLibvirt::Failure failure;
    ErrorCode code;
    const char* reason;
  };
  const Case cases[] = {
      {"no socket",
       {kSystemError, "Failed to connect socket: No such file or directory"},
       ErrorCode::kNotFound,
       "LIBVIRT_38"},
      {"not let in", {kAuthFailed, "authentication failed"}, ErrorCode::kRefused, "LIBVIRT_45"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fake().connect = c.failure;
    for (const auto& error :
         {adapter().version().error(), adapter().find_vm().error(), adapter().attach(mdev()).error(),
          adapter().has(mdev()).error(), adapter().detach(mdev(), 1s).error()}) {
      EXPECT_EQ(error.code, c.code) << "not knowing is neither absence nor success";
      EXPECT_EQ(error.reason, c.reason);
      EXPECT_EQ(error.fact, c.failure.message);
    }
  }
}

TEST_F(LibvirtTest, AttachGivesCompanionsFirstAndReadsTheAddressBack) {
  const auto device = adapter().attach(gpu_with_companion());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->guest_address, "0000:05:00.0");
  EXPECT_THAT(calls(), ElementsAre("attach ua-gpu0-1", "attach ua-gpu0"));
  EXPECT_EQ(adapter().has(gpu_with_companion()), true);
  EXPECT_EQ(adapter().has(mdev()), false);
}

TEST_F(LibvirtTest, AttachToADomainThatDoesNotRun) {
  fake().running = false;
  const auto device = adapter().attach(mdev());
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kRefused);
  EXPECT_EQ(device.error().reason, "VM_NOT_RUNNING");
  EXPECT_THAT(device.error().hint, HasSubstr("xml --domain"));
  EXPECT_EQ(adapter().find_vm()->running, false);
  EXPECT_EQ(adapter().has(mdev()), false);
  EXPECT_TRUE(adapter().detach(mdev(), 0ms));
  EXPECT_TRUE(calls().empty());
}

// formatdomain.html knows hostdevs of libvirt's ch driver since 10.10; it drops mediated devices without a word.
TEST_F(LibvirtTest, AttachOfAnMdevToLibvirtsCloudHypervisorDriver) {
  fake().driver = "CH";
  const auto device = adapter().attach(mdev());
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kRefused);
  EXPECT_EQ(device.error().reason, "COMPAT_LIBVIRT_CH_DROPS_MDEV");
  EXPECT_TRUE(adapter().attach(gpu_with_companion()));
}

TEST_F(LibvirtTest, FailedAttachTakesTheCompanionsBack) {
  struct Case {
    const char* name;
    FakeLibvirt::Failure failure;
    ErrorCode code;
  };
  const Case cases[] = {
      {"held by another domain",
       {kOperationInvalid, "PCI device 0000:41:00.0 is in use by driver QEMU, domain db2"},
       ErrorCode::kHeld},
      {"QEMU says no", {kInternalError, "vfio 0000:41:00.0: group 13 is not viable"}, ErrorCode::kFailed},
      {"QEMU says nothing", {kOperationTimeout, "cannot acquire state change lock"}, ErrorCode::kNoAnswer},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fake().attach["ua-gpu0"] = c.failure;
    fake().calls.clear();
    const auto device = adapter().attach(gpu_with_companion());
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code, c.code);
    EXPECT_EQ(device.error().fact, c.failure.message);
    EXPECT_TRUE(device.error().causes.empty());
    EXPECT_TRUE(fake().devices.empty());
    EXPECT_THAT(calls(), ElementsAre("attach ua-gpu0-1", "attach ua-gpu0", "detach ua-gpu0-1"));
  }
}

TEST_F(LibvirtTest, FailedAttachThatCannotBeUndoneSaysSo) {
  fake().attach["ua-gpu0"] = {kInternalError, "no"};
  fake().detach = {kInternalError, "not that either"};
  const auto device = adapter().attach(gpu_with_companion());
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().fact, "no");
  ASSERT_EQ(device.error().causes.size(), 1u);
  EXPECT_EQ(device.error().causes[0].fact, "not that either");
}

TEST_F(LibvirtTest, SuccessThatIsNone) {
  fake().forgets_attached = true;
  EXPECT_EQ(adapter().attach(mdev()).error().reason, "DEVICE_NOT_THERE");
}

TEST_F(LibvirtTest, DetachEndsWithTheGuestsConsent) {
  struct Case {
    const char* name;
    FakeLibvirt::Guest guest;
  };
  const Case cases[] = {
      {"with an event", FakeLibvirt::Guest::kReleases},
      {"without an event", FakeLibvirt::Guest::kReleasesQuietly},
      {"the domain ends first", FakeLibvirt::Guest::kEndsFirst},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fake().reset();
    ASSERT_TRUE(adapter().attach(gpu_with_companion()));
    fake().guest = c.guest;
    EXPECT_TRUE(adapter().detach(gpu_with_companion(), 10s));
    EXPECT_EQ(adapter().has(gpu_with_companion()), false);
  }
}

TEST_F(LibvirtTest, DetachFromAGuestThatNeverReleases) {
  ASSERT_TRUE(adapter().attach(gpu_with_companion()));
  fake().guest = FakeLibvirt::Guest::kNever;
  const auto gone = adapter().detach(gpu_with_companion(), 100ms);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kNoAnswer);
  EXPECT_EQ(gone.error().reason, "GUEST_KEEPS_DEVICE");
  const auto all = calls();
  EXPECT_GE(std::count(all.begin(), all.end(), "detach ua-gpu0"), 2)
      << "a guest that was booting needs a second request";
  EXPECT_EQ(std::count(all.begin(), all.end(), "detach ua-gpu0-1"), 0) << "its companion stays with the domain";
  EXPECT_EQ(adapter().has(gpu_with_companion()), true);
}

TEST_F(LibvirtTest, DetachAsksOnceHoweverShortTheDeadline) {
  ASSERT_TRUE(adapter().attach(mdev()));
  fake().guest = FakeLibvirt::Guest::kNever;
  EXPECT_FALSE(adapter().detach(mdev(), 0ms));
  EXPECT_THAT(calls(), ElementsAre("attach ua-vgpu0", "detach ua-vgpu0"));
}

TEST_F(LibvirtTest, DetachRefusedByTheGuest) {
  ASSERT_TRUE(adapter().attach(mdev()));
  fake().guest = FakeLibvirt::Guest::kRefuses;
  const auto gone = adapter().detach(mdev(), 10s);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kFailed);
  EXPECT_EQ(gone.error().reason, "GUEST_REFUSED_REMOVAL");
}

TEST_F(LibvirtTest, DetachRefusedByLibvirt) {
  ASSERT_TRUE(adapter().attach(mdev()));
  fake().detach = {kOperationInvalid, "cannot unplug"};
  const auto gone = adapter().detach(mdev(), 10s);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kFailed);
  EXPECT_EQ(gone.error().fact, "cannot unplug");
}

// After a crash of ours QEMU may still be working on the request of before.
TEST_F(LibvirtTest, DetachContinuesWhatAnEarlierOneBegan) {
  ASSERT_TRUE(adapter().attach(mdev()));
  fake().detach = {kInternalError, "Device ua-vgpu0 is already in the process of unplug", 1};
  EXPECT_TRUE(adapter().detach(mdev(), 10s));
}

TEST_F(LibvirtTest, SessionsAtOnceShareOneEventLoop) {
  ASSERT_TRUE(adapter().attach(mdev()));
  fake().guest = FakeLibvirt::Guest::kNever;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int round = 0; round < 20; ++round) {
        EXPECT_TRUE(adapter().find_vm());
        EXPECT_EQ(adapter().has(mdev()), true);
        if (i == 0) {
          EXPECT_FALSE(adapter().detach(mdev(), 2ms));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

// libvirt's own test driver: "test:///default" has one running domain, "test".
TEST(RealLibvirt, TestDriver) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not see the futexes by which glib's loop synchronises";
  LibvirtHypervisor adapter("test", "test:///default");
  const auto version = adapter.version();
  if (!version && version.error().reason == "LIBVIRT_NOT_INSTALLED") GTEST_SKIP() << "libvirt.so.0 is not installed";
  ASSERT_TRUE(version) << version.error().fact;
  EXPECT_GE(version->major, 1u);
  const auto vm = adapter.find_vm();
  ASSERT_TRUE(vm) << vm.error().fact;
  EXPECT_TRUE(vm->running);
  EXPECT_TRUE(vm->uuid);
  EXPECT_EQ(LibvirtHypervisor(vm->uuid->to_string(), "test:///default").find_vm()->name, "test");
  EXPECT_EQ(adapter.has(mdev()), false);
  EXPECT_TRUE(adapter.detach(mdev(), 0ms));
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(LibvirtHypervisor("nobody", "test:///default").find_vm().error().reason, "LIBVIRT_42");
  EXPECT_EQ(LibvirtHypervisor("test", "nonsense:///").version().error().code, ErrorCode::kNotFound);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "only entry points print";
}

}  // namespace
}  // namespace slicebroker::hypervisors
