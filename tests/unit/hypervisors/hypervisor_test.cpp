// SPDX-License-Identifier: Apache-2.0
// Names and references, and the contract that every adapter fulfils.
#include "hypervisors/hypervisor.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <stdexcept>

#include "hypervisors/cloud_hypervisor/cloud_hypervisor.h"
#include "hypervisors/libvirt/libvirt_hypervisor.h"
#include "tests/unit/hypervisors/ch_api_server.h"
#include "tests/unit/hypervisors/fake_libvirt.h"

namespace slicebroker::hypervisors {
namespace {

using namespace std::chrono_literals;

TEST(Names, ThereAndBack) {
  for (const auto surface : {Surface::kVendorVf, Surface::kMdev, Surface::kVf, Surface::kGpu}) {
    EXPECT_EQ(parse_surface(name(surface)), surface);
  }
  EXPECT_EQ(parse_surface("GPU"), std::nullopt);
  for (const auto kind : {HypervisorKind::kLibvirt, HypervisorKind::kCloudHypervisor}) {
    EXPECT_EQ(parse_kind(name(kind)), kind);
  }
  EXPECT_EQ(parse_kind("ch"), HypervisorKind::kCloudHypervisor);
  EXPECT_EQ(parse_kind("xen"), std::nullopt);
}

TEST(VersionText, Parse) {
  struct Case {
    const char* text;
    const char* version;  // empty: none
  };
  const Case cases[] = {
      {"11.3", "11.3.0"},
      {"v53.0", "53.0.0"},
      {"9.0.0", "9.0.0"},
      {"53", "53.0.0"},
      {"53.0-246-gae44c29", "53.0.0"},
      {"v53.0+dirty", "53.0.0"},
      {"10.10.0", "10.10.0"},
      {"", ""},
      {"v", ""},
      {"-1", ""},
      {"1.2.3.4", ""},
      {"1..2", ""},
      {"1.", ""},
      {"1.x", ""},
      {" 1", ""},
      {"4294967296", ""},
      {"vv1", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto version = Version::parse(c.text);
    EXPECT_EQ(version ? version->to_string() : "", c.version);
  }
  EXPECT_LT(Version::parse("9.10"), Version::parse("10.0"));
}

TEST(VmReferenceText, Parse) {
  struct Case {
    const char* text;
    const char* canonical;  // empty: refused
  };
  const Case cases[] = {
      {"web1", "libvirt:web1"},
      {"libvirt:web1", "libvirt:web1"},
      {"libvirt:a:b", "libvirt:a:b"},
      {"libvirt:c7a5fdbd-cdaf-9455-926a-d65c16db1809", "libvirt:c7a5fdbd-cdaf-9455-926a-d65c16db1809"},
      {"ch:/run/ch/web1.sock", "ch:/run/ch/web1.sock"},
      {"cloud-hypervisor:x.sock", "ch:x.sock"},
      {"", ""},
      {"libvirt:", ""},
      {"ch:", ""},
      {":web1", ""},
      {"qemu:/run/qmp.sock", ""},
      {"LIBVIRT:web1", ""},
      {"/run/ch/web1.sock", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto vm = VmReference::parse(c.text);
    if (*c.canonical == '\0') {
      ASSERT_FALSE(vm);
      EXPECT_EQ(vm.error().code, ErrorCode::kUsage);
      EXPECT_EQ(vm.error().subject, c.text);
    } else {
      ASSERT_TRUE(vm);
      EXPECT_EQ(vm->to_string(), c.canonical);
      EXPECT_EQ(VmReference::parse(vm->to_string()), *vm);
    }
  }
}

TEST(MakeHypervisor, ContactsNobody) {
  EXPECT_EQ(make_hypervisor(*VmReference::parse("ch:/nonexistent"), "")->kind(), HypervisorKind::kCloudHypervisor);
  EXPECT_EQ(make_hypervisor(*VmReference::parse("web1"), "nonsense:///")->kind(), HypervisorKind::kLibvirt);
}

// One VM of one VMM, as its operator and its guest drive it.
class World {
 public:
  enum class Guest { kReleases, kNeverReleases, kEndsTheVm };
  virtual ~World() = default;
  virtual std::unique_ptr<Hypervisor> adapter() = 0;
  virtual void set_guest(Guest guest) = 0;
  virtual void remove_vm() = 0;
  virtual void break_vmm() = 0;  // it no longer answers sensibly
};

class ChWorld : public World {
 public:
  ChWorld() {
    std::string name = (std::filesystem::temp_directory_path() / "slicebroker-world-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    server_.emplace(test::ChApiServer::Options{.socket = socket(), .log = {}, .host_root = {}});
    server_->boot_vm();
  }
  ~ChWorld() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  std::unique_ptr<Hypervisor> adapter() override {
    return std::make_unique<cloud_hypervisor::CloudHypervisor>(
        socket(),
        cloud_hypervisor::CloudHypervisor::Timing{.query = 20s, .attach = 20s, .look = 2ms, .ask_again = 50ms});
  }
  void set_guest(Guest guest) override {
    server_->eject_after(guest == Guest::kReleases ? 3 : test::ChApiServer::kNever);
    if (guest == Guest::kEndsTheVm) server_->override_answer("vm.remove-device", {.bytes = "", .shut_down = true});
  }
  void remove_vm() override { server_.reset(); }
  void break_vmm() override {
    server_->override_answer("vm.info", {.bytes = "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n?"});
    server_->override_answer("vmm.ping", {.bytes = "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n?"});
    server_->override_answer("vm.add-device", {.bytes = "?"});
  }

 private:
  std::string socket() const { return directory_ + "/api.sock"; }
  std::string directory_;
  std::optional<test::ChApiServer> server_;
};

class LibvirtWorld : public World {
 public:
  LibvirtWorld() : fake_(load()) { fake_.reset(); }
  std::unique_ptr<Hypervisor> adapter() override {
    return std::make_unique<libvirt::LibvirtHypervisor>(
        "web1", "qemu:///system", kFake,
        libvirt::LibvirtHypervisor::Timing{.look = 5ms, .ask_again = 50ms, .undo = 50ms});
  }
  void set_guest(Guest guest) override {
    const std::lock_guard lock(fake_.mutex);
    fake_.guest = guest == Guest::kReleases        ? test::FakeLibvirt::Guest::kReleases
                  : guest == Guest::kNeverReleases ? test::FakeLibvirt::Guest::kNever
                                                   : test::FakeLibvirt::Guest::kEndsFirst;
  }
  void remove_vm() override { fake_.defined = false; }
  void break_vmm() override { fake_.connect = {.code = 38, .message = "broken"}; }

 private:
  static constexpr auto kFake = BUILD_DIR "/tests/fake_libvirt.so";
  static test::FakeLibvirt& load() {
    void* handle = ::dlopen(kFake, RTLD_NOW);
    if (handle == nullptr) throw std::runtime_error(::dlerror());
    return *reinterpret_cast<test::FakeLibvirt* (*)()>(::dlsym(handle, "fake_libvirt"))();
  }
  test::FakeLibvirt& fake_;
};

struct WorldCase {
  const char* name;
  std::function<std::unique_ptr<World>()> make;
};

class Contract : public ::testing::TestWithParam<WorldCase> {
 protected:
  Contract() : world_(GetParam().make()), adapter_(world_->adapter()) {
    device_.id = "gpu0";
    device_.surface = Surface::kGpu;
    device_.function = PciAddress::parse("41:00.0");
    device_.companions = {*PciAddress::parse("41:00.1")};
  }
  std::unique_ptr<World> world_;
  std::unique_ptr<Hypervisor> adapter_;
  Attachment device_;
};

TEST_P(Contract, AttachThenDetach) {
  EXPECT_TRUE(adapter_->version());
  ASSERT_TRUE(adapter_->find_vm());
  EXPECT_TRUE(adapter_->find_vm()->running);
  EXPECT_EQ(adapter_->has(device_), false);
  const auto device = adapter_->attach(device_);
  ASSERT_TRUE(device);
  EXPECT_TRUE(PciAddress::parse(device->guest_address)) << device->guest_address;
  EXPECT_EQ(adapter_->has(device_), true);
  world_->set_guest(World::Guest::kReleases);
  EXPECT_TRUE(adapter_->detach(device_, 10s));
  EXPECT_EQ(adapter_->has(device_), false);
  EXPECT_TRUE(adapter_->detach(device_, 10s)) << "a device that is gone";
  EXPECT_TRUE(adapter_->attach(device_)) << "the id is free again";
}

TEST_P(Contract, GuestThatKeepsTheDevice) {
  ASSERT_TRUE(adapter_->attach(device_));
  world_->set_guest(World::Guest::kNeverReleases);
  const auto start = std::chrono::steady_clock::now();
  const auto gone = adapter_->detach(device_, 80ms);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 80ms);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kNoAnswer);
  EXPECT_EQ(gone.error().reason, "GUEST_KEEPS_DEVICE");
  EXPECT_EQ(adapter_->has(device_), true) << "nothing says that it is free";
}

TEST_P(Contract, VmThatEndsInsteadOfReleasing) {
  ASSERT_TRUE(adapter_->attach(device_));
  world_->set_guest(World::Guest::kEndsTheVm);
  EXPECT_TRUE(adapter_->detach(device_, 10s));
  EXPECT_EQ(adapter_->has(device_), false);
}

TEST_P(Contract, VmThatIsGone) {
  world_->remove_vm();
  EXPECT_EQ(adapter_->find_vm().error().code, ErrorCode::kNotFound);
  EXPECT_EQ(adapter_->attach(device_).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(adapter_->has(device_), false);
  EXPECT_TRUE(adapter_->detach(device_, 10s));
}

TEST_P(Contract, NotKnowingIsNeitherAbsenceNorSuccess) {
  ASSERT_TRUE(adapter_->attach(device_));
  world_->break_vmm();
  EXPECT_FALSE(adapter_->version());
  EXPECT_FALSE(adapter_->find_vm());
  EXPECT_FALSE(adapter_->attach(device_));
  EXPECT_FALSE(adapter_->has(device_));
  EXPECT_FALSE(adapter_->detach(device_, 50ms));
}

TEST_P(Contract, ErrorsNameTheirSubject) {
  world_->remove_vm();
  const auto vm = adapter_->find_vm();
  EXPECT_FALSE(vm.error().tried.empty());
  EXPECT_FALSE(vm.error().subject.empty());
  EXPECT_FALSE(vm.error().fact.empty());
}

INSTANTIATE_TEST_SUITE_P(Adapters, Contract,
                         ::testing::Values(WorldCase{"cloud_hypervisor", [] { return std::make_unique<ChWorld>(); }},
                                           WorldCase{"libvirt", [] { return std::make_unique<LibvirtWorld>(); }}),
                         [](const auto& world) { return std::string(world.param.name); });

}  // namespace
}  // namespace slicebroker::hypervisors
