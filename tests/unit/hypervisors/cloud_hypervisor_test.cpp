// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/cloud_hypervisor/cloud_hypervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "hypervisors/cloud_hypervisor/api_client.h"
#include "hypervisors/cloud_hypervisor/arguments.h"
#include "tests/unit/hypervisors/ch_api_server.h"

namespace slicebroker::hypervisors {
namespace {

using cloud_hypervisor::ApiClient;
using cloud_hypervisor::CloudHypervisor;
using test::ChApiServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

Attachment whole_gpu(const std::string& id = "gpu0") {
  Attachment attachment;
  attachment.id = id;
  attachment.surface = Surface::kGpu;
  attachment.function = PciAddress::parse("41:00.0");
  attachment.companions = {*PciAddress::parse("41:00.1")};
  return attachment;
}

std::string http_answer(const std::string& status, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class CloudHypervisorTest : public ::testing::Test {
 protected:
  CloudHypervisorTest() {
    std::string name = (std::filesystem::temp_directory_path() / "slicebroker-ch-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    socket_ = directory_ + "/api.sock";
    server_.emplace(ChApiServer::Options{.socket = socket_, .log = {}, .host_root = {}});
  }
  ~CloudHypervisorTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  CloudHypervisor adapter() const { return {socket_, {.query = 20s, .attach = 20s, .look = 2ms, .ask_again = 30ms}}; }

  // For servers that do not answer.
  CloudHypervisor impatient() const {
    return {socket_, {.query = 200ms, .attach = 200ms, .look = 2ms, .ask_again = 30ms}};
  }

  std::vector<std::string> calls() const {
    std::vector<std::string> all;
    for (const auto& request : server_->requests()) all.push_back(request.endpoint);
    return all;
  }

  std::ptrdiff_t removals() const {
    const auto all = calls();
    return std::count(all.begin(), all.end(), "vm.remove-device");
  }

  std::string directory_;
  std::string socket_;
  std::optional<ChApiServer> server_;
};

TEST_F(CloudHypervisorTest, VersionComesFromThePing) {
  struct Case {
    const char* name;
    nlohmann::json ping;
    const char* version;  // empty: refused
  };
  const Case cases[] = {
      {"build descends from a release", {{"build_version", "v53.0-246-gae44c2971"}, {"version", "54.0.0"}}, "53.0.0"},
      {"build marked dirty", {{"build_version", "v53.0-dirty"}, {"version", "53.0.0"}}, "53.0.0"},
      {"no build version", {{"version", "v30.0"}}, "30.0.0"},
      {"build version is a distribution's", {{"build_version", "debian"}, {"version", "48.1.0"}}, "48.1.0"},
      {"neither is a version", {{"build_version", "x"}, {"version", 7}}, ""},
      {"no object", nlohmann::json::array(), ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    server_->set_ping(c.ping);
    const auto version = adapter().version();
    if (*c.version == '\0') {
      ASSERT_FALSE(version);
      EXPECT_EQ(version.error().reason, "CH_BAD_ANSWER");
    } else {
      ASSERT_TRUE(version);
      EXPECT_EQ(version->to_string(), c.version);
    }
  }
}

TEST_F(CloudHypervisorTest, FindVmTellsWhetherItRuns) {
  server_->create_vm();
  auto vm = adapter().find_vm();
  ASSERT_TRUE(vm);
  EXPECT_FALSE(vm->running);
  EXPECT_EQ(vm->vmm_pid, ::getpid());
  EXPECT_EQ(vm->name, socket_);
  server_->boot_vm();
  vm = adapter().find_vm();
  ASSERT_TRUE(vm);
  EXPECT_TRUE(vm->running);
}

TEST_F(CloudHypervisorTest, VmmWithoutVm) {
  for (const bool plain : {false, true}) {
    SCOPED_TRACE(plain ? "through v46: 500 and plain text" : "v53: 404 and a chain");
    if (plain) server_->plain_text_errors();
    const auto vm = adapter().find_vm();
    ASSERT_FALSE(vm);
    EXPECT_EQ(vm.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(vm.error().reason, "CH_VM_NOT_CREATED");
    EXPECT_EQ(adapter().attach(whole_gpu()).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(adapter().has(whole_gpu()), false);
    EXPECT_TRUE(adapter().detach(whole_gpu(), 1s));
  }
}

TEST_F(CloudHypervisorTest, NobodyListens) {
  server_.reset();
  const auto vm = adapter().find_vm();
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(vm.error().os_errno, ENOENT);
  EXPECT_EQ(adapter().version().error().code, ErrorCode::kNotFound);
  EXPECT_EQ(adapter().attach(whole_gpu()).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(adapter().has(whole_gpu()), false);
  EXPECT_TRUE(adapter().detach(whole_gpu(), 1s));
}

TEST_F(CloudHypervisorTest, AttachHotTellsTheGuestAddress) {
  server_->boot_vm();
  const auto device = adapter().attach(whole_gpu());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->guest_address, "0000:00:05.0");
  EXPECT_EQ(adapter().has(whole_gpu()), true);
  EXPECT_EQ(server_->requests().front().body, R"({"path":"/sys/bus/pci/devices/0000:41:00.0/","id":"gpu0"})");
}

TEST_F(CloudHypervisorTest, AttachColdHasNoGuestAddressYet) {
  server_->create_vm();
  const auto device = adapter().attach(whole_gpu());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->guest_address, "");
  EXPECT_EQ(adapter().has(whole_gpu()), true);
  EXPECT_TRUE(adapter().detach(whole_gpu(), 0s));
  EXPECT_EQ(adapter().has(whole_gpu()), false);
}

TEST_F(CloudHypervisorTest, SecondAttachOfTheSameIdIsHeld) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  const auto again = adapter().attach(whole_gpu());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kHeld);
  EXPECT_EQ(again.error().causes.back().fact, "Duplicated device path: /sys/bus/pci/devices/0000:41:00.0/");
}

TEST_F(CloudHypervisorTest, AttachFailuresSayWhatTheVmmSaid) {
  struct Case {
    const char* name;
    std::string answer;
    bool hang;
    ErrorCode code;
    const char* reason;
    std::vector<std::string> causes;
  };
  const Case cases[] = {
      {"chain of strings",
       http_answer("500 ", R"(["Error from API","Cannot create a VFIO device","group is not viable"])"),
       false,
       ErrorCode::kFailed,
       "CH_HTTP_500",
       {"Error from API", "Cannot create a VFIO device", "group is not viable"}},
      {"plain text",
       http_answer("500 ", "The device could not be added: VfioCreate(InvalidPath)\n"),
       false,
       ErrorCode::kFailed,
       "CH_HTTP_500",
       {"The device could not be added: VfioCreate(InvalidPath)"}},
      {"no body", http_answer("500 ", ""), false, ErrorCode::kFailed, "CH_HTTP_500", {}},
      {"array without strings", http_answer("400 ", "[1,2]"), false, ErrorCode::kFailed, "CH_HTTP_400", {"[1,2]"}},
      {"the words of Rust's Debug",
       http_answer("500 ", "VmAddDevice(VmNotCreated)"),
       false,
       ErrorCode::kNotFound,
       "CH_VM_NOT_CREATED",
       {"VmAddDevice(VmNotCreated)"}},
      {"hang before any byte", "", true, ErrorCode::kNoAnswer, "CH_NO_ANSWER", {}},
      {"hang inside the body",
       "HTTP/1.1 200 \r\nContent-Length: 50\r\n\r\n{",
       true,
       ErrorCode::kNoAnswer,
       "CH_NO_ANSWER",
       {}},
      {"garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n", false, ErrorCode::kFailed, "CH_BAD_ANSWER", {}},
      {"closed before any byte", "", false, ErrorCode::kFailed, "CH_CLOSED", {}},
      {"closed inside the body",
       "HTTP/1.1 200 \r\nContent-Length: 50\r\n\r\n{",
       false,
       ErrorCode::kFailed,
       "CH_CLOSED",
       {}},
      {"body over 4 MiB",
       http_answer("200 ", std::string((4u << 20) + 1, ' ')),
       false,
       ErrorCode::kFailed,
       "CH_BAD_ANSWER",
       {}},
      {"length over 4 MiB",
       "HTTP/1.1 200 \r\nContent-Length: 99999999999\r\n\r\n",
       true,
       ErrorCode::kFailed,
       "CH_BAD_ANSWER",
       {}},
      {"endless header",
       "HTTP/1.1 200 \r\nX: " + std::string(1u << 20, 'x'),
       false,
       ErrorCode::kFailed,
       "CH_BAD_ANSWER",
       {}},
  };
  server_->boot_vm();
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    server_->override_answer("vm.add-device", {.bytes = c.answer, .hang = c.hang});
    const auto device = (c.hang ? impatient() : adapter()).attach(whole_gpu());
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code, c.code);
    EXPECT_EQ(device.error().reason, c.reason);
    std::vector<std::string> facts;
    for (const auto& cause : device.error().causes) facts.push_back(cause.fact);
    EXPECT_EQ(facts, c.causes);
  }
}

TEST_F(CloudHypervisorTest, SuccessWithoutABodyThatMakesSense) {
  server_->boot_vm();
  for (const auto* body : {"", "[]", R"({"bdf":7})", "{"}) {
    SCOPED_TRACE(body);
    server_->override_answer("vm.add-device", {.bytes = http_answer("200 ", body)});
    const auto device = adapter().attach(whole_gpu());
    ASSERT_TRUE(device);
    EXPECT_EQ(device->guest_address, "");
  }
}

TEST_F(CloudHypervisorTest, BodyOfExactlyTheLimitIsRead) {
  server_->override_answer("vm.info", {.bytes = http_answer("200 ", "{}" + std::string((4u << 20) - 2, ' '))});
  EXPECT_TRUE(ApiClient(socket_).get("vm.info", 5s));
}

TEST_F(CloudHypervisorTest, DetachWaitsUntilTheGuestHasEjected) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->eject_after(5);
  ASSERT_TRUE(adapter().detach(whole_gpu(), 10s));
  EXPECT_EQ(adapter().has(whole_gpu()), false);
  const auto looks = calls();
  EXPECT_GE(std::count(looks.begin(), looks.end(), "vm.info"), 6);
}

TEST_F(CloudHypervisorTest, DetachOfADeviceThatIsGone) {
  server_->boot_vm();
  EXPECT_TRUE(adapter().detach(whole_gpu(), 0s));
  EXPECT_EQ(removals(), 0);
}

TEST_F(CloudHypervisorTest, DetachFromAGuestThatNeverEjects) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->eject_after(ChApiServer::kNever);
  const auto gone = adapter().detach(whole_gpu(), 100ms);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kNoAnswer);
  EXPECT_EQ(gone.error().reason, "GUEST_KEEPS_DEVICE");
  EXPECT_GE(removals(), 2) << "a guest that was still booting needs a second request";
  EXPECT_EQ(adapter().has(whole_gpu()), true) << "the VMM still has it open";
}

TEST_F(CloudHypervisorTest, DetachAsksOnceHoweverShortTheDeadline) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->eject_after(1);
  EXPECT_FALSE(adapter().detach(whole_gpu(), 0ms));
  EXPECT_EQ(removals(), 1);
}

// v53.0 calls the id unknown while the guest has yet to eject it.
TEST_F(CloudHypervisorTest, DetachContinuesWhatAnEarlierOneBegan) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->eject_after(8);
  ASSERT_FALSE(adapter().detach(whole_gpu(), 0ms));
  server_->override_answer("vm.remove-device", {.bytes = http_answer("500 ", R"(["Failed to find device"])")});
  EXPECT_TRUE(adapter().detach(whole_gpu(), 10s));
}

TEST_F(CloudHypervisorTest, DetachRefusedByTheVmm) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->override_answer("vm.remove-device", {.bytes = http_answer("500 ", R"(["Invalid IOMMU remove"])")});
  const auto gone = adapter().detach(whole_gpu(), 10s);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kFailed);
  EXPECT_EQ(gone.error().causes.at(0).fact, "Invalid IOMMU remove");
}

TEST_F(CloudHypervisorTest, DetachBearsAVmmThatIsBusyForAWhile) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->override_answer("vm.info", {.bytes = "", .hang = true, .times = 1});
  EXPECT_TRUE(impatient().detach(whole_gpu(), 10s));
}

TEST_F(CloudHypervisorTest, DetachFromAVmmThatHangs) {
  server_->override_answer("vm.info", {.bytes = "", .hang = true});
  const auto gone = impatient().detach(whole_gpu(), 50ms);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kNoAnswer);
  EXPECT_EQ(gone.error().causes.at(0).reason, "CH_NO_ANSWER");
  EXPECT_EQ(impatient().has(whole_gpu()).error().code, ErrorCode::kNoAnswer);
  EXPECT_EQ(impatient().find_vm().error().code, ErrorCode::kNoAnswer);
}

TEST_F(CloudHypervisorTest, DetachFromAVmmThatAnswersNonsense) {
  for (const auto* body : {"", "[]", "nonsense"}) {
    SCOPED_TRACE(body);
    server_->override_answer("vm.info", {.bytes = http_answer("200 ", body)});
    EXPECT_EQ(adapter().detach(whole_gpu(), 10s).error().reason, "CH_BAD_ANSWER");
    EXPECT_EQ(adapter().has(whole_gpu()).error().reason, "CH_BAD_ANSWER") << "not knowing is not absence";
  }
}

TEST_F(CloudHypervisorTest, DetachWhileTheVmmEnds) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->eject_after(ChApiServer::kNever);
  std::thread killer([this] {
    while (removals() == 0) std::this_thread::sleep_for(1ms);
    server_.reset();
  });
  EXPECT_TRUE(adapter().detach(whole_gpu(), 10s));
  killer.join();
}

TEST_F(CloudHypervisorTest, VmmThatDiesWithinAnAnswerIsLookedAtAgain) {
  server_->boot_vm();
  ASSERT_TRUE(adapter().attach(whole_gpu()));
  server_->override_answer("vm.info", {.bytes = "", .hang = false, .times = 2});
  EXPECT_TRUE(adapter().detach(whole_gpu(), 10s));
}

TEST_F(CloudHypervisorTest, SocketLeftByAKilledVmm) {
  server_.reset();
  {
    // Bound and closed again without unlink, as SIGKILL leaves it.
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(adapter().find_vm().error().os_errno, ECONNREFUSED);
  EXPECT_EQ(adapter().find_vm().error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(adapter().detach(whole_gpu(), 1s));
}

TEST(CloudHypervisorSocket, PathThatIsTooLong) {
  const auto answer = ApiClient("/" + std::string(200, 'x')).get("vm.info", 1s);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kUsage);
}

TEST(CloudHypervisorArguments, NameTheSysfsPathAndTheId) {
  EXPECT_THAT(cloud_hypervisor::arguments(whole_gpu()),
              ElementsAre("--device", "path=/sys/bus/pci/devices/0000:41:00.0/,id=gpu0"));
  Attachment mdev;
  mdev.id = "vgpu0";
  mdev.surface = Surface::kMdev;
  mdev.mdev = Uuid::parse("C2177883-F1BB-47F0-914D-32A22E3A8804");
  EXPECT_EQ(cloud_hypervisor::add_device_body(mdev),
            R"({"path":"/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804/","id":"vgpu0"})");
}

}  // namespace
}  // namespace slicebroker::hypervisors
