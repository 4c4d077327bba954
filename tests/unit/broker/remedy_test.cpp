// SPDX-License-Identifier: Apache-2.0
// What a refusal says: the fact, the exact command, and the name that was probably meant.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "broker/resolver/resolver.h"
#include "tests/unit/broker/inventories.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using test::kGpu;
using test::kMig1;
using test::kMig3;
using test::request;
using testing::HasSubstr;
using testing::Not;
using vfio::Inventory;

template <class Change>
Inventory with(Inventory host, Change change) {
  change(host);
  return host;
}

TEST(Remedy, IsTheExactCommandForThisHost) {
  struct Case {
    std::string name;
    Inventory host;
    std::vector<Hold> holds;
    std::string selector;
    std::string code;
    std::string fact;
    std::string remedy;
  };
  const Case cases[] = {
      {"no GPU instance",
       test::vendor_host(),
       {},
       "profile=2g.20gb",
       "NO_GPU_INSTANCE",
       "0000:41:00.0 has no GPU instance of 2g.20gb",
       "nvidia-smi mig -i 0000:41:00.0 -cgi 2g.20gb -C"},
      {"no GPU instance, and a driver without names",
       with(test::vendor_host(),
            [](Inventory& host) {
              for (auto& profile : host.nvidia->gpus[0].profiles) profile.name.clear();
            }),
       {},
       "profile=2g.20gb",
       "NO_GPU_INSTANCE",
       "2g.20gb",
       "nvidia-smi mig -i 0000:41:00.0 -cgi 14 -C"},
      {"MIG is off",
       with(test::vendor_host(), test::switch_mig_off),
       {},
       "profile=1g.10gb",
       "MIG_MODE_OFF",
       "MIG mode of 0000:41:00.0 is off",
       "nvidia-smi -i 0000:41:00.0 -mig 1 && nvidia-smi mig -i 0000:41:00.0 -cgi 1g.10gb -C"},
      {"MIG is on",
       with(test::mdev_host(), [](Inventory& host) { test::set_available(host, "nvidia-468", 0); }),
       {},
       "type=nvidia-468",
       "MIG_MODE_ON",
       "MIG mode of 0000:41:00.0 is on",
       "nvidia-smi -i 0000:41:00.0 -mig 0"},
      {"VFs are off",
       test::mig_gpu(),
       {},
       kMig3,
       "VFS_NOT_ENABLED",
       "16 virtual functions are not enabled",
       "/usr/lib/nvidia/sriov-manage -e 0000:41:00.0"},
      {"VF of which PF is meant",
       test::gvt_host(),
       {},
       "vf=00:02.0",
       "NOT_A_VF",
       "physfn",
       "type=i915-GVTg_V5_4, type=i915-GVTg_V5_8"},
      {"VF that makes mdevs",
       test::mdev_host(),
       {},
       "vf=41:00.4",
       "VGPU_TYPE_NOT_SET",
       "mediated devices",
       "type=nvidia-468"},
      {"instances are leased or in use: by whom",
       with(test::vendor_host(), [](Inventory& host) { test::add_mdev(host, test::kVf1, "nvidia-699", 5); }),
       {test::hold("gpu-instance:0000:41:00.0/3")},
       "profile=1g.10gb",
       "GPU_INSTANCES_TAKEN",
       "GI 3: libvirt:db2 by lease 7, GI 5: mediated device " + test::kMdev + " runs on it",
       "free one of those"},
      {"instances are promised: to whom",
       test::vendor_host(),
       {test::hold("gpu-instance:0000:41:00.0/3"), test::hold(any_instance_key(kGpu, 19, 0), "libvirt:a", 9)},
       "profile=1g.10gb",
       "GPU_INSTANCES_TAKEN",
       "GI 3: libvirt:db2 by lease 7, one for libvirt:a by lease 9",
       "free one of those"},
      {"another size runs",
       with(test::vendor_host(),
            [](Inventory& host) {
              test::switch_mig_off(host);
              for (auto& vf : host.vendor_vfs) vf.creatable.clear();
              auto& gpu = host.nvidia->gpus[0];
              gpu.vgpu_types.push_back({470, "GRID A100D-8C", {}, 8192});
              gpu.active_vgpus = {{468, {}, {}}};
            }),
       {},
       "type=470",
       "OTHER_SIZE_RESIDENT",
       "GRID A100D-4C (4096 MiB) runs on 0000:41:00.0",
       "nvidia-smi vgpu -i 0000:41:00.0 -shm 1"},
      {"compute instance",
       test::vendor_host(),
       {},
       "profile=1c.3g.40gb",
       "COMPUTE_INSTANCE",
       "1c.3g.40gb is a compute instance in a 3g.40gb",
       "profile=3g.40gb"},
      {"NVSwitch",
       with(test::plain_gpu(), test::add_nvswitch),
       {},
       "gpu=41:00.0",
       "NVSWITCH_FABRIC",
       "0000:05:00.0 is on nvidia-nvswitch",
       "--allow-nvswitch"},
      {"NVSwitch as a GPU",
       with(test::plain_gpu(), test::add_nvswitch),
       {},
       "gpu=05:00.0",
       "NOT_A_GPU",
       "it is an NVSwitch",
       "list gpus"},
      {"earlier selector of the request",
       test::vendor_host(),
       {test::hold("gpu-instance:0000:41:00.0/3", "libvirt:web1", kThisRequest)},
       kMig3,
       "LEASED",
       "an earlier selector of this request takes it",
       "name each device once"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto resolution = resolve(c.host, c.holds, request(c.selector));
    ASSERT_TRUE(test::ok(resolution));
    ASSERT_FALSE(resolution->candidates.empty());
    const auto& first = resolution->candidates[0];
    EXPECT_EQ(first.code, c.code);
    EXPECT_THAT(first.fact, HasSubstr(c.fact));
    EXPECT_THAT(first.remedy, HasSubstr(c.remedy));
  }
}

TEST(Remedy, OfAMistypedNameIsTheOneThatWasMeant) {
  struct Case {
    std::string name;
    Inventory host;
    std::string selector;
    std::string hint;
  };
  const auto with_mdev =
      with(test::mdev_host(), [](Inventory& host) { test::add_mdev(host, test::kVf0, "nvidia-468", {}); });
  const Case cases[] = {
      {"MIG UUID, a digit off", test::vendor_host(), "MIG-10000000-0000-5000-8000-000000000003", kMig3},
      {"profile", test::vendor_host(), "profile=1g.20gb", "1g.10gb"},
      {"profile of other media engines", test::vendor_host(), "profile=4g.40gb", "3g.40gb"},
      {"type by name", test::vendor_host(), "type=GRID A100D-1-10", "GRID A100D-1-10C"},
      {"type by id", test::mdev_host(), "type=nvidia-466", "nvidia-468"},
      {"mdev", with_mdev, "mdev=7f1c2d3e-0000-5000-8000-00000000000a", test::kMdev},
      {"type by id, of a vendor VF", test::vendor_host(), "type=nvidia-466", "nvidia-468"},
      {"VF", test::vendor_host(), "vf=41:00.6", "0000:41:00.4"},
      {"GPU", test::vendor_host(), "gpu=14:00.0", "0000:41:00.0"},
      {"GPU UUID", test::vendor_host(), "gpu=GPU-baaaaaaa-0000-1111-2222-333333333333", test::kGpuUuid},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto resolution = resolve(c.host, {}, request(c.selector));
    ASSERT_FALSE(resolution) << "nothing is taken for something else";
    EXPECT_EQ(resolution.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(resolution.error().hint, testing::StartsWith("did you mean " + c.hint + "?"));
  }
  EXPECT_THAT(resolve(test::vendor_host(), {}, request("profile=7g.141gb+gfx")).error().hint,
              Not(HasSubstr("did you")));
}

TEST(Remedy, OfTooMuchMemoryIsTheLargestThereIs) {
  const auto too_much = resolve(test::vendor_host(), {}, request("memory=100GiB"));
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(too_much.error().hint, HasSubstr("GRID A100D-3-40C with 40GiB"));
  EXPECT_THAT(too_much.error().hint, HasSubstr("0000:41:00.0 with 80GiB"));

  auto no_fallback = request("memory=41GiB");
  no_fallback.fallback = Fallback::kNone;
  const auto whole_only = resolve(test::vendor_host(), {}, no_fallback);
  ASSERT_FALSE(whole_only);
  EXPECT_EQ(whole_only.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(whole_only.error().hint, HasSubstr("--fallback gpu"));
}

TEST(Memory, TakesTheSmallestThatIsLargeEnough) {
  const std::pair<std::string, std::uint32_t> cases[] = {
      {"memory=1GiB", 698}, {"memory=5GiB", 698}, {"memory=6GiB", 699}, {"memory=10GiB", 699}, {"memory=11GiB", 702}};
  for (const auto& [selector, type] : cases) {
    SCOPED_TRACE(selector);
    const auto resolution = resolve(test::vendor_host(), {}, request(selector)).value();
    ASSERT_NE(resolution.granted(), nullptr);
    EXPECT_THAT(resolution.granted()->plan.steps,
                testing::ElementsAre(vfio::Step(vfio::AssignVgpuType{test::kVf0, type, {}})));
    EXPECT_EQ(resolution.granted()->isolation, Isolation::kHardware);
  }
}

TEST(Memory, TakesOfEqualTypesOneThatRunsCuda) {
  auto host = test::plain_gpu();
  std::uint32_t id = 1;
  for (const char* name : {"NVIDIA L40S-8A", "NVIDIA L40S-8B", "NVIDIA L40S-8Q", "NVIDIA L40S-8C"}) {
    host.nvidia->gpus[0].vgpu_types.push_back({id, name, {}, 8192});
    host.mdev_types.push_back({kGpu, "nvidia-" + std::to_string(id++), name, "vfio-pci", 1});
  }
  const auto resolution = resolve(host, {}, request("memory=8GiB")).value();
  ASSERT_NE(resolution.granted(), nullptr);
  EXPECT_THAT(resolution.granted()->slice, HasSubstr("L40S-8Q")) << "the first of Q and C; A and B are for desktops";
  EXPECT_EQ(resolution.granted()->isolation, Isolation::kTimeSliced);
}

TEST(Note, SaysWhereTheExactInstanceIsNotSure) {
  const auto two_free = resolve(test::vendor_host(), {}, request(kMig3)).value();
  EXPECT_THAT(two_free.granted()->note, HasSubstr("one of 2 free GPU instances of 1g.10gb"));
  EXPECT_THAT(two_free.granted()->note, HasSubstr("GI 3"));
  const auto one_free =
      resolve(test::vendor_host(), {test::hold("gpu-instance:0000:41:00.0/5")}, request(kMig3)).value();
  EXPECT_EQ(one_free.granted()->note, "");
  EXPECT_EQ(resolve(test::vendor_host(), {}, request(kMig1)).value().granted()->note, "");
  EXPECT_EQ(resolve(test::vendor_host(), {}, request("profile=1g.10gb")).value().granted()->note, "")
      << "any instance will do";
}

TEST(Note, SaysWhatIsToBeDoneForAGpuOnTheFabric) {
  auto allowed = request("gpu=41:00.0");
  allowed.allow_nvswitch = true;
  const auto resolution = resolve(with(test::plain_gpu(), test::add_nvswitch), {}, allowed).value();
  ASSERT_NE(resolution.granted(), nullptr);
  EXPECT_THAT(resolution.granted()->note, HasSubstr("fmpm -a"));
}

// What attach does with several selectors: each is resolved with the earlier ones' devices held.
TEST(SeveralOfAProfile, GetAnInstanceEachUntilNoneIsLeft) {
  for (const auto& host : {test::vendor_host(), test::mdev_host()}) {
    // A third VF, so that the instances run out first.
    auto wide = host;
    constexpr PciAddress kVf2{0, 0x41, 0, 6};
    auto vf = test::function_at(wide, test::kVf1);
    vf.address = kVf2;
    test::add(wide, vf);
    if (!wide.vendor_vfs.empty()) wide.vendor_vfs.push_back({kVf2, 0, wide.vendor_vfs[0].creatable, {}});
    const auto types = wide.mdev_types;
    for (auto type : types) {
      if (type.parent != test::kVf1) continue;
      type.parent = kVf2;
      wide.mdev_types.push_back(type);
    }
    std::vector<Hold> holds;
    std::set<std::string> taken;
    for (int round = 0; round < 2; ++round) {
      auto wanted = request("profile=1g.10gb");
      wanted.mdev_uuid = Uuid::random();
      const auto resolution = resolve(wide, holds, wanted).value();
      ASSERT_NE(resolution.granted(), nullptr) << testing::PrintToString(test::verdicts(resolution));
      for (const auto& device : resolution.granted()->plan.devices) {
        EXPECT_TRUE(taken.insert(device.device).second) << device.device << " is given twice";
        holds.push_back({device, kThisRequest, "libvirt:web1"});
      }
    }
    const auto third = resolve(wide, holds, request("profile=1g.10gb")).value();
    EXPECT_EQ(third.granted(), nullptr);
    EXPECT_EQ(third.candidates.at(0).code, "GPU_INSTANCES_TAKEN");
    EXPECT_THAT(third.candidates[0].fact, HasSubstr("an earlier selector of this request"));
  }
}

}  // namespace
}  // namespace slicebroker::broker
