// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/pci_function.h"

#include <algorithm>

#include "vfio/base/text.h"
#include "vfio/pci/modalias.h"

namespace slicebroker::vfio {
namespace {

constexpr std::string_view kDevices = "sys/bus/pci/devices";

Error malformed(const HostRoot& host, std::string_view path, std::string_view text) {
  Error error;
  error.tried = "understand";
  error.subject = host.display(path);
  error.reason = "MALFORMED_ATTRIBUTE";
  error.fact = "its text is '" + std::string(text.substr(0, 80)) + "'";
  return error;
}

// What a device that does not answer was not asked for is left empty.
template <class T>
Result<T> unless_silent(Result<T> value) {
  if (!value && value.error().reason == "DEVICE_SILENT") return T{};
  return value;
}

template <class T>
Result<T> read_hex(const HostRoot& host, const std::string& path) {
  SLICEBROKER_TRY(const auto text, host.read_attr(path));
  const auto value = parse_hex<T>(text);
  if (!value) return fail(malformed(host, path, text));
  return *value;
}

// One read tells vendor, device and class; the attributes of their own stand in where there is no modalias.
Result<void> read_identity(const HostRoot& host, PciFunction& function) {
  const auto path = pci_path(function.address, "modalias");
  SLICEBROKER_TRY(const auto modalias, host.find_attr(path));
  if (modalias) {
    const auto identity = parse_modalias(*modalias);
    if (!identity) return fail(malformed(host, path, *modalias));
    function.vendor = identity->vendor;
    function.device = identity->device;
    function.class_code = identity->class_code;
    function.modalias = *modalias;
    return {};
  }
  SLICEBROKER_TRY(function.vendor, read_hex<std::uint16_t>(host, pci_path(function.address, "vendor")));
  SLICEBROKER_TRY(function.device, read_hex<std::uint16_t>(host, pci_path(function.address, "device")));
  SLICEBROKER_TRY(function.class_code, read_hex<std::uint32_t>(host, pci_path(function.address, "class")));
  return {};
}

// 0 where the attribute is absent.
Result<std::uint16_t> find_count(const HostRoot& host, const std::string& path) {
  SLICEBROKER_TRY(const auto text, host.find_attr(path));
  if (!text) return std::uint16_t{0};
  const auto value = parse_number<std::uint16_t>(*text);
  if (!value) return fail(malformed(host, path, *text));
  return *value;
}

Result<std::vector<PciAddress>> read_virtual_functions(const HostRoot& host, const PciAddress& address,
                                                       std::uint16_t count) {
  std::vector<PciAddress> functions;
  for (std::uint16_t i = 0; i < count; ++i) {
    SLICEBROKER_TRY(const auto link, host.find_link_name(pci_path(address, "virtfn" + std::to_string(i))));
    const auto function = link ? PciAddress::parse(*link) : std::nullopt;
    if (function) functions.push_back(*function);
  }
  return functions;
}

Result<void> read_sriov(const HostRoot& host, PciFunction& function) {
  SLICEBROKER_TRY(const auto physfn, host.find_link_name(pci_path(function.address, "physfn")));
  if (physfn) function.physical_function = PciAddress::parse(*physfn);
  SLICEBROKER_TRY(function.vf_total, find_count(host, pci_path(function.address, "sriov_totalvfs")));
  if (function.vf_total == 0) return {};
  auto count = find_count(host, pci_path(function.address, "sriov_numvfs"));
  const bool silent = !count && count.error().reason == "DEVICE_SILENT";
  if (silent) count = function.vf_total;  // the links tell how many there are
  SLICEBROKER_TRY(function.vf_count, std::move(count));
  SLICEBROKER_TRY(function.virtual_functions, read_virtual_functions(host, function.address, function.vf_count));
  if (silent) function.vf_count = static_cast<std::uint16_t>(function.virtual_functions.size());
  return {};
}

// Source: nvidia.md 1.3, "Device Minor:" of /proc/driver/nvidia/gpus/<BDF>/information.
Result<std::optional<std::uint32_t>> find_nvidia_minor(const HostRoot& host, const PciAddress& address) {
  SLICEBROKER_TRY(const auto text, host.find_attr("proc/driver/nvidia/gpus/" + address.to_string() + "/information"));
  if (!text) return std::optional<std::uint32_t>();
  constexpr std::string_view kKey = "Device Minor:";
  for (const auto line : split(*text, '\n')) {
    if (line.starts_with(kKey)) return parse_number<std::uint32_t>(trim(line.substr(kKey.size())));
  }
  return std::optional<std::uint32_t>();
}

}  // namespace

std::vector<std::string> device_nodes(const PciFunction& function) {
  std::vector<std::string> nodes;
  if (function.iommu_group) nodes.push_back("/dev/vfio/" + std::to_string(*function.iommu_group));
  for (const auto& device : function.vfio_devices) nodes.push_back("/dev/vfio/devices/" + device);
  for (const auto& device : function.drm_devices) nodes.push_back("/dev/dri/" + device);
  if (function.nvidia_minor) nodes.push_back("/dev/nvidia" + std::to_string(*function.nvidia_minor));
  return nodes;
}

std::string pci_path(const PciAddress& address, std::string_view leaf) {
  std::string path(kDevices);
  path += "/" + address.to_string();
  if (!leaf.empty()) path.append("/").append(leaf);
  return path;
}

bool is_gpu(const PciFunction& function) {
  const bool display = function.class_code >> 16 == 0x03;
  const bool accelerator = function.class_code >> 8 == 0x1200;
  return (display || accelerator) && !function.physical_function;
}

PciAddress gpu_of(const PciFunction& function) {
  return function.physical_function.value_or(function.address);
}

bool is_bridge(const PciFunction& function) {
  return function.class_code >> 8 == 0x0604;
}

Result<PciFunction> read_pci_function(const HostRoot& host, const PciAddress& address) {
  PciFunction function;
  function.address = address;
  auto identity = read_identity(host, function);
  if (!identity && identity.error().reason != "DEVICE_SILENT") return fail(std::move(identity).error());
  SLICEBROKER_TRY(function.driver, host.find_link_name(pci_path(address, "driver")));
  SLICEBROKER_TRY(const auto driver_override, unless_silent(host.find_attr(pci_path(address, "driver_override"))));
  function.driver_override = driver_override.value_or("(null)");
  SLICEBROKER_TRY(const auto group, host.find_link_name(pci_path(address, "iommu_group")));
  if (group) function.iommu_group = parse_number<std::uint32_t>(*group);
  SLICEBROKER_TRY(function.vfio_devices, host.find_dir(pci_path(address, "vfio-dev")));
  if (function.driver) {
    SLICEBROKER_TRY(function.drm_devices, host.find_dir(pci_path(address, "drm")));
    SLICEBROKER_TRY(function.nvidia_minor, unless_silent(find_nvidia_minor(host, address)));
  }
  SLICEBROKER_CHECK(read_sriov(host, function));
  return function;
}

Result<std::vector<PciFunction>> list_pci_functions(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<PciFunction> functions;
  SLICEBROKER_TRY(const auto names, host.list_dir(kDevices));
  for (const auto& entry : names) {
    const auto address = PciAddress::parse(entry);
    if (!address) continue;
    auto function = read_pci_function(host, *address);
    if (function) {
      functions.push_back(*std::move(function));
    } else if (function.error().reason == "DEVICE_SILENT") {
      functions.emplace_back().address = *address;
    } else if (host.is_there(pci_path(*address)) != false) {
      problems.push_back(caused_by("read PCI function", entry, std::move(function).error()));
    }
  }
  std::sort(functions.begin(), functions.end(),
            [](const PciFunction& a, const PciFunction& b) { return a.address < b.address; });
  return functions;
}

}  // namespace slicebroker::vfio
