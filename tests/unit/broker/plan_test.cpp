// SPDX-License-Identifier: Apache-2.0
// What is granted, in full: steps in order, what the hypervisor is told, what the lease takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/resolver/resolver.h"
#include "tests/unit/broker/resolver_cases.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;
using hypervisors::Surface;
using test::descriptions;
using test::kAudio;
using test::kGpu;
using test::kMig3;
using test::kVf0;
using test::request;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using vfio::Step;

Candidate granted(const vfio::Inventory& host, const Request& wanted) {
  const auto resolution = resolve(host, {}, wanted).value();
  EXPECT_NE(resolution.granted(), nullptr);
  return resolution.granted() != nullptr ? *resolution.granted() : Candidate{};
}

std::vector<std::string> devices_of(const Candidate& candidate) {
  std::vector<std::string> texts;
  for (const auto& device : candidate.plan.devices) texts.push_back(device.device);
  return texts;
}

// The devices of a lease that is all of one GPU.
std::vector<std::string> devices(const Candidate& candidate) {
  for (const auto& device : candidate.plan.devices) EXPECT_EQ(device.gpu, kGpu) << device.device;
  return devices_of(candidate);
}

TEST(Plan, ExactSliceOnAVendorVfRecordsItsGpuInstance) {
  const auto candidate = granted(test::vendor_host(), request(kMig3));
  EXPECT_THAT(candidate.plan.steps, ElementsAre(Step(vfio::AssignVgpuType{kVf0, 699, 3})));
  EXPECT_EQ(candidate.plan.attachment, (hypervisors::Attachment{"", Surface::kVendorVf, {}, kVf0, {}}));
  EXPECT_THAT(devices(candidate), ElementsAre("pci:0000:41:00.4", "gpu-instance:0000:41:00.0/3"));
  EXPECT_EQ(candidate.isolation, Isolation::kHardware);
  EXPECT_THAT(candidate.slice, HasSubstr(kMig3));
  EXPECT_THAT(candidate.slice, HasSubstr("GRID A100D-1-10C"));
}

TEST(Plan, GraceHopperIsBoundToItsOwnDriverAndItsCompanionToVfioPci) {
  auto host = test::grace_hopper();
  test::add(host, test::pci(test::kAudio, {.class_code = 0x040300, .driver = {}, .iommu_group = 13}));
  const auto from_nvidia = granted(host, request("gpu=41:00.0"));
  EXPECT_THAT(from_nvidia.plan.steps, ElementsAre(Step(vfio::BindDriver{test::kAudio, "vfio-pci"}),
                                                  Step(vfio::BindDriver{kGpu, "nvgrace_gpu_vfio_pci"})));
  test::function_at(host, kGpu).driver = "vfio-pci";
  test::function_at(host, kGpu).vfio_devices = {"vfio0"};
  const auto from_vfio_pci = granted(host, request("gpu=41:00.0"));
  EXPECT_TRUE(from_vfio_pci.plan.steps == from_nvidia.plan.steps);
}

TEST(Plan, ExactSliceAsAnMdevRecordsItsGpuInstance) {
  const auto uuid = *Uuid::parse(test::kFreshMdev);
  const auto candidate = granted(test::mdev_host(), request(kMig3));
  EXPECT_THAT(candidate.plan.steps, ElementsAre(Step(vfio::CreateMdev{kVf0, "nvidia-699", uuid, 3})));
  EXPECT_EQ(candidate.plan.attachment, (hypervisors::Attachment{"", Surface::kMdev, uuid, {}, {}}));
  EXPECT_THAT(devices(candidate),
              ElementsAre("mdev:" + test::kFreshMdev, "pci:0000:41:00.4", "gpu-instance:0000:41:00.0/3"));
}

TEST(Plan, ProfileTakesAnyInstanceAndTheLargestType) {
  const auto candidate = granted(test::vendor_host(), request("profile=1g.10gb"));
  EXPECT_THAT(candidate.plan.steps, ElementsAre(Step(vfio::AssignVgpuType{kVf0, 699, {}})))
      << "698 would leave half of the instance idle";
  EXPECT_THAT(devices(candidate), ElementsAre("pci:0000:41:00.4", "any-instance:0000:41:00.0/19/0"));
}

TEST(Plan, TypeIsFoundUnderEachOfItsNames) {
  for (const char* name : {"nvidia-699", "NVIDIA-699", "699", "GRID A100D-1-10C", "grid a100d-1-10c", "A100D-1-10C"}) {
    for (const auto& host : {test::vendor_host(), test::mdev_host()}) {
      SCOPED_TRACE(name);
      const auto candidate = granted(host, request(std::string("type=") + name));
      ASSERT_EQ(candidate.plan.steps.size(), 1U);
      EXPECT_THAT(describe(candidate.plan.steps[0]), HasSubstr("699"));
    }
  }
}

TEST(Plan, TimeSlicedTypeIsNamedSo) {
  const auto candidate = granted(test::mdev_host(), request("type=nvidia-468"));
  EXPECT_EQ(candidate.isolation, Isolation::kTimeSliced);
  EXPECT_THAT(devices(candidate), ElementsAre("mdev:" + test::kFreshMdev, "pci:0000:41:00.4"));
}

TEST(Plan, MdevOnAPhysicalFunctionLeavesItToOthersToo) {
  auto host = test::plain_gpu();  // a card before Ampere: several mdevs on its physical function
  host.mdev_types.push_back({kGpu, "nvidia-231", "GRID T4-2C", "vfio-pci", 7});
  test::add_mdev(host, kGpu, "nvidia-231", {});
  const auto candidate = granted(host, request("type=nvidia-231"));
  EXPECT_THAT(devices(candidate), ElementsAre("mdev:" + test::kFreshMdev));
}

TEST(Plan, MdevTypeOfAnotherInterfaceIsNoOffer) {
  auto host = test::mdev_host();
  for (auto& type : host.mdev_types) type.device_api = "vfio-ccw";
  auto wanted = request("type=nvidia-699");
  wanted.fallback = Fallback::kNone;
  EXPECT_THAT(test::verdicts(resolve(host, {}, wanted).value()), ElementsAre("- 0000:41:00.0 MIG_NOT_SURFACED"));
}

// Undone backwards, the VFs come back before the GPU instances, which enabling VFs would wipe (nvidia.md 3.3).
TEST(Plan, WholeGpuForASliceIsTakenApartInOrder) {
  auto host = test::vendor_host();
  test::add(host, test::pci(kAudio, {.class_code = 0x040300, .driver = std::nullopt, .iommu_group = 13}));
  const auto candidate = granted(host, test::request_for(kMig3, HypervisorKind::kCloudHypervisor, std::nullopt));
  EXPECT_THAT(descriptions(candidate.plan.steps),
              ElementsAre("destroy the GPU instances of 0000:41:00.0", "disable the VFs of 0000:41:00.0",
                          "switch MIG mode of 0000:41:00.0 off", "bind 0000:41:00.1 to vfio-pci",
                          "bind 0000:41:00.0 to vfio-pci"));
  EXPECT_EQ(candidate.plan.attachment, (hypervisors::Attachment{"", Surface::kGpu, {}, kGpu, {kAudio}}));
  EXPECT_EQ(candidate.isolation, Isolation::kHardware);
  EXPECT_THAT(devices_of(candidate), ElementsAre("pci:0000:41:00.0", "pci:0000:41:00.1"));
}

TEST(Plan, WholeGpuOnlyUndoesWhatIsThere) {
  EXPECT_THAT(descriptions(granted(test::plain_gpu(), request("gpu=41:00.0")).plan.steps),
              ElementsAre("bind 0000:41:00.0 to vfio-pci"));
  auto host = test::mig_gpu();
  host.nvidia->gpus[0].instances.clear();
  EXPECT_THAT(descriptions(granted(host, request("gpu=41:00.0")).plan.steps),
              ElementsAre("switch MIG mode of 0000:41:00.0 off", "bind 0000:41:00.0 to vfio-pci"));
  host.nvidia->gpus[0].mig_mode = vfio::nvidia::MigMode::kOff;
  EXPECT_THAT(descriptions(granted(host, request("gpu=41:00.0")).plan.steps),
              ElementsAre("bind 0000:41:00.0 to vfio-pci"));
}

TEST(Plan, VfsInTheGpusGroupAreNotBoundOnceTheyAreOff) {
  auto host = test::plain_gpu();
  auto vf = test::pci(kVf0, {.driver = {}, .iommu_group = 13});
  vf.physical_function = kGpu;
  test::add(host, vf);
  auto& gpu = test::function_at(host, kGpu);
  gpu.vf_count = 1;
  gpu.virtual_functions = {kVf0};
  const auto candidate = granted(host, request("gpu=41:00.0"));
  EXPECT_THAT(candidate.plan.steps,
              ElementsAre(Step(vfio::DisableVfs{kGpu}), Step(vfio::BindDriver{kGpu, "vfio-pci"})));
  EXPECT_THAT(candidate.plan.attachment.companions, IsEmpty());
}

TEST(Plan, GpuThatComesBackWithoutItsMixedSizeModeSaysSo) {
  auto host = test::plain_gpu();
  EXPECT_THAT(granted(host, request("gpu=41:00.0")).note, IsEmpty());
  host.nvidia->gpus.at(0).vgpu_heterogeneous = true;
  EXPECT_THAT(granted(host, request("gpu=41:00.0")).note, HasSubstr("nvidia-smi vgpu -i 0000:41:00.0 -shm 1"));
}

TEST(Plan, MemoryNamesTheSmallestInstanceFirstWhateverTheDriversOrder) {
  auto host = test::mig_gpu();
  auto& profiles = host.nvidia->gpus.at(0).profiles;
  std::reverse(profiles.begin(), profiles.end());
  const auto resolution = resolve(host, {}, request("memory=9GiB")).value();
  EXPECT_THAT(resolution.candidates.at(0).slice, HasSubstr("1g.10gb"));
  EXPECT_THAT(resolution.candidates.at(1).slice, HasSubstr("3g.40gb"));
}

TEST(Plan, WhatSpeaksVfioAlreadyStaysOnItsDriver) {
  auto host = test::plain_gpu();
  test::function_at(host, kGpu).driver = "vfio-pci";
  test::function_at(host, kGpu).vfio_devices = {"vfio0"};
  test::add(host, test::pci(kAudio, {.class_code = 0x040300, .driver = "pci-stub", .iommu_group = 13}));
  const auto candidate = granted(host, request("gpu=41:00.0"));
  EXPECT_THAT(candidate.plan.steps, IsEmpty());
  EXPECT_THAT(candidate.plan.attachment.companions, IsEmpty()) << "on pci-stub it has no VFIO node to be told of";
  EXPECT_THAT(devices_of(candidate), ElementsAre("pci:0000:41:00.0", "pci:0000:41:00.1"));
}

TEST(Plan, ExistingDeviceNeedsNoStep) {
  auto mdev_host = test::mdev_host();
  test::add_mdev(mdev_host, kVf0, "nvidia-699", 3);
  const auto mdev = granted(mdev_host, request("mdev=" + test::kMdev));
  EXPECT_THAT(mdev.plan.steps, IsEmpty());
  EXPECT_EQ(mdev.plan.attachment.mdev, Uuid::parse(test::kMdev));
  EXPECT_THAT(devices(mdev), ElementsAre("mdev:" + test::kMdev));
  EXPECT_EQ(mdev.isolation, Isolation::kHardware);

  auto vendor_host = test::vendor_host();
  test::vendor_vf_at(vendor_host, kVf0).current_type = 468;
  const auto vf = granted(vendor_host, request("vf=41:00.4"));
  EXPECT_THAT(vf.plan.steps, IsEmpty());
  EXPECT_EQ(vf.plan.attachment, (hypervisors::Attachment{"", Surface::kVendorVf, {}, kVf0, {}}));
  EXPECT_EQ(vf.isolation, Isolation::kTimeSliced);
}

// `xml --domain --for libvirt@9.0` plans the whole GPU; the hook, which can't ask libvirt for its version, has to
// prepare that very GPU although a newer libvirt could take a VF.
TEST(Plan, GpuThatWasAgreedForAnOldLibvirtIsStillGrantedWhenTheVersionIsNotKnown) {
  const auto planned =
      granted(test::vendor_host(), test::request_for(kMig3, HypervisorKind::kLibvirt, hypervisors::Version{9, 0, 0}));
  ASSERT_EQ(planned.plan.attachment.function, kGpu);
  auto agreed = test::request_for(kMig3, HypervisorKind::kLibvirt, std::nullopt);
  agreed.only_function = kGpu;
  const auto resolution = resolve(test::vendor_host(), {}, agreed).value();
  ASSERT_NE(resolution.granted(), nullptr) << testing::PrintToString(test::verdicts(resolution));
  EXPECT_EQ(resolution.granted()->plan.attachment.function, kGpu);
}

TEST(Refusal, IsHeldWhereAHolderStandsInTheWayElseRefused) {
  struct Case {
    std::string name;
    vfio::Inventory host;
    std::vector<Hold> holds;
    std::string selector;
    ErrorCode code;
    std::string reason;
    std::string said;
    std::string hint;
  };
  const Case cases[] = {
      {"slice is leased: its owner is named",
       test::vendor_host(),
       {test::hold("gpu-instance:0000:41:00.0/3")},
       kMig3,
       ErrorCode::kHeld,
       "LEASED",
       "libvirt:db2 holds it by lease 7",
       "detach"},
      {"process holds it: it is named",
       [] {
         auto host = test::plain_gpu();
         host.holders = {{815, "python3", "/dev/nvidia0"}};
         return host;
       }(),
       {},
       "gpu=41:00.0",
       ErrorCode::kHeld,
       "HELD_BY_PROCESS",
       "pid 815 (python3) has /dev/nvidia0 open",
       "end the process"},
      {"companion on a host driver: it is named",
       [] {
         auto host = test::plain_gpu();
         test::add(host, test::pci(kAudio, {.class_code = 0x040300, .driver = "snd_hda_intel", .iommu_group = 13}));
         return host;
       }(),
       {},
       "gpu=41:00.0",
       ErrorCode::kRefused,
       "GROUP_NOT_VIABLE",
       "0000:41:00.1 is on snd_hda_intel",
       "--allow-group-member"},
      {"no such instance",
       test::vendor_host(),
       {},
       "profile=2g.20gb",
       ErrorCode::kRefused,
       "NO_GPU_INSTANCE",
       "2g.20gb",
       "nvidia-smi mig"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto resolution = resolve(c.host, c.holds, request(c.selector)).value();
    ASSERT_EQ(resolution.granted(), nullptr);
    const auto error = refusal(resolution);
    EXPECT_EQ(error.code, c.code);
    EXPECT_EQ(error.reason, c.reason);
    EXPECT_TRUE(test::mentions(error, c.said)) << to_text(error);
    EXPECT_THAT(error.hint, HasSubstr(c.hint));
    EXPECT_EQ(error.causes.size(), resolution.candidates.size()) << "every candidate's reason is a cause";
  }
}

TEST(Refusal, SaysARemedyOnce) {
  const auto resolution =
      resolve(test::vendor_host(), {test::hold("gpu-instance:0000:41:00.0/3")}, request(kMig3)).value();
  ASSERT_EQ(resolution.candidates.size(), 2U);
  const auto hint = refusal(resolution).hint;
  EXPECT_EQ(hint, resolution.candidates[0].remedy);
}

}  // namespace
}  // namespace slicebroker::broker
