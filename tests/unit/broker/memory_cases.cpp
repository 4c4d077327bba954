// SPDX-License-Identifier: Apache-2.0
// memory=: every slice that is large enough, smallest MIG-backed first, and what stands in for none.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Fallback;
using broker::Isolation;
using broker::Request;
using vfio::Inventory;

template <class Host, class Change>
Host with(Host host, Change change) {
  change(host);
  return host;
}

Request without_fallback(Request request) {
  request.fallback = Fallback::kNone;
  return request;
}

// Two lines for each verdict: one a VF.
std::vector<std::string> on_both(const std::vector<std::string>& verdicts, const std::vector<std::string>& more = {}) {
  std::vector<std::string> lines;
  for (const auto& verdict : verdicts) {
    lines.push_back("vendor-vf 0000:41:00.4 " + verdict);
    lines.push_back("vendor-vf 0000:41:00.5 " + (verdict == "granted" ? "possible" : verdict));
  }
  lines.insert(lines.end(), more.begin(), more.end());
  return lines;
}

const std::string kInstance1 = "gpu-instance:0000:41:00.0/1";
const std::string kInstance3 = "gpu-instance:0000:41:00.0/3";
const std::string kInstance5 = "gpu-instance:0000:41:00.0/5";

}  // namespace

// vendor_host() has of MIG-backed types 5 and 10 GiB (1g.10gb) and 40 GiB (3g.40gb), and one time-sliced of 4 GiB.
std::vector<ResolverCase> memory_cases() {
  const std::string whole = "gpu 0000:41:00.0 ";
  return {
      {"memory", vendor_host(), {}, request("memory=10GiB"), on_both({"granted", "possible"}, {whole + "possible"})},
      {"memory, a little more than a type has",
       vendor_host(),
       {},
       request("memory=10241MiB"),
       on_both({"granted"}, {whole + "possible"})},
      {"memory in GB, which a type of as many GiB has",
       vendor_host(),
       {},
       request("memory=40GB"),
       on_both({"granted"}, {whole + "possible"})},
      {"memory, time-sliced ones after MIG-backed ones",
       vendor_host(),
       {},
       request("memory=4GiB"),
       on_both({"granted", "possible", "possible", "possible"}, {whole + "possible"})},
      {"memory where hardware is demanded",
       vendor_host(),
       {},
       with(request("memory=4GiB"), [](Request& r) { r.isolation = Isolation::kHardware; }),
       on_both({"granted", "possible", "possible", "ISOLATION_TOO_LOW"}, {whole + "possible"})},
      {"memory without fallback",
       vendor_host(),
       {},
       without_fallback(request("memory=10GiB")),
       on_both({"granted", "possible"})},
      {"memory, the smaller instances are taken",
       vendor_host(),
       {hold(kInstance3), hold(kInstance5)},
       request("memory=10GiB"),
       on_both({"granted", "GPU_INSTANCES_TAKEN"}, {whole + "GPU_NOT_IDLE"})},
      {"memory, every instance that fits is taken: no whole GPU around the holder",
       vendor_host(),
       {hold(kInstance1)},
       request("memory=20GiB"),
       on_both({"GPU_INSTANCES_TAKEN"})},
      {"memory that only the whole GPU has", vendor_host(), {}, request("memory=41GiB"), {whole + "granted"}},
      {"memory of a GPU without slices",
       with(plain_gpu(), [](Inventory& host) { host.nvidia->gpus[0].memory_mib = 46068; }),
       {},
       request("memory=40GiB"),
       {whole + "granted"}},
      {"memory, VFs are off",
       mig_gpu(),
       {},
       request("memory=9GiB"),
       {"- 0000:41:00.0 VFS_NOT_ENABLED", "- 0000:41:00.0 VFS_NOT_ENABLED", whole + "granted"}},
      {"memory for Cloud Hypervisor",
       vendor_host(),
       {},
       request_for("memory=20GiB", hypervisors::HypervisorKind::kCloudHypervisor, std::nullopt),
       on_both({"COMPAT_VGPU_NEEDS_QEMU"}, {whole + "granted"})},
      {"memory where an mdev was agreed",
       vendor_host(),
       {},
       with(request("memory=20GiB"), [](Request& r) { r.only_mdev = true; }),
       on_both({"NOT_THE_AGREED_DEVICE"})},
      {"memory that only a whole GPU has, where an mdev was agreed, is told why",
       mig_gpu(),
       {},
       with(request("memory=80GiB"), [](Request& r) { r.only_mdev = true; }),
       {"gpu 0000:41:00.0 NOT_THE_AGREED_DEVICE"}},
      {"memory where the whole GPU was agreed",
       vendor_host(),
       {},
       with(request("memory=20GiB"), [](Request& r) { r.only_function = kGpu; }),
       on_both({"NOT_THE_AGREED_DEVICE"}, {whole + "granted"})},
      {"memory, MIG is off",
       with(vendor_host(), switch_mig_off),
       {},
       request("memory=4GiB"),
       on_both({"granted", "MIG_MODE_OFF", "MIG_MODE_OFF", "MIG_MODE_OFF"}, {whole + "possible"})},
  };
}

}  // namespace slicebroker::test
