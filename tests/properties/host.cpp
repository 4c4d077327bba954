// SPDX-License-Identifier: Apache-2.0
#include "tests/properties/world.h"

#include <algorithm>

#include "vfio/base/text.h"

namespace slicebroker::properties {
namespace {

using hypervisors::HypervisorKind;
using hypervisors::Surface;
using vfio::Inventory;
using vfio::PciFunction;
using vfio::nvidia::VgpuType;

struct Model {
  std::uint16_t vendor;
  std::uint16_t device;
  std::uint32_t class_code;
  std::string driver;
  unsigned most_vfs;
  std::vector<vfio::nvidia::GpuInstanceProfile> profiles;
  std::vector<VgpuType> types;  // of NVIDIA's vGPU host driver
  std::vector<std::string> gvt_types;
};

const std::vector<vfio::nvidia::GpuInstanceProfile> kProfiles{
    {19, "1g.10gb", 1, 7, 9728}, {14, "2g.20gb", 2, 3, 19968}, {9, "3g.40gb", 3, 2, 40192}};

const Model& model_of(Board board) {
  static const Model kModels[] = {
      {0x10de,
       0x20b5,
       0x030200,
       "nvidia",
       4,
       kProfiles,
       {{468, "GRID A100D-4C", {}, 4096},
        {699, "GRID A100D-1-10C", 19, 10240},
        {698, "GRID A100D-1-5C", 19, 5120},
        {702, "GRID A100D-3-40C", 9, 40960}},
       {}},
      {0x10de,
       0x26b9,
       0x030200,
       "nvidia",
       4,
       {},
       {{1155, "NVIDIA L40S-8Q", {}, 8192}, {1158, "NVIDIA L40S-24Q", {}, 24576}},
       {}},
      {0x10de, 0x1eb8, 0x030200, "nvidia", 0, {}, {{231, "GRID T4-2Q", {}, 2048}, {232, "GRID T4-4Q", {}, 4096}}, {}},
      {0x10de, 0x2342, 0x030200, "nvidia", 0, kProfiles, {}, {}},
      {0x1002, 0x74a1, 0x120000, "gim", 4, {}, {}, {}},
      {0x8086, 0x5912, 0x030000, "i915", 0, {}, {}, {"i915-GVTg_V5_4", "i915-GVTg_V5_8"}},
      {0x8086, 0x56c0, 0x038000, "xe", 4, {}, {}, {}},
  };
  return kModels[static_cast<std::size_t>(board)];
}

Uuid numbered_uuid(unsigned number) {
  std::string tail = std::to_string(number);
  return *Uuid::parse("11111111-1111-4111-8111-" + std::string(12 - tail.size(), '0') + tail);
}

// Makes one GPU with its VFs, companions and vGPUs.
class GpuMaker {
 public:
  GpuMaker(Inventory& host, const HostDraft& all, const GpuDraft& draft, unsigned number)
      : host_(host), all_(all), draft_(draft), model_(model_of(draft.board)), number_(number) {
    bus_ = static_cast<std::uint8_t>(0x10 * (number + 1));
    gpu_ = {0, bus_, 0, 0};
    own_driver_ = draft.on == OnDriver::kOwn;
    nvml_ = all.nvml && own_driver_ && model_.vendor == vfio::kVendorNvidia && draft.known_to_nvml;
  }

  void make() {
    make_functions();
    if (draft_.board == Board::kGraceHopper) {
      host_.vfio_variants.push_back({gpu_, "nvgrace-gpu-vfio-pci", draft_.variant_loaded});
    }
    vfio::nvidia::Gpu known = known_gpu();
    make_surfaces();
    make_vgpus(known);
    if (draft_.hidden_vgpu && nvml_) known.active_vgpus.push_back({468, {}, {}});
    if (nvml_) host_.nvidia->gpus.push_back(std::move(known));
  }

 private:
  unsigned vf_count() const { return own_driver_ ? std::min(draft_.vfs, model_.most_vfs) : 0; }
  PciAddress vf(unsigned n) const { return {0, bus_, 0, static_cast<std::uint8_t>(4 + n)}; }

  PciFunction function_at(const PciAddress& address, unsigned group) const {
    PciFunction function;
    function.address = address;
    function.vendor = model_.vendor;
    function.device = model_.device;
    function.class_code = model_.class_code;
    function.driver_override = "(null)";
    if (all_.iommu) function.iommu_group = group;
    return function;
  }

  void bind(PciFunction& function, const std::string& driver) const {
    function.driver = driver;
    if (driver != "vfio-pci") return;
    function.vfio_devices = {"vfio" + std::to_string(16 * function.address.bus + function.address.function)};
  }

  unsigned group() const {
    unsigned first = number_;
    while (first > 0 && all_.gpus[first].in_group_before) --first;
    return 100 * (first + 1);
  }

  void make_functions() {
    auto gpu = function_at(gpu_, group());
    if (draft_.on != OnDriver::kNone) bind(gpu, own_driver_ ? model_.driver : "vfio-pci");
    if (gpu.driver == "nvidia") gpu.nvidia_minor = number_;
    gpu.vf_total = static_cast<std::uint16_t>(model_.most_vfs);
    gpu.vf_count = static_cast<std::uint16_t>(vf_count());
    for (unsigned n = 0; n < vf_count(); ++n) gpu.virtual_functions.push_back(vf(n));
    host_.functions.push_back(std::move(gpu));
    for (unsigned n = 0; n < std::min<std::size_t>(draft_.companions.size(), 3); ++n) make_companion(n);
    for (unsigned n = 0; n < vf_count(); ++n) {
      auto made = function_at(vf(n), draft_.vfs_in_group ? group() : 100 * (number_ + 1) + 10 + n);
      made.physical_function = gpu_;
      if (model_.vendor == vfio::kVendorNvidia) bind(made, "nvidia");
      host_.functions.push_back(std::move(made));
    }
  }

  void make_companion(unsigned n) {
    struct Kind {
      std::uint32_t class_code;
      const char* driver;
    };
    static constexpr Kind kKinds[] = {
        {0x040300, "snd_hda_intel"}, {0x0c0330, "xhci_hcd"}, {0x060400, "pcieport"}, {0x068000, "nvidia-nvswitch"}};
    const auto& drawn = draft_.companions[n];
    const auto& kind = kKinds[drawn.kind];
    auto companion = function_at({0, bus_, 0, static_cast<std::uint8_t>(1 + n)}, group());
    companion.device = 0x1aef;
    companion.class_code = kind.class_code;
    const char* drivers[] = {"", kind.driver, "vfio-pci", "pci-stub"};
    if (drawn.driver != 0) bind(companion, drivers[drawn.driver]);
    host_.functions.push_back(std::move(companion));
  }

  vfio::nvidia::Gpu known_gpu() const {
    vfio::nvidia::Gpu gpu;
    gpu.address = gpu_;
    gpu.uuid = "GPU-" + numbered_uuid(900 + number_).to_string();
    gpu.minor = number_;
    gpu.profiles = model_.profiles;
    if (draft_.framework != Framework::kNone) gpu.vgpu_types = model_.types;
    gpu.vgpu_heterogeneous = draft_.mixed_sizes;
    gpu.memory_mib = 81920;
    if (gpu.profiles.empty()) return gpu;
    gpu.mig_mode = gpu.pending_mig_mode = draft_.mig ? vfio::nvidia::MigMode::kOn : vfio::nvidia::MigMode::kOff;
    for (std::uint32_t id = 0; draft_.mig && id < draft_.instances.size(); ++id) {
      const auto& drawn = draft_.instances[id];
      vfio::nvidia::GpuInstance instance{id + 1, gpu.profiles[drawn.profile].id, {id, 1}, {}};
      for (std::uint32_t ci = 0; ci < drawn.compute_instances; ++ci) {
        const auto uuid = numbered_uuid(100 * (number_ + 1) + 10 * id + ci);
        instance.compute_instances.push_back({ci, 0, {ci, 1}, "MIG-" + uuid.to_string()});
      }
      gpu.instances.push_back(std::move(instance));
    }
    return gpu;
  }

  void add_types(const PciAddress& parent) {
    for (const auto& type : model_.types) {
      host_.mdev_types.push_back(
          {parent, "nvidia-" + std::to_string(type.id), type.name, "vfio-pci", draft_.available});
    }
    for (const auto& type : model_.gvt_types) {
      host_.mdev_types.push_back({parent, type, type, "vfio-pci", draft_.available});
    }
  }

  void add_vendor_vf(const PciAddress& address) {
    vfio::nvidia::VendorVf made;
    made.address = address;
    for (const auto& type : model_.types) {
      if (draft_.available > 0) made.creatable.push_back({type.id, type.name});
    }
    host_.vendor_vfs.push_back(std::move(made));
    for (auto& function : host_.functions) {
      if (function.address == address) function.vfio_devices = {"vfio" + std::to_string(16 * bus_ + address.function)};
    }
  }

  void make_surfaces() {
    if (!own_driver_ || draft_.framework == Framework::kNone) return;
    if (model_.most_vfs == 0) add_types(gpu_);
    if (model_.types.empty()) return;
    for (unsigned n = 0; n < vf_count(); ++n) {
      if (draft_.framework == Framework::kMdev) add_types(vf(n));
      if (draft_.framework == Framework::kVendor) add_vendor_vf(vf(n));
    }
  }

  void make_vgpus(vfio::nvidia::Gpu& known) {
    for (const auto& drawn : draft_.vgpus) make_vgpu(drawn, known);
  }

  // A MIG-backed one needs an instance that none is on yet.
  std::optional<std::uint32_t> instance_for(const VgpuType& type, const VgpuDraft& drawn,
                                            const vfio::nvidia::Gpu& known) const {
    std::vector<std::uint32_t> free;
    for (const auto& instance : known.instances) {
      const bool taken = std::any_of(known.active_vgpus.begin(), known.active_vgpus.end(),
                                     [&](const auto& vgpu) { return vgpu.gpu_instance_id == instance.id; });
      if (instance.profile_id == type.gpu_instance_profile_id && !taken) free.push_back(instance.id);
    }
    if (free.empty()) return std::nullopt;
    return free[drawn.instance % free.size()];
  }

  void make_vgpu(const VgpuDraft& drawn, vfio::nvidia::Gpu& known) {
    if (!own_driver_ || draft_.framework == Framework::kNone) return;
    if (model_.most_vfs != 0 && vf_count() == 0) return;
    const auto address = model_.most_vfs == 0 ? gpu_ : vf(drawn.function % vf_count());
    if (model_.types.empty()) return add_gvt(drawn);
    const auto& type = model_.types[drawn.type % model_.types.size()];
    const auto instance = instance_for(type, drawn, known);
    if (type.gpu_instance_profile_id && !instance) return;
    if (model_.most_vfs != 0 && draft_.framework == Framework::kVendor) {
      auto& carrier = *std::find_if(host_.vendor_vfs.begin(), host_.vendor_vfs.end(),
                                    [&](const auto& one) { return one.address == address; });
      if (carrier.current_type != 0) return;
      carrier.current_type = type.id;
      carrier.gpu_instance_id = instance;
      carrier.creatable.clear();
    } else {
      const bool carries =
          std::any_of(host_.mdevs.begin(), host_.mdevs.end(), [&](const auto& mdev) { return mdev.parent == address; });
      if (carries && address != gpu_) return;
      add_mdev(address, "nvidia-" + std::to_string(type.id), instance);
    }
    known.active_vgpus.push_back({type.id, instance, {}});
  }

  void add_gvt(const VgpuDraft& drawn) {
    if (model_.gvt_types.empty()) return;
    add_mdev(gpu_, model_.gvt_types[drawn.type % model_.gvt_types.size()], {});
  }

  void add_mdev(const PciAddress& parent, const std::string& type, std::optional<std::uint32_t> instance) {
    const auto number = static_cast<unsigned>(host_.mdevs.size());
    vfio::MdevDevice mdev;
    mdev.uuid = numbered_uuid(number);
    mdev.parent = parent;
    mdev.type_id = type;
    if (all_.iommu) mdev.iommu_group = 1000 + number;
    mdev.gpu_instance_id = instance;
    host_.mdevs.push_back(std::move(mdev));
  }

  Inventory& host_;
  const HostDraft& all_;
  const GpuDraft& draft_;
  const Model& model_;
  unsigned number_;
  std::uint8_t bus_ = 0;
  PciAddress gpu_;
  bool own_driver_ = true;
  bool nvml_ = true;
};

void add_nvswitch(Inventory& host) {
  PciFunction nvswitch;
  nvswitch.address = {0, 4, 0, 0};
  nvswitch.vendor = vfio::kVendorNvidia;
  nvswitch.device = 0x22a3;
  nvswitch.class_code = 0x068000;
  nvswitch.driver = "nvidia-nvswitch";
  nvswitch.driver_override = "(null)";
  nvswitch.iommu_group = 5000;
  host.functions.push_back(std::move(nvswitch));
}

std::vector<std::string> all_nodes(const Inventory& host) {
  std::vector<std::string> nodes;
  const auto add = [&](const std::vector<std::string>& more) { nodes.insert(nodes.end(), more.begin(), more.end()); };
  for (const auto& function : host.functions) add(device_nodes(function));
  for (const auto& mdev : host.mdevs) add(device_nodes(mdev));
  return nodes;
}

template <class T>
const T& pick(const std::vector<T>& from, unsigned number) {
  return from[number % from.size()];
}

}  // namespace

Inventory make_host(const HostDraft& draft) {
  Inventory host;
  host.vfio_pci_loaded = draft.vfio_pci;
  if (draft.nvml) host.nvidia = vfio::nvidia::Driver{"570.124.06", {}, {}};
  if (draft.nvswitch) add_nvswitch(host);
  for (unsigned n = 0; n < draft.gpus.size(); ++n) GpuMaker(host, draft, draft.gpus[n], n).make();
  std::sort(host.functions.begin(), host.functions.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  const auto nodes = all_nodes(host);
  pid_t pid = 4000;
  for (const auto drawn : draft.holders) {
    if (!nodes.empty()) host.holders.push_back({pid++, "qemu-system-x86", pick(nodes, drawn)});
  }
  return host;
}

}  // namespace slicebroker::properties
