// SPDX-License-Identifier: Apache-2.0
// Nvml against fake_nvml.c, which says what host this is and how the environment bends it.
#include "vfio/nvidia/nvml.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ostream>
#include <string>
#include <utility>

namespace slicebroker::vfio::nvidia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kLibrary = BUILD_DIR "/tests/fake_nvml.so";
constexpr const char* kOldLibrary = BUILD_DIR "/tests/fake_nvml_old.so";
constexpr PciAddress kA100{0, 0x41, 0, 0};
constexpr PciAddress kL40s{0x10000, 0xc4, 0, 0};
constexpr const char* kVariables[] = {"FAKE_NVML_FAIL", "FAKE_NVML_ACTIVATION", "FAKE_NVML_MIG",
                                      "FAKE_NVML_GPUS", "FAKE_NVML_FORM",       "FAKE_NVML_LIE"};

class NvmlTest : public testing::Test {
 protected:
  NvmlTest() { start(kLibrary); }
  ~NvmlTest() override {
    for (const auto* variable : kVariables) ::unsetenv(variable);
    EXPECT_EQ(users(), 0) << "the library is still initialised";
  }

  // Puts the library's host back to its beginning.
  void start(const char* library) {
    library_ = library;
    handle_ = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(handle_, nullptr) << ::dlerror();
    reinterpret_cast<void (*)()>(::dlsym(handle_, "fake_nvml_reset"))();
  }

  int users() { return reinterpret_cast<int (*)()>(::dlsym(handle_, "fake_nvml_users"))(); }

  static void set(const char* variable, const char* value) { ::setenv(variable, value, 1); }

  Nvml open() { return Nvml::open(library_).value(); }

  Driver read() { return open().read_driver().value(); }

  Gpu read_a100() {
    auto driver = read();
    EXPECT_THAT(driver.problems, IsEmpty());
    return driver.gpus.at(0);
  }

  std::string library_;
  void* handle_ = nullptr;
};

GpuInstance small_instance() {
  GpuInstance instance;
  instance.profile_id = 19;
  instance.placement = {1, 1};
  instance.compute_instances = {{0, 101, {0, 1}, ""}};
  return instance;
}

GpuInstance medium_instance() {
  GpuInstance instance;
  instance.id = 5;
  instance.profile_id = 14;
  instance.placement = {2, 2};
  instance.compute_instances = {{0, 101, {0, 1}, "MIG-cccccccc-0000-5000-8000-000000050000"},
                                {1, 101, {1, 1}, "MIG-cccccccc-0000-5000-8000-000000050001"}};
  return instance;
}

// Reading

TEST_F(NvmlTest, ReadsTheGpus) {
  const auto driver = read();
  EXPECT_EQ(driver.version, "570.124.06");
  EXPECT_THAT(driver.problems, IsEmpty());
  ASSERT_THAT(driver.gpus, SizeIs(2));
  const auto& a100 = driver.gpus[0];
  EXPECT_EQ(a100.address, kA100);
  EXPECT_EQ(a100.uuid, "GPU-aaaaaaaa-0000-1111-2222-333333333333");
  EXPECT_EQ(a100.name, "NVIDIA A100 80GB PCIe");
  EXPECT_EQ(a100.minor, 0U);
  EXPECT_EQ(a100.mig_mode, MigMode::kOn);
  EXPECT_EQ(a100.pending_mig_mode, MigMode::kOn);
  const auto& l40s = driver.gpus[1];
  EXPECT_EQ(l40s.address, kL40s);
  EXPECT_EQ(l40s.minor, 3U);
  EXPECT_EQ(a100.memory_mib, 81920U);
  EXPECT_EQ(l40s.memory_mib, 46068U);
  EXPECT_EQ(l40s.mig_mode, MigMode::kUnsupported);
  EXPECT_THAT(l40s.profiles, IsEmpty());
  EXPECT_THAT(l40s.instances, IsEmpty());
}

TEST_F(NvmlTest, ReadsEachProfileOnceWithoutItsPrefix) {
  EXPECT_THAT(read_a100().profiles,
              ElementsAre(GpuInstanceProfile{19, "1g.10gb", 1, 7, 9728}, GpuInstanceProfile{14, "2g.20gb", 2, 3, 19968},
                          GpuInstanceProfile{9, "3g.40gb", 3, 2, 40192}, GpuInstanceProfile{0, "7g.80gb", 7, 1, 81024},
                          GpuInstanceProfile{20, "1g.10gb+me", 1, 1, 9728}));
}

TEST_F(NvmlTest, ReadsInstancesByIdAcrossHolesInTheListOfMigDevices) {
  const GpuInstance large{1, 9, {4, 4}, {{0, 103, {0, 3}, "MIG-cccccccc-0000-5000-8000-000000010000"}}};
  const GpuInstance used_by_vgpu{7, 19, {0, 1}, {}};
  EXPECT_THAT(read_a100().instances, ElementsAre(large, medium_instance(), used_by_vgpu));
}

TEST_F(NvmlTest, ReadsVgpus) {
  const auto driver = read();
  const auto& a100 = driver.gpus.at(0);
  EXPECT_THAT(a100.vgpu_types,
              ElementsAre(VgpuType{699, "GRID A100D-1-10C", 19U, 10240}, VgpuType{702, "GRID A100D-3-40C", 9U, 40960}));
  EXPECT_THAT(a100.active_vgpus, ElementsAre(ActiveVgpu{699, 7U, Uuid::parse("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")}));
  const auto& l40s = driver.gpus.at(1);
  EXPECT_THAT(l40s.vgpu_types, ElementsAre(VgpuType{1155, "NVIDIA L40S-8Q", std::nullopt, 8192}));
  EXPECT_THAT(l40s.active_vgpus, ElementsAre(ActiveVgpu{1155, std::nullopt, std::nullopt}));
  EXPECT_EQ(a100.vgpu_heterogeneous, std::nullopt) << "MIG is on";
  EXPECT_EQ(l40s.vgpu_heterogeneous, true);
}

TEST_F(NvmlTest, ListsGpusByAddress) {
  set("FAKE_NVML_LIE", "swapped");
  const auto driver = read();
  ASSERT_THAT(driver.gpus, SizeIs(2));
  EXPECT_EQ(driver.gpus[0].address, kA100);
  EXPECT_EQ(driver.gpus[1].address, kL40s);
}

TEST_F(NvmlTest, ReadsADriverWithoutGpus) {
  set("FAKE_NVML_GPUS", "0");
  const auto driver = read();
  EXPECT_THAT(driver.gpus, IsEmpty());
  EXPECT_THAT(driver.problems, IsEmpty());
}

TEST_F(NvmlTest, ReadsProfilesInEveryFormThatDriversKnow) {
  const auto newest = read_a100().profiles;
  set("FAKE_NVML_FORM", "2");
  EXPECT_EQ(read_a100().profiles, newest);
  set("FAKE_NVML_FORM", "1");
  auto nameless = newest;
  for (auto& profile : nameless) profile.name.clear();
  EXPECT_EQ(read_a100().profiles, nameless);
}

TEST_F(NvmlTest, ReadsProfilesBeforeMigIsOn) {
  set("FAKE_NVML_MIG", "off");
  start(kLibrary);
  const auto gpu = read_a100();
  EXPECT_EQ(gpu.mig_mode, MigMode::kOff);
  EXPECT_THAT(gpu.instances, IsEmpty());
  EXPECT_THAT(gpu.profiles, SizeIs(5));
}

TEST_F(NvmlTest, ReadsAnOldDriver) {
  start(kOldLibrary);
  const auto gpu = read_a100();
  EXPECT_EQ(gpu.profiles.at(0), (GpuInstanceProfile{19, "", 1, 7, 9728}));
  ASSERT_THAT(gpu.instances, SizeIs(3));
  EXPECT_EQ(gpu.instances[1].compute_instances.at(1).mig_uuid, "MIG-GPU-aaaaaaaa-0000-1111-2222-333333333333/5/1");
  EXPECT_EQ(gpu.vgpu_types.at(0).gpu_instance_profile_id, 19) << "by its name";
  EXPECT_THAT(gpu.active_vgpus, ElementsAre(ActiveVgpu{699, std::nullopt, std::nullopt}));
}

TEST_F(NvmlTest, ReadsVgpuTypesThatAppearInBetween) {
  set("FAKE_NVML_LIE", "vgpu_appears");
  EXPECT_THAT(read_a100().vgpu_types, SizeIs(2));
}

TEST_F(NvmlTest, LeavesOutAVgpuThatEndedSinceItWasListed) {
  set("FAKE_NVML_FAIL", "nvmlVgpuInstanceGetType@0=6");
  const auto driver = read();
  EXPECT_THAT(driver.problems, IsEmpty());
  EXPECT_THAT(driver.gpus.at(0).active_vgpus, IsEmpty());
  EXPECT_THAT(driver.gpus.at(1).active_vgpus, SizeIs(1));
}

TEST_F(NvmlTest, BoundsTextsThatTheDriverDoesNotTerminate) {
  set("FAKE_NVML_LIE", "unterminated");
  const auto driver = read();
  EXPECT_EQ(driver.version, std::string(80, 'x'));
  EXPECT_THAT(driver.problems, SizeIs(2));  // no address can be made of 32 times x
}

// What an answer of NOT_SUPPORTED or FUNCTION_NOT_FOUND leaves empty.

struct AbsentCase {
  const char* name;
  const char* fail;
  bool (*is_empty)(const Gpu&);
};

std::ostream& operator<<(std::ostream& out, const AbsentCase& c) {
  return out << c.name;
}

class NvmlAbsent : public NvmlTest, public testing::WithParamInterface<AbsentCase> {};

TEST_P(NvmlAbsent, LeavesOnlyThatEmpty) {
  for (const auto* code : {"3", "13"}) {
    set("FAKE_NVML_FAIL", (std::string(GetParam().fail) + "=" + code).c_str());
    const auto gpu = read_a100();
    EXPECT_TRUE(GetParam().is_empty(gpu));
    EXPECT_EQ(gpu.name, "NVIDIA A100 80GB PCIe");
  }
}

constexpr AbsentCase kAbsentCases[] = {
    {"Minor", "nvmlDeviceGetMinorNumber", [](const Gpu& gpu) { return !gpu.minor; }},
    {"Mig", "nvmlDeviceGetMigMode",
     [](const Gpu& gpu) { return gpu.mig_mode == MigMode::kUnsupported && gpu.instances.empty(); }},
    {"SupportedVgpus", "nvmlDeviceGetSupportedVgpus", [](const Gpu& gpu) { return gpu.vgpu_types.empty(); }},
    {"ActiveVgpus", "nvmlDeviceGetActiveVgpus", [](const Gpu& gpu) { return gpu.active_vgpus.empty(); }},
    {"VgpuProfile", "nvmlVgpuTypeGetGpuInstanceProfileId",
     [](const Gpu& gpu) { return !gpu.vgpu_types.at(0).gpu_instance_profile_id; }},
    {"VgpuGpuInstance", "nvmlVgpuInstanceGetGpuInstanceId",
     [](const Gpu& gpu) { return !gpu.active_vgpus.at(0).gpu_instance_id; }},
    {"VgpuMdev", "nvmlVgpuInstanceGetMdevUUID", [](const Gpu& gpu) { return !gpu.active_vgpus.at(0).mdev; }},
    {"Memory", "nvmlDeviceGetMemoryInfo", [](const Gpu& gpu) { return gpu.memory_mib == 0; }},
    {"HeterogeneousMode", "nvmlDeviceGetVgpuHeterogeneousMode", [](const Gpu& gpu) { return !gpu.vgpu_heterogeneous; }},
    {"ProfileNames", "nvmlDeviceGetGpuInstanceProfileInfoV",
     [](const Gpu& gpu) { return gpu.profiles.at(0).id == 19 && gpu.profiles[0].name.empty(); }},
};

INSTANTIATE_TEST_SUITE_P(All, NvmlAbsent, testing::ValuesIn(kAbsentCases),
                         [](const auto& test) { return test.param.name; });

// GPUs that are left out, and what is said about them.

struct ProblemCase {
  const char* name;
  const char* fail;  // FAKE_NVML_FAIL
  const char* lie;   // or FAKE_NVML_LIE
  const char* subject;
  const char* reason;
  const char* tried;
};

std::ostream& operator<<(std::ostream& out, const ProblemCase& c) {
  return out << c.name;
}

class NvmlProblem : public NvmlTest, public testing::WithParamInterface<ProblemCase> {};

TEST_P(NvmlProblem, LeavesTheGpuOutAndKeepsTheOthers) {
  const auto expected = read();
  start(kLibrary);
  set("FAKE_NVML_FAIL", GetParam().fail);
  set("FAKE_NVML_LIE", GetParam().lie);
  const auto driver = read();
  ASSERT_THAT(driver.problems, testing::Not(IsEmpty()));
  EXPECT_THAT(driver.gpus, SizeIs(2 - driver.problems.size()));
  const auto& problem = driver.problems[0];
  EXPECT_EQ(problem.subject, GetParam().subject);
  EXPECT_EQ(problem.reason, GetParam().reason);
  EXPECT_EQ(problem.tried, GetParam().tried);
  EXPECT_FALSE(problem.fact.empty());
  for (const auto& gpu : driver.gpus) EXPECT_NE(gpu.address.to_string(), problem.subject);
}

constexpr ProblemCase kProblemCases[] = {
    {"NoPermission", "nvmlDeviceGetHandleByIndex_v2#1=4", "", "GPU 1", "NVML_NO_PERMISSION",
     "nvmlDeviceGetHandleByIndex_v2"},
    {"Lost", "nvmlDeviceGetHandleByIndex_v2#0=15", "", "GPU 0", "NVML_GPU_IS_LOST", "nvmlDeviceGetHandleByIndex_v2"},
    {"LostHalfWay", "nvmlDeviceGetName#1=15", "", "10000:c4:00.0", "NVML_GPU_IS_LOST", "nvmlDeviceGetName"},
    {"NoPermissionToListInstances", "nvmlDeviceGetGpuInstances=4", "", "0000:41:00.0", "NVML_NO_PERMISSION",
     "nvmlDeviceGetGpuInstances"},
    {"MigModeUnknown", "nvmlDeviceGetMigMode#0=999", "", "0000:41:00.0", "NVML_UNKNOWN", "nvmlDeviceGetMigMode"},
    {"ReturnValueUnknown", "nvmlDeviceGetUUID#1=4711", "", "10000:c4:00.0", "NVML_4711", "nvmlDeviceGetUUID"},
    // With MIG on, an empty list of instances would look like a free GPU.
    {"ListOfInstancesMissing", "nvmlDeviceGetGpuInstances=13", "", "0000:41:00.0", "NVML_TOO_OLD",
     "nvmlDeviceGetGpuInstances"},
    {"ListOfComputeInstancesMissing", "nvmlGpuInstanceGetComputeInstances=13", "", "0000:41:00.0", "NVML_TOO_OLD",
     "nvmlGpuInstanceGetComputeInstances"},
    {"MigOnWithoutProfiles", "nvmlDeviceGetGpuInstanceProfileInfo=3", "", "0000:41:00.0", "NVML_BAD_ANSWER",
     "nvmlDeviceGetGpuInstanceProfileInfo"},
    {"MigDevicesUnreadable", "nvmlDeviceGetMigDeviceHandleByIndex@2=999", "", "0000:41:00.0", "NVML_UNKNOWN",
     "nvmlDeviceGetMigDeviceHandleByIndex"},
    {"MdevUnreadable", "nvmlVgpuInstanceGetMdevUUID@0=999", "", "0000:41:00.0", "NVML_UNKNOWN",
     "nvmlVgpuInstanceGetMdevUUID"},
    {"NoAddress", "", "bus_id", "GPU 0", "NVML_BAD_ANSWER", "nvmlDeviceGetPciInfo_v3"},
    {"TooManyInstancesOfAProfile", "", "profile_instances", "0000:41:00.0", "NVML_BAD_ANSWER",
     "nvmlDeviceGetGpuInstanceProfileInfo"},
    {"TooManyInstances", "", "gpu_instances", "0000:41:00.0", "NVML_BAD_ANSWER", "nvmlDeviceGetGpuInstances"},
    {"TooManyComputeInstancesOfAProfile", "", "compute_profile_instances", "0000:41:00.0", "NVML_BAD_ANSWER",
     "nvmlGpuInstanceGetComputeInstanceProfileInfo"},
    {"TooManyComputeInstances", "", "compute_instances", "0000:41:00.0", "NVML_BAD_ANSWER",
     "nvmlGpuInstanceGetComputeInstances"},
    {"TooManyMigDevices", "", "mig_devices", "0000:41:00.0", "NVML_BAD_ANSWER", "nvmlDeviceGetMaxMigDeviceCount"},
    {"TooManyVgpuTypes", "", "vgpu_count", "0000:41:00.0", "NVML_BAD_ANSWER", "nvmlDeviceGetSupportedVgpus"},
    {"MoreVgpuTypesThanThereWasRoomFor", "", "vgpu_overrun", "0000:41:00.0", "NVML_BAD_ANSWER",
     "nvmlDeviceGetSupportedVgpus"},
    {"VgpuTypesWithoutEnd", "", "vgpus_grow", "0000:41:00.0", "NVML_INSUFFICIENT_SIZE", "nvmlDeviceGetSupportedVgpus"},
};

INSTANTIATE_TEST_SUITE_P(All, NvmlProblem, testing::ValuesIn(kProblemCases),
                         [](const auto& test) { return test.param.name; });

TEST_F(NvmlTest, RefusesACountOfGpusThatNoHostHas) {
  set("FAKE_NVML_LIE", "gpu_count");
  const auto driver = open().read_driver();
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().reason, "NVML_BAD_ANSWER");
}

// Opening and closing

struct OpenCase {
  const char* name;
  const char* library;
  const char* fail;
  ErrorCode code;
  const char* reason;
  const char* fact;
};

std::ostream& operator<<(std::ostream& out, const OpenCase& c) {
  return out << c.name;
}

class NvmlOpen : public NvmlTest, public testing::WithParamInterface<OpenCase> {};

TEST_P(NvmlOpen, Fails) {
  set("FAKE_NVML_FAIL", GetParam().fail);
  const auto nvml = Nvml::open(GetParam().library);
  ASSERT_FALSE(nvml);
  EXPECT_EQ(nvml.error().code, GetParam().code);
  EXPECT_EQ(nvml.error().reason, GetParam().reason);
  EXPECT_EQ(nvml.error().subject, GetParam().library);
  EXPECT_THAT(nvml.error().fact, HasSubstr(GetParam().fact));
  EXPECT_FALSE(nvml.error().hint.empty());
}

constexpr OpenCase kOpenCases[] = {
    {"NoLibrary", "/nowhere/libnvidia-ml.so.1", "", ErrorCode::kNotFound, "NVML_NOT_FOUND", "/nowhere"},
    {"NotNvml", "libm.so.6", "", ErrorCode::kFailed, "NVML_TOO_OLD", "nvmlInit_v2"},
    {"DriverNotLoaded", kLibrary, "nvmlInitWithFlags=9", ErrorCode::kNotFound, "NVML_DRIVER_NOT_LOADED", "not loaded"},
    {"VersionsDiffer", kLibrary, "nvmlInitWithFlags=18", ErrorCode::kFailed, "NVML_LIB_RM_VERSION_MISMATCH",
     "different versions"},
    {"OldDriverNotLoaded", kOldLibrary, "nvmlInit_v2=9", ErrorCode::kNotFound, "NVML_DRIVER_NOT_LOADED", "not loaded"},
};

INSTANTIATE_TEST_SUITE_P(All, NvmlOpen, testing::ValuesIn(kOpenCases),
                         [](const auto& test) { return test.param.name; });

TEST_F(NvmlTest, IsInitialisedWhileItLives) {
  {
    auto nvml = open();
    EXPECT_EQ(users(), 1);
    const Nvml moved = std::move(nvml);
    EXPECT_EQ(users(), 1);
  }
  EXPECT_EQ(users(), 0);
}

// Changing

TEST_F(NvmlTest, SetsTheMigMode) {
  set("FAKE_NVML_MIG", "off");
  start(kLibrary);
  ASSERT_TRUE(open().set_mig_mode(kA100, MigMode::kOn));
  EXPECT_EQ(read_a100().mig_mode, MigMode::kOn);
  ASSERT_TRUE(open().set_mig_mode(kA100, MigMode::kOff));
  EXPECT_EQ(read_a100().mig_mode, MigMode::kOff);
}

TEST_F(NvmlTest, DoesNotSetTheMigModeThatIsSet) {
  set("FAKE_NVML_FAIL", "nvmlDeviceSetMigMode=999");
  EXPECT_TRUE(open().set_mig_mode(kA100, MigMode::kOn));
}

TEST_F(NvmlTest, TakesAPendingMigModeBackThatCannotBeActivated) {
  set("FAKE_NVML_MIG", "off");
  start(kLibrary);
  for (const auto& [activation, code] : {std::pair{"19", ErrorCode::kHeld}, std::pair{"16", ErrorCode::kFailed}}) {
    set("FAKE_NVML_ACTIVATION", activation);
    const auto set_mode = open().set_mig_mode(kA100, MigMode::kOn);
    ASSERT_FALSE(set_mode);
    EXPECT_EQ(set_mode.error().code, code);
    EXPECT_EQ(set_mode.error().host, HostOutcome::kRestored);
    EXPECT_EQ(read_a100().mig_mode, MigMode::kOff);
    EXPECT_EQ(read_a100().pending_mig_mode, MigMode::kOff);
  }
}

TEST_F(NvmlTest, SaysHowToTakeBackAPendingMigModeThatStays) {
  set("FAKE_NVML_MIG", "off");
  start(kLibrary);
  set("FAKE_NVML_ACTIVATION", "19");
  set("FAKE_NVML_FAIL", "nvmlDeviceSetMigMode@1=999");
  const auto set_mode = open().set_mig_mode(kA100, MigMode::kOn);
  ASSERT_FALSE(set_mode);
  EXPECT_EQ(set_mode.error().code, ErrorCode::kHostChanged);
  EXPECT_EQ(set_mode.error().reason, "NVML_IN_USE");
  EXPECT_EQ(set_mode.error().host, HostOutcome::kChanged);
  EXPECT_EQ(set_mode.error().hint, "nvidia-smi -i 0000:41:00.0 -mig 0");
  ASSERT_THAT(set_mode.error().causes, SizeIs(1));
  EXPECT_EQ(set_mode.error().causes[0].reason, "NVML_UNKNOWN");
  EXPECT_EQ(read_a100().mig_mode, MigMode::kOff);
  EXPECT_EQ(read_a100().pending_mig_mode, MigMode::kOn);
}

TEST_F(NvmlTest, DoesNotBelieveThatAPendingMigModeWasTakenBack) {
  set("FAKE_NVML_MIG", "off");
  start(kLibrary);
  set("FAKE_NVML_ACTIVATION", "19");
  set("FAKE_NVML_LIE", "mode_sticks");
  const auto set_mode = open().set_mig_mode(kA100, MigMode::kOn);
  ASSERT_FALSE(set_mode);
  EXPECT_EQ(set_mode.error().code, ErrorCode::kHostChanged);
  EXPECT_EQ(set_mode.error().host, HostOutcome::kChanged);
}

TEST_F(NvmlTest, RefusesMigOnAGpuWithoutIt) {
  const auto set_mode = open().set_mig_mode(kL40s, MigMode::kOn);
  ASSERT_FALSE(set_mode);
  EXPECT_EQ(set_mode.error().code, ErrorCode::kRefused);
  EXPECT_EQ(set_mode.error().reason, "NVML_NOT_SUPPORTED");
  EXPECT_EQ(set_mode.error().host, HostOutcome::kUntouched);
}

TEST_F(NvmlTest, CreatesAndDestroysAGpuInstance) {
  const auto before = read_a100();
  const auto made = open().create_gpu_instance(kA100, small_instance());
  ASSERT_TRUE(made) << made.error().reason;
  auto expected = small_instance();
  expected.id = 2;
  expected.compute_instances[0].mig_uuid = "MIG-cccccccc-0000-5000-8000-000000020000";
  EXPECT_EQ(*made, expected);
  EXPECT_THAT(read_a100().instances, testing::Contains(expected));

  ASSERT_TRUE(open().destroy_gpu_instance(kA100, made->id));
  EXPECT_EQ(read_a100().instances, before.instances);
}

TEST_F(NvmlTest, CreatesWhatItDestroyed) {
  ASSERT_TRUE(open().destroy_gpu_instance(kA100, 5));
  const auto made = open().create_gpu_instance(kA100, medium_instance());
  ASSERT_TRUE(made) << made.error().reason;
  EXPECT_EQ(made->placement, medium_instance().placement);
  EXPECT_THAT(made->compute_instances, SizeIs(2));
}

TEST_F(NvmlTest, CreatesAComputeInstanceWhereTheDriverLikes) {
  auto wanted = small_instance();
  wanted.compute_instances[0].placement = {};
  const auto made = open().create_gpu_instance(kA100, wanted);
  ASSERT_TRUE(made) << made.error().reason;
  EXPECT_EQ(made->compute_instances.at(0).placement, (Placement{0, 1}));
}

TEST_F(NvmlTest, CreatesOnAnOldDriver) {
  start(kOldLibrary);
  const auto made = open().create_gpu_instance(kA100, small_instance());
  ASSERT_TRUE(made) << made.error().reason;
  EXPECT_EQ(made->compute_instances.at(0).placement, (Placement{0, 1}));
}

// Changes that fail: the code, and that the host is what it was, or what is said where it isn't.

struct FailedChangeCase {
  const char* name;
  const char* fail;
  const char* lie;
  Result<void> (*change)(const Nvml&);
  ErrorCode code;
  const char* reason;
  HostOutcome host;
  const char* hint;  // of a changed host
};

std::ostream& operator<<(std::ostream& out, const FailedChangeCase& c) {
  return out << c.name;
}

class NvmlFailedChange : public NvmlTest, public testing::WithParamInterface<FailedChangeCase> {};

TEST_P(NvmlFailedChange, SaysWhatBecameOfTheHost) {
  const auto before = read_a100();
  start(kLibrary);
  set("FAKE_NVML_FAIL", GetParam().fail);
  set("FAKE_NVML_LIE", GetParam().lie);
  const auto changed = GetParam().change(open());
  set("FAKE_NVML_FAIL", "");
  set("FAKE_NVML_LIE", "");
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, GetParam().code);
  EXPECT_EQ(changed.error().reason, GetParam().reason);
  EXPECT_EQ(changed.error().host, GetParam().host);
  const bool is_changed = GetParam().host == HostOutcome::kChanged;
  EXPECT_EQ(read_a100().instances == before.instances, !is_changed);
  if (is_changed) {
    EXPECT_THAT(changed.error().hint, HasSubstr(GetParam().hint));
  }
  EXPECT_THAT(changed.error().causes, SizeIs(is_changed ? 1 : 0));
}

Result<void> create_small(const Nvml& nvml) {
  if (auto made = nvml.create_gpu_instance(kA100, small_instance()); !made) return fail(made.error());
  return {};
}

Result<void> create_overlapping(const Nvml& nvml) {
  auto wanted = small_instance();
  wanted.placement = {0, 1};
  if (auto made = nvml.create_gpu_instance(kA100, wanted); !made) return fail(made.error());
  return {};
}

Result<void> create_with_two_compute_instances(const Nvml& nvml) {
  auto wanted = small_instance();
  wanted.compute_instances.push_back(wanted.compute_instances[0]);
  if (auto made = nvml.create_gpu_instance(kA100, wanted); !made) return fail(made.error());
  return {};
}

Result<void> create_elsewhere(const Nvml& nvml) {
  if (auto made = nvml.create_gpu_instance({}, small_instance()); !made) return fail(made.error());
  return {};
}

Result<void> destroy_medium(const Nvml& nvml) {
  return nvml.destroy_gpu_instance(kA100, 5);
}
Result<void> destroy_vgpus(const Nvml& nvml) {
  return nvml.destroy_gpu_instance(kA100, 7);
}
Result<void> destroy_unknown(const Nvml& nvml) {
  return nvml.destroy_gpu_instance(kA100, 6);
}
Result<void> turn_mig_off(const Nvml& nvml) {
  return nvml.set_mig_mode(kA100, MigMode::kOff);
}

constexpr FailedChangeCase kFailedChangeCases[] = {
    {"CreateOnUnknownGpu", "", "", create_elsewhere, ErrorCode::kNotFound, "NVML_NOT_FOUND", HostOutcome::kUntouched,
     ""},
    {"CreateWhereThereIsNoRoom", "", "", create_overlapping, ErrorCode::kFailed, "NVML_INSUFFICIENT_RESOURCES",
     HostOutcome::kUntouched, ""},
    {"CreateWithoutPermission", "nvmlDeviceCreateGpuInstanceWithPlacement=4", "", create_small, ErrorCode::kFailed,
     "NVML_NO_PERMISSION", HostOutcome::kUntouched, ""},
    {"CreateOnADriverThatCannotPlace", "nvmlDeviceCreateGpuInstanceWithPlacement=13", "", create_small,
     ErrorCode::kFailed, "NVML_TOO_OLD", HostOutcome::kUntouched, ""},
    {"CreateWithTooManyComputeInstances", "", "", create_with_two_compute_instances, ErrorCode::kFailed,
     "NVML_INSUFFICIENT_RESOURCES", HostOutcome::kRestored, ""},
    {"CreatedElsewhere", "", "placement", create_small, ErrorCode::kFailed, "NVML_BAD_ANSWER", HostOutcome::kRestored,
     ""},
    {"CreatedAndUnreadable", "nvmlDeviceGetMaxMigDeviceCount=15", "", create_small, ErrorCode::kFailed,
     "NVML_GPU_IS_LOST", HostOutcome::kRestored, ""},
    {"CreatedHalfAndStuck", "nvmlGpuInstanceCreateComputeInstanceWithPlacement@1=23,nvmlGpuInstanceDestroy=19", "",
     create_with_two_compute_instances, ErrorCode::kHostChanged, "NVML_INSUFFICIENT_RESOURCES", HostOutcome::kChanged,
     "nvidia-smi mig -i 0000:41:00.0 -gi 2 -dgi"},
    {"DestroyUnknown", "", "", destroy_unknown, ErrorCode::kNotFound, "NVML_NOT_FOUND", HostOutcome::kUntouched, ""},
    {"DestroyUsedByVgpu", "", "", destroy_vgpus, ErrorCode::kHeld, "NVML_IN_USE", HostOutcome::kUntouched, ""},
    {"DestroyFirstInUse", "nvmlComputeInstanceDestroy@0=19", "", destroy_medium, ErrorCode::kHeld, "NVML_IN_USE",
     HostOutcome::kUntouched, ""},
    {"DestroySecondInUse", "nvmlComputeInstanceDestroy@1=19", "", destroy_medium, ErrorCode::kHeld, "NVML_IN_USE",
     HostOutcome::kRestored, ""},
    {"DestroyGpuInstanceInUse", "nvmlGpuInstanceDestroy=19", "", destroy_medium, ErrorCode::kHeld, "NVML_IN_USE",
     HostOutcome::kRestored, ""},
    {"DestroySecondInUseAndStuck",
     "nvmlComputeInstanceDestroy@1=19,nvmlGpuInstanceCreateComputeInstanceWithPlacement=23", "", destroy_medium,
     ErrorCode::kHostChanged, "NVML_IN_USE", HostOutcome::kChanged,
     "nvidia-smi mig -i 0000:41:00.0 -gi 5 -cci PROFILE"},
    {"MigOffWhileInUse", "", "", turn_mig_off, ErrorCode::kHeld, "NVML_IN_USE", HostOutcome::kRestored, ""},
    {"MigOffWithoutPermission", "nvmlDeviceSetMigMode@0=4", "", turn_mig_off, ErrorCode::kFailed, "NVML_NO_PERMISSION",
     HostOutcome::kUntouched, ""},
};

INSTANTIATE_TEST_SUITE_P(All, NvmlFailedChange, testing::ValuesIn(kFailedChangeCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace slicebroker::vfio::nvidia
