// SPDX-License-Identifier: Apache-2.0
#include "vfio/claims/claim.h"

#include <array>
#include <utility>

namespace slicebroker::vfio {
namespace {

constexpr std::array kNames{
    std::pair{Claimant::kMdevctl, std::string_view("mdevctl")},
    std::pair{Claimant::kDriverctl, std::string_view("driverctl")},
    std::pair{Claimant::kLibvirt, std::string_view("libvirt")},
    std::pair{Claimant::kProxmox, std::string_view("proxmox")},
};

}  // namespace

std::string_view name(Claimant claimant) {
  for (const auto& [value, text] : kNames) {
    if (value == claimant) return text;
  }
  return {};
}

std::optional<Claimant> parse_claimant(std::string_view text) {
  for (const auto& [value, word] : kNames) {
    if (word == text) return value;
  }
  return std::nullopt;
}

Error malformed_claim(std::string fact) {
  Error error;
  error.reason = "MALFORMED_CLAIM";
  error.tried = "understand it";
  error.fact = std::move(fact);
  return error;
}

void note_problem(const HostRoot& host, const std::string& path, Claimant claimant, Error cause,
                  std::vector<Error>& problems) {
  problems.push_back(
      caused_by("look for claims of " + std::string(name(claimant)) + " in", host.display(path), std::move(cause)));
}

std::optional<std::string> read_claim_file(const HostRoot& host, const std::string& path, Claimant claimant,
                                           std::vector<Error>& problems) {
  auto text = host.find_text(path, kMostClaimBytes);
  if (text) return *std::move(text);
  note_problem(host, path, claimant, std::move(text).error(), problems);
  return std::nullopt;
}

std::vector<std::string> list_claim_files(const HostRoot& host, const std::string& path, Claimant claimant,
                                          std::vector<Error>& problems) {
  auto names = host.find_dir(path);
  if (names) return *std::move(names);
  note_problem(host, path, claimant, std::move(names).error(), problems);
  return {};
}

std::vector<Claim> list_claims(const HostRoot& host, std::vector<Error>& problems) {
  auto claims = list_mdevctl_claims(host, problems);
  for (auto* list : {list_driverctl_claims, list_proxmox_claims}) {
    for (auto& claim : list(host, problems)) claims.push_back(std::move(claim));
  }
  return claims;
}

}  // namespace slicebroker::vfio
