// SPDX-License-Identifier: Apache-2.0
#include "vfio/nvidia/vendor_vf.h"

#include "vfio/base/text.h"
#include "vfio/mdev/mdev.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::vfio::nvidia {
namespace {

std::optional<CreatableVgpuType> parse_line(std::string_view line) {
  const auto colon = line.find(':');
  if (colon != std::string_view::npos) {
    const auto id = parse_number<std::uint32_t>(trim(line.substr(0, colon)));
    const auto type_name = trim(line.substr(colon + 1));
    if (id && !type_name.empty()) return CreatableVgpuType{*id, std::string(type_name)};
    return std::nullopt;
  }
  line = trim(line);
  const auto gap = line.rfind("  ");
  if (gap == std::string_view::npos) return std::nullopt;
  const auto id = parse_number<std::uint32_t>(trim(line.substr(gap)));
  const auto type_name = trim(line.substr(0, gap));
  if (!id || type_name.empty()) return std::nullopt;
  return CreatableVgpuType{*id, std::string(type_name)};
}

}  // namespace

std::vector<CreatableVgpuType> parse_creatable_types(std::string_view text) {
  std::vector<CreatableVgpuType> types;
  for (const auto line : split(text, '\n')) {
    if (auto type = parse_line(line)) types.push_back(*std::move(type));
  }
  return types;
}

Result<std::uint32_t> read_vgpu_type(const HostRoot& host, const PciAddress& vf) {
  const auto path = pci_path(vf, "nvidia/current_vgpu_type");
  SLICEBROKER_TRY(const auto text, host.read_attr(path));
  const auto id = parse_number<std::uint32_t>(trim(text));
  if (id) return *id;
  Error error;
  error.tried = "understand '" + text.substr(0, 80) + "'";
  error.subject = host.display(path);
  error.reason = "MALFORMED_ATTRIBUTE";
  return fail(std::move(error));
}

Result<std::optional<VendorVf>> find_vendor_vf(const HostRoot& host, const PciAddress& vf) {
  SLICEBROKER_TRY(const bool there, host.is_there(pci_path(vf, "nvidia/current_vgpu_type")));
  if (!there) return std::optional<VendorVf>();
  VendorVf state;
  state.address = vf;
  SLICEBROKER_TRY(state.current_type, read_vgpu_type(host, vf));
  SLICEBROKER_TRY(const auto table, host.find_attr(pci_path(vf, "nvidia/creatable_vgpu_types")));
  state.creatable = parse_creatable_types(table.value_or(""));
  SLICEBROKER_TRY(state.gpu_instance_id, find_gpu_instance_id(host, pci_path(vf)));
  return std::optional(std::move(state));
}

}  // namespace slicebroker::vfio::nvidia
