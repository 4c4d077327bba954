// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/broker/inventories.h"

#include <algorithm>
#include <stdexcept>

namespace slicebroker::test {
namespace {

using vfio::Inventory;
using vfio::nvidia::GpuInstance;
using vfio::nvidia::VgpuType;

GpuInstance instance(std::uint32_t id, std::uint32_t profile, std::uint32_t start, std::uint32_t size,
                     const std::string& mig_uuid) {
  GpuInstance made;
  made.id = id;
  made.profile_id = profile;
  made.placement = {start, size};
  made.compute_instances = {{0, 100, {0, 1}, mig_uuid}};
  return made;
}

const std::vector<VgpuType> kTypes{{468, "GRID A100D-4C", {}, 4096},
                                   {698, "GRID A100D-1-5C", 19, 5120},
                                   {699, "GRID A100D-1-10C", 19, 10240},
                                   {702, "GRID A100D-3-40C", 9, 40960}};

vfio::nvidia::Gpu a100() {
  vfio::nvidia::Gpu gpu;
  gpu.address = kGpu;
  gpu.uuid = kGpuUuid;
  gpu.name = "NVIDIA A100 80GB PCIe";
  gpu.minor = 0;
  gpu.memory_mib = 81920;
  gpu.mig_mode = vfio::nvidia::MigMode::kOn;
  gpu.pending_mig_mode = gpu.mig_mode;
  gpu.profiles = {{19, "1g.10gb", 1, 7, 9728}, {14, "2g.20gb", 2, 3, 19968}, {9, "3g.40gb", 3, 2, 40192}};
  gpu.instances = {instance(1, 9, 4, 4, kMig1), instance(3, 19, 0, 1, kMig3), instance(5, 19, 1, 1, kMig5)};
  gpu.vgpu_types = kTypes;
  return gpu;
}

}  // namespace

vfio::PciFunction pci(const PciAddress& address, const Pci& state) {
  vfio::PciFunction function;
  function.address = address;
  function.vendor = state.vendor;
  function.device = 0x20b5;
  function.class_code = state.class_code;
  function.driver = state.driver;
  function.driver_override = "(null)";
  function.iommu_group = state.iommu_group;
  function.vfio_devices = state.vfio_devices;
  return function;
}

void add(Inventory& host, vfio::PciFunction function) {
  const auto at = std::find_if(host.functions.begin(), host.functions.end(),
                               [&](const auto& other) { return function.address < other.address; });
  host.functions.insert(at, std::move(function));
}

vfio::PciFunction& function_at(Inventory& host, const PciAddress& address) {
  for (auto& function : host.functions) {
    if (function.address == address) return function;
  }
  throw std::out_of_range(address.to_string());
}

Inventory gpu_without_nvml() {
  Inventory host;
  host.vfio_pci_loaded = true;
  auto gpu = pci(kGpu, {.iommu_group = 13});
  gpu.nvidia_minor = 0;
  gpu.vf_total = 16;
  add(host, std::move(gpu));
  Error no_nvml;
  no_nvml.code = ErrorCode::kNotFound;
  no_nvml.reason = "NVML_NOT_FOUND";
  no_nvml.fact = "libnvidia-ml.so.1: cannot open shared object file";
  no_nvml.hint = "install NVIDIA's driver";
  host.nvml_error = no_nvml;
  return host;
}

Inventory plain_gpu() {
  auto host = gpu_without_nvml();
  host.nvml_error = std::nullopt;
  vfio::nvidia::Gpu gpu;
  gpu.address = kGpu;
  gpu.uuid = kGpuUuid;
  gpu.minor = 0;
  host.nvidia = vfio::nvidia::Driver{"570.124.06", {gpu}, {}};
  return host;
}

Inventory mig_gpu() {
  auto host = plain_gpu();
  host.nvidia = vfio::nvidia::Driver{"570.124.06", {a100()}, {}};
  return host;
}

Inventory mig_gpu_with_vfs() {
  auto host = mig_gpu();
  std::uint32_t group = 40;
  for (const auto& address : {kVf0, kVf1}) {
    auto vf = pci(address, {.iommu_group = group++, .vfio_devices = {}});
    vf.physical_function = kGpu;
    add(host, std::move(vf));
  }
  auto& gpu = function_at(host, kGpu);
  gpu.vf_count = 2;
  gpu.virtual_functions = {kVf0, kVf1};
  return host;
}

Inventory vendor_host() {
  auto host = mig_gpu_with_vfs();
  for (const auto& address : {kVf0, kVf1}) {
    function_at(host, address).vfio_devices = {"vfio" + std::to_string(address.function)};
    vfio::nvidia::VendorVf vf;
    vf.address = address;
    for (const auto& type : kTypes) vf.creatable.push_back({type.id, type.name});
    host.vendor_vfs.push_back(std::move(vf));
  }
  return host;
}

Inventory mdev_host() {
  auto host = mig_gpu_with_vfs();
  for (const auto& address : {kVf0, kVf1}) {
    for (const auto& type : kTypes) {
      host.mdev_types.push_back({address, "nvidia-" + std::to_string(type.id), type.name, "vfio-pci", 1});
    }
  }
  return host;
}

Inventory gvt_host() {
  Inventory host;
  host.vfio_pci_loaded = true;
  add(host, pci(kIntelGpu, {.class_code = 0x030000, .driver = "i915", .iommu_group = 1, .vendor = 0x8086}));
  host.mdev_types = {{kIntelGpu, "i915-GVTg_V5_4", "GVTg_V5_4", "vfio-pci", 2},
                     {kIntelGpu, "i915-GVTg_V5_8", "GVTg_V5_8", "vfio-pci", 0}};
  return host;
}

void add_nvswitch(Inventory& host) {
  add(host, pci(kNvswitch, {.class_code = 0x068000, .driver = "nvidia-nvswitch", .iommu_group = 90}));
}

void switch_mig_off(Inventory& host) {
  auto& gpu = host.nvidia->gpus.at(0);
  gpu.mig_mode = gpu.pending_mig_mode = vfio::nvidia::MigMode::kOff;
  gpu.instances.clear();
  for (const std::uint32_t id : {698U, 699U, 702U}) {
    set_available(host, "nvidia-" + std::to_string(id), 0);
    for (auto& vf : host.vendor_vfs) std::erase_if(vf.creatable, [&](const auto& type) { return type.id == id; });
  }
}

vfio::nvidia::VendorVf& vendor_vf_at(Inventory& host, const PciAddress& address) {
  for (auto& vf : host.vendor_vfs) {
    if (vf.address == address) return vf;
  }
  throw std::out_of_range(address.to_string());
}

void add_mdev(Inventory& host, const PciAddress& parent, const std::string& type_id,
              std::optional<std::uint32_t> gpu_instance, std::uint32_t iommu_group) {
  vfio::MdevDevice mdev;
  mdev.uuid = *Uuid::parse(kMdev);
  mdev.parent = parent;
  mdev.type_id = type_id;
  mdev.iommu_group = iommu_group;
  mdev.vfio_devices = {"vfio" + std::to_string(iommu_group)};
  mdev.gpu_instance_id = gpu_instance;
  host.mdevs.push_back(std::move(mdev));
}

void set_available(Inventory& host, const std::string& type_id, std::uint32_t available) {
  for (auto& type : host.mdev_types) {
    if (type.id == type_id) type.available = available;
  }
}

broker::Request request_for(const std::string& selector, hypervisors::HypervisorKind hypervisor,
                            std::optional<hypervisors::Version> version) {
  broker::Request request;
  request.selector = broker::parse_selector(selector).value();
  request.target = {hypervisor, version};
  request.mdev_uuid = *Uuid::parse(kFreshMdev);
  return request;
}

broker::Request request(const std::string& selector) {
  return request_for(selector, hypervisors::HypervisorKind::kLibvirt, hypervisors::Version{11, 3, 0});
}

broker::Hold hold(const std::string& device, const std::string& owner, std::int64_t generation, const PciAddress& gpu) {
  return {{device, gpu}, generation, owner};
}

std::vector<std::string> verdicts(const broker::Resolution& resolution) {
  std::vector<std::string> lines;
  for (const auto& candidate : resolution.candidates) {
    const std::string verdict = !candidate.accepted()                ? candidate.code
                                : &candidate == resolution.granted() ? "granted"
                                                                     : "possible";
    const std::string surface(candidate.surface ? hypervisors::name(*candidate.surface) : "-");
    lines.push_back(surface + " " + candidate.device + " " + verdict);
  }
  return lines;
}

std::vector<std::string> descriptions(const std::vector<vfio::Step>& steps) {
  std::vector<std::string> lines;
  for (const auto& step : steps) lines.push_back(describe(step));
  return lines;
}

}  // namespace slicebroker::test
