// SPDX-License-Identifier: Apache-2.0
// Golden text of what people and programs read.
#include "broker/render/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/broker/inventories.h"
#include "tests/unit/broker/leases.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;
using nlohmann::json;
using test::kMig3;
using testing::HasSubstr;

const Target kLibvirt{HypervisorKind::kLibvirt, hypervisors::Version{11, 3, 0}};

Resolution granted() {
  return resolve(test::vendor_host(), {}, test::request(kMig3)).value();
}

Resolution refused() {
  auto request = test::request_for(kMig3, HypervisorKind::kCloudHypervisor, std::nullopt);
  return resolve(test::vendor_host(), {test::hold("gpu-instance:0000:41:00.0/5")}, request).value();
}

TEST(RenderResolution, GrantedAsATable) {
  EXPECT_EQ(render_resolution(kMig3, kLibvirt, granted(), Format::kTable),
            R"(MIG-00000000-0000-5000-8000-000000000003 for libvirt 11.3.0
  VERDICT   SURFACE    DEVICE        ISOLATION  CODE  WHY
  granted   vendor-vf  0000:41:00.4  hardware   -     MIG-00000000-0000-5000-8000-000000000003 as GRID A100D-1-10C
  possible  vendor-vf  0000:41:00.5  hardware   -     MIG-00000000-0000-5000-8000-000000000003 as GRID A100D-1-10C
plan:
  1. assign vGPU type 699 to VF 0000:41:00.4
  note: the driver picks one of 2 free GPU instances of 1g.10gb; should it not be GI 3, that is undone and refused
)");
}

TEST(RenderResolution, RefusedAsATable) {
  const auto text =
      render_resolution(kMig3, {HypervisorKind::kCloudHypervisor, std::nullopt}, refused(), Format::kTable);
  EXPECT_EQ(text,
            R"(MIG-00000000-0000-5000-8000-000000000003 for cloud-hypervisor (version not known: taken for the newest)
  VERDICT   SURFACE    DEVICE                   ISOLATION  CODE                    WHY
  rejected  vendor-vf  0000:41:00.4 and 1 more  hardware   COMPAT_VGPU_NEEDS_QEMU  NVIDIA's vGPU manager looks for a QEMU command line: the device attaches and the guest's driver then fails
  rejected  gpu        0000:41:00.0             hardware   GPU_NOT_IDLE            libvirt:db2 holds a slice of it by lease 7
hint: use another hypervisor; or free what is named, or ask for a slice
)");
}

TEST(RenderResolution, GrantedAsJson) {
  const auto object = json::parse(render_resolution(kMig3, kLibvirt, granted(), Format::kJson));
  const auto expected = json::parse(R"({
    "schema": "slicebroker/1",
    "selector": "MIG-00000000-0000-5000-8000-000000000003",
    "hypervisor": "libvirt",
    "version": "11.3.0",
    "granted": true
  })");
  for (const auto& [key, value] : expected.items()) EXPECT_EQ(object.at(key), value) << key;
  ASSERT_EQ(object.at("candidates").size(), 2U);
  EXPECT_EQ(object["candidates"][0], json::parse(R"({
    "verdict": "granted",
    "surface": "vendor-vf",
    "device": "0000:41:00.4",
    "slice": "MIG-00000000-0000-5000-8000-000000000003 as GRID A100D-1-10C",
    "isolation": "hardware",
    "plan": {
      "surface": "vendor-vf",
      "device": "0000:41:00.4",
      "steps": [{"kind": "assign-vgpu-type",
                 "fields": {"gpu_instance_id": "3", "type": "699", "vf": "0000:41:00.4"},
                 "description": "assign vGPU type 699 to VF 0000:41:00.4"}],
      "leases": ["pci:0000:41:00.4", "gpu-instance:0000:41:00.0/3"]
    },
    "note": "the driver picks one of 2 free GPU instances of 1g.10gb; should it not be GI 3, that is undone and refused"
  })"));
  EXPECT_EQ(object["candidates"][1].at("verdict"), "possible");
}

TEST(RenderResolution, RefusedAsJson) {
  const auto object =
      json::parse(render_resolution(kMig3, {HypervisorKind::kCloudHypervisor, std::nullopt}, refused(), Format::kJson));
  EXPECT_EQ(object.at("schema"), "slicebroker/1");
  EXPECT_EQ(object.at("granted"), false);
  EXPECT_EQ(object.at("version"), "");
  ASSERT_EQ(object.at("candidates").size(), 3U) << "programs get each of them";
  EXPECT_EQ(object["candidates"][2], json::parse(R"({
    "verdict": "rejected",
    "surface": "gpu",
    "device": "0000:41:00.0",
    "slice": "the whole GPU",
    "isolation": "hardware",
    "reason": {"code": "GPU_NOT_IDLE",
               "fact": "libvirt:db2 holds a slice of it by lease 7",
               "remedy": "free what is named, or ask for a slice"}
  })"));
}

TEST(RenderResolution, CandidateWithoutASurfaceSaysSo) {
  const auto resolution = resolve(test::mig_gpu(), {}, test::request(kMig3)).value();
  const auto object = json::parse(render_resolution(kMig3, kLibvirt, resolution, Format::kJson));
  EXPECT_TRUE(object.at("candidates").at(0).at("surface").is_null());
  EXPECT_THAT(render_resolution(kMig3, kLibvirt, resolution, Format::kTable), HasSubstr("rejected  -  "));
}

TEST(RenderPlans, SayWhatWouldBeDoneAndThatNothingWas) {
  const auto resolution = granted();
  const auto text = render_plans({{resolution, resolution.granted()->plan}}, Format::kTable);
  EXPECT_EQ(
      text,
      "would lease MIG-00000000-0000-5000-8000-000000000003 as GRID A100D-1-10C, surface vendor-vf:\n"
      "  1. assign vGPU type 699 to VF 0000:41:00.4\n"
      "  note: the driver picks one of 2 free GPU instances of 1g.10gb; should it not be GI 3, that is undone and "
      "refused\n"
      "dry run: nothing was changed\n");
  const auto object = json::parse(render_plans({{resolution, resolution.granted()->plan}}, Format::kJson));
  EXPECT_EQ(object.at("schema"), "slicebroker/1");
  EXPECT_EQ(object.at("dry_run"), true);
  EXPECT_EQ(object.at("plans").at(0).at("device"), "0000:41:00.4");
  EXPECT_THAT(object["plans"][0].at("note").get<std::string>(), HasSubstr("one of 2 free"));
}

// attach draws another one.
TEST(RenderPlans, NameNoUuidOfAMediatedDeviceToBeMade) {
  const auto resolution = resolve(test::mdev_host(), {}, test::request("profile=1g.10gb")).value();
  const std::vector<PlannedLease> plans{{resolution, resolution.granted()->plan}};
  EXPECT_THAT(render_plans(plans, Format::kTable), HasSubstr("create mdev new UUID of type nvidia-699"));
  const auto plan = json::parse(render_plans(plans, Format::kJson)).at("plans").at(0);
  EXPECT_EQ(plan.at("device"), "new UUID");
  EXPECT_EQ(plan.at("leases").at(0), "mdev:new UUID");
  EXPECT_EQ(plan.at("steps").at(0).at("fields").at("uuid"), "new UUID");
  for (const auto format : {Format::kTable, Format::kJson}) {
    EXPECT_THAT(render_plans(plans, format), testing::Not(HasSubstr(test::kFreshMdev)));
    EXPECT_THAT(render_resolution("profile=1g.10gb", kLibvirt, resolution, format),
                testing::Not(HasSubstr(test::kFreshMdev)));
  }
}

TEST(RenderPlans, NameTheUuidOfAMediatedDeviceThatExists) {
  auto host = test::mdev_host();
  test::add_mdev(host, test::kVf0, "nvidia-468", {});
  const auto resolution = resolve(host, {}, test::request("mdev=" + test::kMdev)).value();
  EXPECT_THAT(render_plans({{resolution, resolution.granted()->plan}}, Format::kJson), HasSubstr(test::kMdev));
}

Lease attached_lease() {
  auto lease = test::mdev_lease();
  lease.generation = 7;
  lease.state = LeaseState::kAttached;
  lease.guest_address = "0000:05:00.0";
  lease.created_at = "2025-11-20T10:00:00Z";
  lease.tenant = "acme";
  lease.vm_uuid = Uuid::parse("99999999-0000-4000-8000-000000000001");
  lease.vmm = vfio::ProcessIdentity{815, 4711};
  lease.steps = {
      {vfio::CreateMdev{test::kVf0, "nvidia-699", *Uuid::parse(test::kMdev), 3}, {}, false, StepState::kDone}};
  return lease;
}

TEST(RenderLeases, AttachedAndDetachedInWords) {
  EXPECT_EQ(render_attached({attached_lease()}, Format::kTable),
            "attached mdev=6f1c2d3e-0000-5000-8000-00000000000a to libvirt:web1: mdev "
            "6f1c2d3e-0000-5000-8000-00000000000a, in the guest at 0000:05:00.0 (lease 7)\n");
  EXPECT_EQ(render_detached({{attached_lease(), false}}, DryRun::kYes, Format::kTable),
            "would detach mdev=6f1c2d3e-0000-5000-8000-00000000000a from libvirt:web1 (lease 7)\n"
            "  undo: create mdev 6f1c2d3e-0000-5000-8000-00000000000a of type nvidia-699 on 0000:41:00.4\n"
            "dry run: nothing was changed\n");
}

TEST(RenderLeases, AsTableAndJson) {
  EXPECT_EQ(render_leases({attached_lease()}, Format::kTable),
            "LEASE  STATE     OWNER         TENANT  SELECTOR                                   SURFACE  DEVICE        "
            "                        IN GUEST      SINCE\n"
            "7      attached  libvirt:web1  acme    mdev=6f1c2d3e-0000-5000-8000-00000000000a  mdev     "
            "6f1c2d3e-0000-5000-8000-00000000000a  0000:05:00.0  2025-11-20T10:00:00Z\n");
  const auto object = json::parse(render_leases({attached_lease()}, Format::kJson));
  EXPECT_EQ(object.at("schema"), "slicebroker/1");
  const auto& lease = object.at("leases").at(0);
  EXPECT_EQ(lease.at("generation"), 7);
  EXPECT_EQ(lease.at("owner"), "libvirt:web1");
  EXPECT_EQ(lease.at("state"), "attached");
  EXPECT_EQ(lease.at("steps").at(0).at("state"), "done");
  EXPECT_EQ(lease.at("leases"), json::array({"mdev:" + test::kMdev}));
  EXPECT_EQ(lease.at("tenant"), "acme");
  EXPECT_EQ(lease.at("vm_uuid"), "99999999-0000-4000-8000-000000000001");
  EXPECT_EQ(lease.at("hypervisor"), "libvirt");
  EXPECT_EQ(lease.at("vmm"), "pid 815, start time 4711");
  EXPECT_EQ(lease.at("ended_at"), "");
}

TEST(RenderLeases, LeaseThatHadEndedIsSaidToBeNoWork) {
  auto lease = attached_lease();
  lease.state = LeaseState::kReleased;
  lease.ended_at = "2025-11-20T11:00:00Z";
  EXPECT_EQ(render_detached({{lease, true}}, DryRun::kNo, Format::kTable),
            "lease 7 ended at 2025-11-20T11:00:00Z: nothing to do\nhost: untouched\n");
  const auto object = json::parse(render_detached({{lease, true}}, DryRun::kNo, Format::kJson));
  EXPECT_EQ(object.at("leases").at(0).at("had_ended"), true);
  EXPECT_EQ(object.at("leases").at(0).at("ended_at"), "2025-11-20T11:00:00Z");
  EXPECT_THAT(render_lease(lease, Format::kTable), testing::HasSubstr("2025-11-20T11:00:00Z"));
}

TEST(RenderAudit, RecordsQuarantinesAndVerdict) {
  AuditRecord record;
  record.seq = 3;
  record.generation = 7;
  record.event = "lease.begun";
  record.hash = "ab";
  EXPECT_THAT(render_audit({record}, Format::kTable), testing::HasSubstr("lease.begun"));
  const auto json_record = json::parse(render_audit({record}, Format::kJson)).at("records").at(0);
  EXPECT_EQ(json_record.at("lease"), 7);
  EXPECT_EQ(json_record.at("hash"), "ab");
  const Quarantine quarantine{{"pci:0000:41:00.0", test::kGpu}, "WEDGED", "it hangs", "2025-11-20T10:00:00Z", "uid 0"};
  EXPECT_EQ(render_quarantines({quarantine}, Format::kTable),
            "DEVICE            GPU           CODE    SINCE                 BY     WHY\n"
            "pci:0000:41:00.0  0000:41:00.0  WEDGED  2025-11-20T10:00:00Z  uid 0  it hangs\n");
  AuditVerdict verdict;
  verdict.first = 2;
  verdict.last = 9;
  verdict.head = "cd";
  verdict.noted_head = 5;
  EXPECT_EQ(render_verdict(verdict, Format::kTable),
            "records 2 to 9 are as they were written\nhead cd\n"
            "the hash given is record 5's: 4 were added since\n");
}

TEST(RenderFindings, NameWhatWasNotDone) {
  EXPECT_EQ(render_findings({}, Format::kTable), "ledger, host and hypervisors agree\n");
  Finding finding{
      7, "libvirt:web1", "mdev=x", "GUEST_GONE", "its guest no longer has the device", "restore the host", false, {}};
  finding.error = os_error("write '0'", "/sys/x", 16);
  const auto text = render_findings({finding}, Format::kTable);
  EXPECT_THAT(text, HasSubstr("its guest no longer has the device"));
  EXPECT_THAT(text, HasSubstr("lease 7: error: write '0' /sys/x"));
  const auto object = json::parse(render_findings({finding}, Format::kJson));
  EXPECT_EQ(object.at("findings").at(0).at("resolved"), false);
  EXPECT_EQ(object["findings"][0].at("code"), "GUEST_GONE");
  EXPECT_EQ(object["findings"][0].at("error").at("reason"), "EBUSY");
}

TEST(RenderHost, ListsSayWhoHoldsWhat) {
  auto lease = attached_lease();
  lease.devices = {{"gpu-instance:0000:41:00.0/3", test::kGpu}, {"pci:0000:41:00.4", test::kGpu}};
  const auto slices = json::parse(render_slices(test::vendor_host(), {{lease}, {}}, {}, Format::kJson)).at("slices");
  std::map<std::string, std::string> holders;
  for (const auto& slice : slices) holders[slice.at("selector")] = slice.at("held_by");
  EXPECT_EQ(holders, (std::map<std::string, std::string>{{test::kMig1, ""},
                                                         {kMig3, "libvirt:web1"},
                                                         {test::kMig5, ""},
                                                         {"vf=0000:41:00.4", "libvirt:web1"},
                                                         {"vf=0000:41:00.5", ""}}));
  for (const auto& [selector, holder] : holders) {
    EXPECT_TRUE(test::ok(parse_selector(selector))) << "what is listed can be asked for";
  }
  const auto gpus = json::parse(render_gpus(test::vendor_host(), {}, {}, Format::kJson)).at("gpus");
  ASSERT_EQ(gpus.size(), 1U) << "VFs are no GPUs";
  EXPECT_EQ(gpus[0].at("address"), "0000:41:00.0");
  EXPECT_EQ(gpus[0].at("mig"), "on");
  EXPECT_EQ(gpus[0].at("vf_count"), 2);
}

TEST(RenderHost, ListsSayWhatIsQuarantined) {
  LedgerView held;
  held.quarantines = {{{device_key(test::kGpu), test::kGpu}, "WEDGED", "", "", ""}};
  const auto gpus = json::parse(render_gpus(test::vendor_host(), held, {}, Format::kJson)).at("gpus");
  EXPECT_EQ(gpus.at(0).at("quarantined"), "WEDGED");
  EXPECT_THAT(render_gpus(test::vendor_host(), held, {}, Format::kTable), HasSubstr("quarantined: WEDGED"));
  const auto all = json::parse(render_slices(test::vendor_host(), held, {}, Format::kJson)).at("slices");
  for (const auto& slice : all) EXPECT_EQ(slice.at("quarantined"), "WEDGED") << "its slices go with it: " << slice;

  held.quarantines = {{{"pci:0000:41:00.4", test::kGpu}, "OPERATOR", "", "", ""}};
  EXPECT_EQ(json::parse(render_gpus(test::vendor_host(), held, {}, Format::kJson)).at("gpus")[0].at("quarantined"), "");
  const auto slices = json::parse(render_slices(test::vendor_host(), held, {}, Format::kJson)).at("slices");
  for (const auto& slice : slices) {
    EXPECT_EQ(slice.at("quarantined"), slice.at("selector") == "vf=0000:41:00.4" ? "OPERATOR" : "") << slice;
  }
}

TEST(RenderHost, ListsSayWhatIsManaged) {
  const auto host = test::vendor_host();
  Policy policy;
  policy.exclude = {test::kGpu};
  const auto gpus = json::parse(render_gpus(host, {}, policy, Format::kJson)).at("gpus");
  EXPECT_EQ(gpus.at(0).at("managed"), false);
  EXPECT_EQ(gpus[0].at("not_managed_because"), "the policy's gpus.exclude has 0000:41:00.0");
  EXPECT_THAT(render_gpus(host, {}, policy, Format::kTable), HasSubstr("MANAGED"));
  const auto slices = json::parse(render_slices(host, {}, policy, Format::kJson)).at("slices");
  const auto types = json::parse(render_types(host, policy, Format::kJson)).at("types");
  ASSERT_EQ(slices.size(), 5U);
  ASSERT_EQ(types.size(), 4U);
  for (const auto& one : {slices, types}) {
    for (const auto& entry : one) EXPECT_EQ(entry.at("managed"), false) << entry;
  }
  EXPECT_EQ(json::parse(render_slices(host, {}, {}, Format::kJson)).at("slices").at(0).at("managed"), true);
}

TEST(RenderHost, TypesAreListedOnceAGpuWithWhatBacksThem) {
  for (const auto& host : {test::vendor_host(), test::mdev_host()}) {
    const auto types = json::parse(render_types(host, {}, Format::kJson)).at("types");
    ASSERT_EQ(types.size(), 4U) << types;
    for (const auto& type : types) {
      EXPECT_EQ(type.at("free_functions"), 2) << type;
      EXPECT_EQ(type.at("profile") == "", type.at("id") == "nvidia-468") << type;
      EXPECT_TRUE(test::ok(resolve(host, {}, test::request("type=" + type.at("id").get<std::string>()))))
          << "what is listed can be asked for";
    }
  }
}

TEST(RenderProblems, AreWarningsOrNothing) {
  vfio::Inventory host;
  EXPECT_EQ(render_problems(host), "");
  host.problems = {os_error("read", "/sys/x", 5)};
  EXPECT_THAT(render_problems(host), testing::StartsWith("warning: not read: read /sys/x: failed"));
}

}  // namespace
}  // namespace slicebroker::broker
