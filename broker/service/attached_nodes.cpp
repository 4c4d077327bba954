// SPDX-License-Identifier: Apache-2.0
#include "broker/service/attached_nodes.h"

#include <algorithm>

#include "vfio/host/ask_child.h"
#include "vfio/mdev/mdev.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::broker {
namespace {

Result<std::vector<std::string>> read_nodes(const vfio::HostRoot& root, const hypervisors::Attachment& attachment) {
  std::vector<std::string> nodes;
  std::vector<PciAddress> functions = attachment.companions;
  if (attachment.function) functions.push_back(*attachment.function);
  for (const auto& address : functions) {
    const auto function = vfio::read_pci_function(root, address);
    if (!function && function.error().code == ErrorCode::kNotFound) continue;
    if (!function) return fail(function.error());
    for (auto& node : device_nodes(*function)) {
      if (node.starts_with("/dev/vfio/")) nodes.push_back(std::move(node));
    }
  }
  if (!attachment.mdev) return nodes;
  SLICEBROKER_TRY(const auto mdev, vfio::find_mdev_device(root, *attachment.mdev));
  if (!mdev) return nodes;
  for (auto& node : device_nodes(*mdev)) nodes.push_back(std::move(node));
  return nodes;
}

}  // namespace

Result<std::vector<std::string>> attached_nodes(const vfio::Host& host, const hypervisors::Attachment& attachment) {
  return vfio::answer_of<std::vector<std::string>>(
      host, vfio::Purpose::kLook, [&](const vfio::Host& watched) { return read_nodes(watched.root, attachment); });
}

std::optional<vfio::ProcessIdentity> find_vmm(const vfio::Host& host, const hypervisors::Attachment& attachment) {
  using Pids = std::vector<std::int64_t>;
  const auto pids = vfio::answer_of<Pids>(host, vfio::Purpose::kLook, [&](const vfio::Host& watched) -> Result<Pids> {
    SLICEBROKER_TRY(const auto nodes, read_nodes(watched.root, attachment));
    SLICEBROKER_TRY(const auto holders, vfio::list_holders(watched.root));
    Pids found;
    for (const auto& holder : vfio::holders_of(holders, nodes)) found.push_back(holder.pid);
    return found;
  });
  if (!pids || pids->empty()) return std::nullopt;
  const auto vmm = pids->front();
  if (std::any_of(pids->begin(), pids->end(), [&](auto pid) { return pid != vmm; })) return std::nullopt;
  return vfio::find_process(host.root, static_cast<pid_t>(vmm));
}

}  // namespace slicebroker::broker
