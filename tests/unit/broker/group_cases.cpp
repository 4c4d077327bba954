// SPDX-License-Identifier: Apache-2.0
// Whole functions with their IOMMU group: gpu= and plain VFs.
#include "tests/unit/broker/resolver_cases.h"

namespace slicebroker::test {
namespace {

using broker::Hold;
using broker::HoldKind;
using broker::Request;
using vfio::Inventory;

template <class Change>
Inventory with(Inventory host, Change change) {
  change(host);
  return host;
}

constexpr std::uint32_t kAudioClass = 0x040300;
constexpr std::uint32_t kBridgeClass = 0x060400;
constexpr std::uint32_t kNvswitchClass = 0x068000;

// The GPU with one more function in its IOMMU group.
Inventory with_companion(std::uint32_t class_code, std::optional<std::string> driver,
                         std::vector<std::string> vfio_devices = {}) {
  return with(plain_gpu(), [&](Inventory& host) {
    add(host, pci(kAudio, {.class_code = class_code,
                           .driver = std::move(driver),
                           .iommu_group = 13,
                           .vfio_devices = std::move(vfio_devices)}));
  });
}

Request allowing(const PciAddress& companion) {
  auto made = request("gpu=41:00.0");
  made.allowed_group_members = {companion};
  return made;
}

// What holds the GPU is no lease.
std::vector<Hold> held_as(HoldKind kind) {
  auto made = hold(broker::device_key(kGpu));
  made.kind = kind;
  return {made};
}

// A plain VF of another vendor's card.
Inventory plain_vf() {
  return with(plain_gpu(), [](Inventory& host) {
    auto vf = pci(kVf0, {.driver = "igbvf", .iommu_group = 40, .vendor = 0x8086});
    vf.physical_function = kGpu;
    add(host, std::move(vf));
  });
}

// The GPU with another one in its IOMMU group, which the request lets go along.
template <class Change>
Inventory with_second_gpu(Change change) {
  auto host = with(plain_gpu(), [](Inventory& made) { add(made, pci(kOtherGpu, {.iommu_group = 13})); });
  vfio::nvidia::Gpu known;
  known.address = kOtherGpu;
  host.nvidia->gpus.push_back(known);
  change(host, function_at(host, kOtherGpu));
  return host;
}

// A host on which something of the function does not answer.
Inventory with_silent(Inventory host, const PciAddress& function) {
  host.silences.push_back({"/sys/bus/pci/devices/" + function.to_string() + "/driver_override", function, {}});
  return host;
}

Inventory on_fabric() {
  return with(plain_gpu(), [](Inventory& host) { add_nvswitch(host); });
}

Request allowing_nvswitch(Request request) {
  request.allow_nvswitch = true;
  return request;
}

}  // namespace

std::vector<ResolverCase> group_cases() {
  const std::vector<std::string> granted{"gpu 0000:41:00.0 granted"};
  const std::vector<std::string> not_viable{"gpu 0000:41:00.0 GROUP_NOT_VIABLE"};
  const std::vector<std::string> not_idle{"gpu 0000:41:00.0 GPU_NOT_IDLE"};
  const std::vector<std::string> held{"gpu 0000:41:00.0 HELD_BY_PROCESS"};
  const auto gpu = request("gpu=41:00.0");
  return {
      {"GPU by address", plain_gpu(), {}, gpu, granted},
      {"GPU that does not answer", with_silent(plain_gpu(), kGpu), {}, gpu, {"gpu 0000:41:00.0 DEVICE_SILENT"}},
      {"GPU whose companion does not answer",
       with_silent(with_companion(kAudioClass, {}), kAudio),
       {},
       gpu,
       {"gpu 0000:41:00.0 DEVICE_SILENT"}},
      {"VF whose GPU does not answer",
       with_silent(plain_vf(), kGpu),
       {},
       request("vf=41:00.4"),
       {"vf 0000:41:00.4 DEVICE_SILENT"}},
      {"GPU whose VF does not answer", with_silent(plain_vf(), kVf0), {}, gpu, {"gpu 0000:41:00.0 DEVICE_SILENT"}},
      {"GPU while another one does not answer", with_silent(plain_gpu(), {0, 0xc4, 0, 0}), {}, gpu, granted},
      {"GPU by UUID", mig_gpu(), {}, request("gpu=" + kGpuUuid), granted},
      {"GPU in quarantine", plain_gpu(), held_as(HoldKind::kQuarantine), gpu, {"gpu 0000:41:00.0 QUARANTINED"}},
      {"GPU of another tool", plain_gpu(), held_as(HoldKind::kForeign), gpu, {"gpu 0000:41:00.0 FOREIGN_OWNER"}},
      {"GPU for Cloud Hypervisor",
       plain_gpu(),
       {},
       request_for("gpu=41:00.0", hypervisors::HypervisorKind::kCloudHypervisor, std::nullopt),
       granted},
      {"GPU on vfio-pci, which is then not needed",
       with(plain_gpu(),
            [](Inventory& host) {
              function_at(host, kGpu).vfio_devices = {"vfio0"};
              host.vfio_pci_loaded = false;
            }),
       {},
       gpu,
       granted},
      {"vfio-pci not loaded",
       with(plain_gpu(), [](Inventory& host) { host.vfio_pci_loaded = false; }),
       {},
       gpu,
       {"gpu 0000:41:00.0 VFIO_PCI_NOT_LOADED"}},
      {"no IOMMU",
       with(plain_gpu(), [](Inventory& host) { function_at(host, kGpu).iommu_group = std::nullopt; }),
       {},
       gpu,
       {"gpu 0000:41:00.0 IOMMU_OFF"}},
      {"GPU whose MIG layout can't be recorded", gpu_without_nvml(), {}, gpu, {"gpu 0000:41:00.0 MIG_LAYOUT_UNKNOWN"}},
      {"GPU is leased", plain_gpu(), {hold("pci:0000:41:00.0")}, gpu, {"gpu 0000:41:00.0 LEASED"}},
      {"another GPU is leased", plain_gpu(), {hold("pci:0000:c4:00.0", "libvirt:x", 1, kOtherGpu)}, gpu, granted},
      {"companion is leased",
       with_companion(kAudioClass, {}),
       {hold("pci:0000:41:00.1")},
       gpu,
       {"gpu 0000:41:00.0 LEASED"}},
      {"slice of it is leased", mig_gpu(), {hold("gpu-instance:0000:41:00.0/3")}, gpu, not_idle},
      {"VF of it is leased", plain_vf(), {hold("pci:0000:41:00.4")}, gpu, not_idle},
      {"mdev of others on its VF",
       with(mdev_host(), [](Inventory& host) { add_mdev(host, kVf0, "nvidia-468", {}); }),
       {},
       gpu,
       not_idle},
      {"vGPU of others on its VF",
       with(vendor_host(), [](Inventory& host) { vendor_vf_at(host, kVf0).current_type = 468; }),
       {},
       gpu,
       not_idle},
      {"vGPU that only NVML knows of",
       with(mig_gpu(),
            [](Inventory& host) {
              host.nvidia->gpus[0].active_vgpus = {{699, 3, {}}};
            }),
       {},
       gpu,
       not_idle},
      {"process on the host uses it",
       with(plain_gpu(),
            [](Inventory& host) {
              host.holders = {{815, "python3", "/dev/nvidia0"}};
            }),
       {},
       gpu,
       held},
      {"process has the companion",
       with(with_companion(kAudioClass, {}, {"vfio1"}),
            [](Inventory& host) {
              host.holders = {{815, "qemu", "/dev/vfio/devices/vfio1"}};
            }),
       {},
       gpu,
       held},
      {"process uses another GPU",
       with(plain_gpu(),
            [](Inventory& host) {
              host.holders = {{815, "python3", "/dev/nvidia1"}};
            }),
       {},
       gpu,
       granted},
      {"companion on a driver of the host", with_companion(kAudioClass, "snd_hda_intel"), {}, gpu, not_viable},
      {"companion on a driver of the host, allowed",
       with_companion(kAudioClass, "snd_hda_intel"),
       {},
       allowing(kAudio),
       granted},
      {"another one is allowed", with_companion(kAudioClass, "snd_hda_intel"), {}, allowing(kVf0), not_viable},
      {"companion without driver", with_companion(kAudioClass, {}), {}, gpu, granted},
      {"companion on vfio-pci", with_companion(kAudioClass, "vfio-pci", {"vfio1"}), {}, gpu, granted},
      {"companion on pci-stub", with_companion(kAudioClass, "pci-stub"), {}, gpu, granted},
      {"companion is another GPU, idle", with_companion(0x030000, {}), {}, gpu, not_viable},
      {"companion is another GPU, allowed", with_companion(0x030000, {}), {}, allowing(kAudio), granted},
      {"bridge in the group", with_companion(kBridgeClass, "pcieport"), {}, gpu, granted},
      {"NVSwitch in the group", with_companion(kNvswitchClass, "nvidia-nvswitch"), {}, gpu, not_viable},
      {"NVSwitch on the host", on_fabric(), {}, gpu, {"gpu 0000:41:00.0 NVSWITCH_FABRIC"}},
      {"NVSwitch on the host, allowed", on_fabric(), {}, allowing_nvswitch(gpu), granted},
      {"NVSwitch on vfio-pci: a service VM's",
       with(on_fabric(), [](Inventory& host) { function_at(host, kNvswitch).vfio_devices = {"vfio9"}; }),
       {},
       gpu,
       granted},
      {"NVSwitch without a driver",
       with(on_fabric(), [](Inventory& host) { function_at(host, kNvswitch).driver = std::nullopt; }),
       {},
       gpu,
       granted},
      {"GPU of another vendor beside an NVSwitch",
       with(on_fabric(),
            [](Inventory& host) {
              function_at(host, kGpu).vendor = 0x1002;
              function_at(host, kGpu).driver = "amdgpu";
            }),
       {},
       gpu,
       granted},
      {"NVSwitch asked for as a GPU", on_fabric(), {}, request("gpu=05:00.0"), {"gpu 0000:05:00.0 NOT_A_GPU"}},
      {"function is no GPU",
       with_companion(kAudioClass, {}),
       {},
       request("gpu=41:00.1"),
       {"gpu 0000:41:00.1 NOT_A_GPU"}},
      {"VF is no GPU", vendor_host(), {}, request("gpu=41:00.4"), {"gpu 0000:41:00.4 NOT_A_GPU"}},
      {"agreed on another function",
       plain_gpu(),
       {},
       [] {
         auto r = request("gpu=41:00.0");
         r.only_function = kOtherGpu;
         return r;
       }(),
       {"gpu 0000:41:00.0 NOT_THE_AGREED_DEVICE"}},
      {"second GPU of the group goes along",
       with_second_gpu([](Inventory&, vfio::PciFunction&) {}),
       {},
       allowing(kOtherGpu),
       granted},
      {"second GPU of the group is handed over from under its VFs",
       with_second_gpu([](Inventory&, vfio::PciFunction& second) { second.vf_count = 2; }),
       {},
       allowing(kOtherGpu),
       not_idle},
      {"second GPU of the group is handed over from under its mediated device",
       with_second_gpu([](Inventory& host, vfio::PciFunction&) { add_mdev(host, kOtherGpu, "nvidia-231", {}); }),
       {},
       allowing(kOtherGpu),
       not_idle},
      {"second GPU of the group is handed over from under a lease of its slice",
       with_second_gpu([](Inventory&, vfio::PciFunction&) {}),
       {hold("mdev:" + kMdev, "libvirt:db2", 7, kOtherGpu)},
       allowing(kOtherGpu),
       not_idle},
      {"second GPU of the group loses its MIG mode",
       with_second_gpu(
           [](Inventory& host, vfio::PciFunction&) { host.nvidia->gpus.back().mig_mode = vfio::nvidia::MigMode::kOn; }),
       {},
       allowing(kOtherGpu),
       not_idle},
      {"second GPU of the group, of which NVML does not tell",
       with_second_gpu([](Inventory& host, vfio::PciFunction&) { host.nvidia->gpus.pop_back(); }),
       {},
       allowing(kOtherGpu),
       {"gpu 0000:41:00.0 MIG_LAYOUT_UNKNOWN"}},
      {"plain VF", plain_vf(), {}, request("vf=41:00.4"), {"vf 0000:41:00.4 granted"}},
      {"plain VF where hardware is demanded",
       plain_vf(),
       {},
       [] {
         auto r = request("vf=41:00.4");
         r.isolation = broker::Isolation::kHardware;
         return r;
       }(),
       {"vf 0000:41:00.4 ISOLATION_TOO_LOW"}},
      {"plain VF of a GPU that is leased whole",
       plain_vf(),
       {hold("pci:0000:41:00.0")},
       request("vf=41:00.4"),
       {"vf 0000:41:00.4 LEASED"}},
      {"plain VF where time-sliced is demanded",
       plain_vf(),
       {},
       [] {
         auto r = request("vf=41:00.4");
         r.isolation = broker::Isolation::kTimeSliced;
         return r;
       }(),
       {"vf 0000:41:00.4 granted"}},
      {"plain VF of an AMD card on a variant driver, which it stays on",
       with(plain_vf(),
            [](Inventory& host) {
              function_at(host, kVf0).vendor = 0x1002;
              function_at(host, kVf0).vfio_devices = {"vfio4"};
              host.vfio_pci_loaded = false;
            }),
       {},
       request("vf=41:00.4"),
       {"vf 0000:41:00.4 granted"}},
      {"plain VF of a NIC for Cloud Hypervisor",
       with(plain_vf(), [](Inventory& host) { function_at(host, kVf0).class_code = 0x020000; }),
       {},
       request_for("vf=41:00.4", hypervisors::HypervisorKind::kCloudHypervisor, std::nullopt),
       {"vf 0000:41:00.4 granted"}},
      {"plain VF is leased", plain_vf(), {hold("pci:0000:41:00.4")}, request("vf=41:00.4"), {"vf 0000:41:00.4 LEASED"}},
      {"NVIDIA VF that nothing surfaces",
       mig_gpu_with_vfs(),
       {},
       request("vf=41:00.4"),
       {"vf 0000:41:00.4 VGPU_DRIVER_ABSENT"}},
      {"NVIDIA VF on a variant driver of the kernel",
       with(mig_gpu_with_vfs(), [](Inventory& host) { function_at(host, kVf0).vfio_devices = {"vfio4"}; }),
       {},
       request("vf=41:00.4"),
       {"vf 0000:41:00.4 granted"}},
      {"vf= of a parent of mediated devices", gvt_host(), {}, request("vf=00:02.0"), {"vf 0000:00:02.0 NOT_A_VF"}},
      {"vf= of a physical function", plain_gpu(), {}, request("vf=41:00.0"), {"vf 0000:41:00.0 NOT_A_VF"}},
  };
}

}  // namespace slicebroker::test
