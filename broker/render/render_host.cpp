// SPDX-License-Identifier: Apache-2.0
// What the host has: list and show.
#include <algorithm>
#include <map>

#include "broker/render/error.h"
#include "broker/render/json.h"
#include "broker/render/render.h"
#include "broker/render/table.h"
#include "vfio/base/text.h"
#include "vfio/nvidia/profile_name.h"

namespace slicebroker::broker {
namespace {

using nlohmann::ordered_json;
using vfio::Inventory;
using vfio::PciFunction;
using vfio::nvidia::Gpu;
using vfio::nvidia::GpuInstance;
using vfio::nvidia::MigMode;

using Rows = std::vector<std::vector<std::string>>;

std::string hex(std::uint32_t value, int digits) {
  std::string text;
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) text += "0123456789abcdef"[(value >> shift) & 0xf];
  return text;
}

std::string ids_of(const PciFunction& function) {
  return hex(function.vendor, 4) + ":" + hex(function.device, 4);
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

std::string holder_of(const std::vector<Lease>& leases, const std::string& device) {
  for (const auto& lease : leases) {
    for (const auto& leased : lease.devices) {
      if (leased.device == device) return lease.owner();
    }
  }
  return "";
}

std::string holder_of(const std::vector<Lease>& leases, const PciAddress& function) {
  return holder_of(leases, device_key(function));
}

using Claims = std::vector<const vfio::Claim*>;

std::string owners_of(const Claims& claims) {
  std::vector<std::string> texts;
  for (const auto* claim : claims) {
    if (std::find(texts.begin(), texts.end(), claim->owner) == texts.end()) texts.push_back(claim->owner);
  }
  return join(texts, ", ");
}

// "driverctl: /etc/driverctl.d/pci-0000:41:00.0 pins it to vfio-pci"
std::string claims_text(const Claims& claims) {
  std::vector<std::string> texts;
  for (const auto* claim : claims) texts.push_back(claim->owner + ": " + claim->source + " " + claim->fact);
  return join(texts, ", ");
}

// Codes of the quarantines that keep one of the devices from being leased.
std::string quarantines_of(const std::vector<Quarantine>& quarantines, const std::vector<std::string>& devices) {
  std::vector<std::string> codes;
  for (const auto& quarantine : quarantines) {
    const auto& device = quarantine.device.device;
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) codes.push_back(quarantine.code);
  }
  return join(codes, ", ");
}

// Who a device is with, for a column: its lease, or else the tools that claim it and who has it open.
std::string held_by(const std::string& lease, const std::string& quarantined, const std::string& claimed_by,
                    const std::string& user) {
  std::vector<std::string> texts;
  if (!lease.empty()) texts.push_back(lease);
  if (!quarantined.empty()) texts.push_back("quarantined: " + quarantined);
  if (lease.empty() && !claimed_by.empty()) texts.push_back(claimed_by);
  if (lease.empty() && !user.empty()) texts.push_back(user);
  return join(texts, ", ");
}

// "pid 4711 (qemu-system-x86), ...": who has the device open.
std::string users_of(const std::vector<vfio::Holder>& holders) {
  std::vector<std::string> texts;
  for (const auto& holder : holders) {
    const std::string text = "pid " + std::to_string(holder.pid) + " (" + holder.command + ")";
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return join(texts, ", ");
}

// What runs on a GPU instance, as a selector.
std::string user_of(const Inventory& inventory, const PciAddress& gpu, std::uint32_t instance) {
  for (const auto& mdev : inventory.mdevs) {
    if (mdev.gpu_instance_id == instance && mdev.parent && inventory.gpu_of(*mdev.parent) == gpu) {
      return "mdev=" + mdev.uuid.to_string();
    }
  }
  for (const auto& vf : inventory.vendor_vfs) {
    if (vf.gpu_instance_id == instance && inventory.gpu_of(vf.address) == gpu) return "vf=" + vf.address.to_string();
  }
  return "";
}

bool is_managed(const Inventory& inventory, const PciFunction& function, const Policy& policy) {
  return !why_not_managed(policy, inventory, function);
}

// Of a device that may have gone since it was listed.
bool is_managed(const Inventory& inventory, const std::optional<PciAddress>& address, const Policy& policy) {
  const auto* function = address ? inventory.find_function(*address) : nullptr;
  return function != nullptr && is_managed(inventory, *function, policy);
}

std::string yes_or_no(bool so) {
  return so ? "yes" : "no";
}

std::string_view mig_word(MigMode mode) {
  switch (mode) {
    case MigMode::kUnsupported: return "-";
    case MigMode::kOff: return "off";
    case MigMode::kOn: return "on";
  }
  return "-";
}

// One line of `list slices`.
struct Slice {
  std::string selector;
  std::string kind;  // "MIG", "mdev", "vendor-vf", "vf"
  std::string what;
  std::string device;
  std::string lease;  // its owner
  std::string quarantined;
  std::string user;  // who uses it, with a lease or without
  bool managed;
  std::string claimed_by = {};  // by other tools
};

void add_mig_slices(const Inventory& inventory, const Gpu& gpu, const LedgerView& held, bool managed,
                    std::vector<Slice>& slices) {
  for (const auto& instance : gpu.instances) {
    for (const auto& compute : instance.compute_instances) {
      const std::string key = gpu_instance_key(gpu.address, instance.id);
      slices.push_back({compute.mig_uuid, "MIG", profile_name(gpu, instance.profile_id),
                        gpu.address.to_string() + " GI " + std::to_string(instance.id), holder_of(held.leases, key),
                        quarantines_of(held.quarantines, {key, device_key(gpu.address)}),
                        user_of(inventory, gpu.address, instance.id), managed});
    }
  }
}

std::vector<Slice> slices_of(const Inventory& inventory, const LedgerView& held, const Policy& policy) {
  const auto quarantined = [&](std::string device, const std::optional<PciAddress>& function) {
    std::vector<std::string> devices{std::move(device)};
    if (function) devices.push_back(device_key(*function));
    if (function) devices.push_back(device_key(inventory.gpu_of(*function)));
    return quarantines_of(held.quarantines, devices);
  };
  std::vector<Slice> slices;
  if (inventory.nvidia) {
    for (const auto& gpu : inventory.nvidia->gpus) {
      add_mig_slices(inventory, gpu, held, is_managed(inventory, gpu.address, policy), slices);
    }
  }
  for (const auto& mdev : inventory.mdevs) {
    slices.push_back({"mdev=" + mdev.uuid.to_string(), "mdev", mdev.type_id,
                      mdev.parent ? mdev.parent->to_string() : "-", holder_of(held.leases, device_key(mdev.uuid)),
                      quarantined(device_key(mdev.uuid), mdev.parent), users_of(inventory.holders_of(mdev)),
                      is_managed(inventory, mdev.parent, policy), owners_of(inventory.claims_on(mdev.uuid))});
  }
  for (const auto& function : inventory.functions) {
    if (!function.physical_function) continue;
    const auto* vendor = inventory.find_vendor_vf(function.address);
    const std::string what = vendor == nullptr           ? "driver " + function.driver.value_or("none")
                             : vendor->current_type == 0 ? "free"
                                                         : "vGPU type " + std::to_string(vendor->current_type);
    slices.push_back({"vf=" + function.address.to_string(), vendor != nullptr ? "vendor-vf" : "vf", what,
                      function.physical_function->to_string(), holder_of(held.leases, function.address),
                      quarantined(device_key(function.address), function.address),
                      users_of(inventory.holders_of(function)), is_managed(inventory, function, policy),
                      owners_of(inventory.claims_on(function.address))});
  }
  return slices;
}

struct TypeLine {
  std::string id;
  std::string type_name;
  std::string profile;  // GPU instance profile, where MIG-backed
  PciAddress gpu;
  std::uint32_t functions = 0;  // how many could be given one now
};

std::vector<TypeLine> types_of(const Inventory& inventory) {
  std::map<std::pair<PciAddress, std::string>, TypeLine> lines;
  const auto line = [&](const PciAddress& gpu, const std::string& id, const std::string& type_name) -> TypeLine& {
    auto& entry = lines[{gpu, id}];
    entry.id = id;
    entry.gpu = gpu;
    if (entry.type_name.empty()) entry.type_name = type_name;
    return entry;
  };
  if (inventory.nvidia) {
    for (const auto& gpu : inventory.nvidia->gpus) {
      for (const auto& type : gpu.vgpu_types) {
        auto& entry = line(gpu.address, "nvidia-" + std::to_string(type.id), type.name);
        if (type.gpu_instance_profile_id) entry.profile = profile_name(gpu, *type.gpu_instance_profile_id);
      }
    }
  }
  for (const auto& type : inventory.mdev_types) {
    line(inventory.gpu_of(type.parent), type.id, type.name).functions += type.available > 0 ? 1 : 0;
  }
  for (const auto& vf : inventory.vendor_vfs) {
    for (const auto& type : vf.creatable) {
      line(inventory.gpu_of(vf.address), "nvidia-" + std::to_string(type.id), type.name).functions += 1;
    }
  }
  std::vector<TypeLine> result;
  for (auto& [key, entry] : lines) result.push_back(std::move(entry));
  return result;
}

}  // namespace

std::string render_gpus(const Inventory& inventory, const LedgerView& held, const Policy& policy, Format format) {
  Rows rows{{"ADDRESS", "IDS", "DRIVER", "GROUP", "MIG", "VFS", "NAME", "UUID", "MANAGED", "HELD BY"}};
  auto array = ordered_json::array();
  for (const auto& function : inventory.functions) {
    if (!is_gpu(function)) continue;
    const auto* gpu = inventory.find_nvidia_gpu(function.address);
    const std::string lease = holder_of(held.leases, function.address);
    const std::string quarantined = quarantines_of(held.quarantines, {device_key(function.address)});
    const std::string user = users_of(inventory.holders_of(function));
    const std::string claimed_by = owners_of(inventory.claims_on(function.address));
    const std::string group = function.iommu_group ? std::to_string(*function.iommu_group) : "";
    const std::string mig(gpu != nullptr ? mig_word(gpu->mig_mode) : "-");
    const auto not_managed = why_not_managed(policy, inventory, function);
    rows.push_back({function.address.to_string(), ids_of(function), or_dash(function.driver.value_or("")),
                    or_dash(group), mig, std::to_string(function.vf_count) + "/" + std::to_string(function.vf_total),
                    gpu != nullptr ? gpu->name : "-", gpu != nullptr ? gpu->uuid : "-", yes_or_no(!not_managed),
                    or_dash(held_by(lease, quarantined, claimed_by, user))});
    ordered_json entry{{"address", function.address.to_string()},
                       {"ids", ids_of(function)},
                       {"driver", function.driver.value_or("")},
                       {"iommu_group", group},
                       {"mig", mig},
                       {"vf_count", function.vf_count},
                       {"vf_total", function.vf_total},
                       {"name", gpu != nullptr ? gpu->name : ""},
                       {"uuid", gpu != nullptr ? gpu->uuid : ""},
                       {"managed", !not_managed},
                       {"not_managed_because", not_managed.value_or("")},
                       {"held_by", lease},
                       {"quarantined", quarantined},
                       {"used_by", user},
                       {"claimed_by", claimed_by}};
    array.push_back(std::move(entry));
  }
  return format == Format::kJson ? document({{"gpus", array}}) : table(rows);
}

std::string render_slices(const Inventory& inventory, const LedgerView& held, const Policy& policy, Format format) {
  Rows rows{{"SELECTOR", "KIND", "WHAT", "ON", "MANAGED", "HELD BY"}};
  auto array = ordered_json::array();
  for (const auto& slice : slices_of(inventory, held, policy)) {
    rows.push_back({slice.selector, slice.kind, slice.what, slice.device, yes_or_no(slice.managed),
                    or_dash(held_by(slice.lease, slice.quarantined, slice.claimed_by, slice.user))});
    array.push_back({{"selector", slice.selector},
                     {"kind", slice.kind},
                     {"what", slice.what},
                     {"on", slice.device},
                     {"managed", slice.managed},
                     {"held_by", slice.lease},
                     {"quarantined", slice.quarantined},
                     {"used_by", slice.user},
                     {"claimed_by", slice.claimed_by}});
  }
  return format == Format::kJson ? document({{"slices", array}}) : table(rows);
}

std::string render_types(const Inventory& inventory, const Policy& policy, Format format) {
  Rows rows{{"TYPE", "NAME", "BACKED BY", "GPU", "MANAGED", "FUNCTIONS FREE FOR IT"}};
  auto array = ordered_json::array();
  for (const auto& type : types_of(inventory)) {
    const bool managed = is_managed(inventory, type.gpu, policy);
    rows.push_back({type.id, type.type_name, type.profile.empty() ? "time slices" : type.profile, type.gpu.to_string(),
                    yes_or_no(managed), std::to_string(type.functions)});
    array.push_back({{"id", type.id},
                     {"name", type.type_name},
                     {"profile", type.profile},
                     {"gpu", type.gpu.to_string()},
                     {"managed", managed},
                     {"free_functions", type.functions}});
  }
  return format == Format::kJson ? document({{"types", array}}) : table(rows);
}

std::string render_function(const Inventory& inventory, const PciFunction& function, const std::vector<Lease>& leases,
                            Format format) {
  std::vector<std::string> companions;
  for (const auto* other : inventory.group_companions(function)) {
    companions.push_back(other->address.to_string() + " (" + other->driver.value_or("no driver") + ")");
  }
  std::vector<std::string> holders;
  for (const auto& holder : inventory.holders_of(function)) {
    holders.push_back(holder.node + " by pid " + std::to_string(holder.pid) + " (" + holder.command + ")");
  }
  std::vector<std::string> vfs;
  for (const auto& vf : function.virtual_functions) vfs.push_back(vf.to_string());
  ordered_json entry{
      {"address", function.address.to_string()},
      {"ids", ids_of(function)},
      {"class", hex(function.class_code, 6)},
      {"driver", function.driver.value_or("")},
      {"driver_override", function.driver_override},
      {"iommu_group", function.iommu_group ? std::to_string(*function.iommu_group) : ""},
      {"group_companions", join(companions, ", ")},
      {"physical_function", function.physical_function ? function.physical_function->to_string() : ""},
      {"virtual_functions", join(vfs, ", ")},
      {"vf_total", std::to_string(function.vf_total)},
      {"open", join(holders, ", ")},
      {"held_by", holder_of(leases, function.address)},
      {"claimed_by", claims_text(inventory.claims_on(function.address))},
  };
  if (const auto* gpu = inventory.find_nvidia_gpu(function.address)) {
    entry["name"] = gpu->name;
    entry["uuid"] = gpu->uuid;
    entry["mig"] = mig_word(gpu->mig_mode);
    entry["gpu_instances"] = std::to_string(gpu->instances.size());
  }
  if (const auto* vendor = inventory.find_vendor_vf(function.address)) {
    entry["current_vgpu_type"] = std::to_string(vendor->current_type);
  }
  return render_entry("function", entry, format);
}

std::string render_mdev(const Inventory& inventory, const vfio::MdevDevice& mdev, const std::vector<Lease>& leases,
                        Format format) {
  const ordered_json entry{
      {"uuid", mdev.uuid.to_string()},
      {"type", mdev.type_id},
      {"parent", mdev.parent ? mdev.parent->to_string() : ""},
      {"iommu_group", mdev.iommu_group ? std::to_string(*mdev.iommu_group) : ""},
      {"gpu_instance", mdev.gpu_instance_id ? std::to_string(*mdev.gpu_instance_id) : ""},
      {"held_by", holder_of(leases, device_key(mdev.uuid))},
      {"claimed_by", claims_text(inventory.claims_on(mdev.uuid))},
  };
  return render_entry("mdev", entry, format);
}

std::string render_mig(const Gpu& gpu, const GpuInstance& instance, const std::vector<Lease>& leases, Format format) {
  std::vector<std::string> uuids;
  for (const auto& compute : instance.compute_instances) uuids.push_back(compute.mig_uuid);
  const std::string key = gpu_instance_key(gpu.address, instance.id);
  const ordered_json entry{
      {"gpu", gpu.address.to_string()},
      {"gpu_uuid", gpu.uuid},
      {"gpu_instance", std::to_string(instance.id)},
      {"profile", profile_name(gpu, instance.profile_id)},
      {"placement", std::to_string(instance.placement.start) + ":" + std::to_string(instance.placement.size)},
      {"mig_uuids", join(uuids, ", ")},
      {"held_by", holder_of(leases, key)},
  };
  return render_entry("gpu_instance", entry, format);
}

std::string render_problems(const Inventory& inventory) {
  std::string text;
  for (const auto* problems : {&inventory.problems, &inventory.claim_problems}) {
    for (const auto& problem : *problems) text += "warning: not read: " + error_text(problem).substr(7);
  }
  return text;
}

}  // namespace slicebroker::broker
