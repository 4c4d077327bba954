// SPDX-License-Identifier: Apache-2.0
#include "broker/resolver/foreign.h"

#include <algorithm>

namespace slicebroker::broker {
namespace {

using vfio::Claim;
using vfio::Inventory;

std::string key_of(const Claim& claim) {
  return std::visit([](const auto& device) { return device_key(device); }, claim.device);
}

// The mediated device's parent, as the host shows it or else as the claim tells.
std::optional<PciAddress> parent_of(const Inventory& inventory, const Claim& claim, const Uuid& uuid) {
  const auto* mdev = inventory.find_mdev(uuid);
  return mdev != nullptr && mdev->parent ? mdev->parent : claim.parent;
}

// A running VM's device is in use whatever the policy says.
bool let_by(const Policy& policy, const Claim& claim) {
  return !claim.in_use && policy.use_claimed_by.contains(claim.claimant);
}

// libvirt's domain has it because a lease gave it to the domain.
bool leased_to_owner(const std::vector<Hold>& leases, const Claim& claim) {
  const auto key = key_of(claim);
  return std::any_of(leases.begin(), leases.end(), [&](const Hold& hold) {
    return hold.kind == HoldKind::kLease && hold.leased.device == key && hold.owner == claim.owner;
  });
}

Hold hold_of(const Claim& claim, std::string device, const PciAddress& gpu) {
  Hold hold{{std::move(device), gpu},        0,           claim.owner, HoldKind::kForeign,
            claim.source + " " + claim.fact, claim.remedy};
  return hold;
}

void add_mdev(const Inventory& inventory, const Claim& claim, const Uuid& uuid, std::vector<Hold>& holds) {
  const auto parent = parent_of(inventory, claim, uuid);
  const PciAddress gpu = parent ? inventory.gpu_of(*parent) : PciAddress{};
  holds.push_back(hold_of(claim, device_key(uuid), gpu));
  // A VF carries one mediated device, so one that is defined for it takes it, made or not.
  const auto* function = parent ? inventory.find_function(*parent) : nullptr;
  if (function == nullptr || !function->physical_function) return;
  auto hold = hold_of(claim, device_key(*parent), gpu);
  hold.detail += ", mediated device " + uuid.to_string();
  holds.push_back(std::move(hold));
}

}  // namespace

std::vector<Hold> foreign_holds(const Inventory& inventory, const std::vector<Hold>& leases, const Request& request,
                                const Policy& policy) {
  std::vector<Hold> holds;
  for (const auto& claim : inventory.claims) {
    if (let_by(policy, claim) || claim.owner == request.vm || leased_to_owner(leases, claim)) continue;
    if (const auto* uuid = std::get_if<Uuid>(&claim.device)) {
      add_mdev(inventory, claim, *uuid, holds);
    } else {
      const auto& function = std::get<PciAddress>(claim.device);
      holds.push_back(hold_of(claim, device_key(function), inventory.gpu_of(function)));
    }
  }
  return holds;
}

}  // namespace slicebroker::broker
