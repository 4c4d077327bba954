// SPDX-License-Identifier: Apache-2.0
#include "vfio/claims/mdevctl.h"

#include <nlohmann/json.hpp>

#include "vfio/claims/claim.h"

namespace slicebroker::vfio {
namespace {

constexpr const char* kDirectory = "etc/mdevctl.d";

Claim claim_of(const Uuid& uuid, const PciAddress& parent, std::string source) {
  Claim claim;
  claim.claimant = Claimant::kMdevctl;
  claim.device = uuid;
  claim.parent = parent;
  claim.owner = "mdevctl";
  claim.source = std::move(source);
  claim.fact = "defines it";
  claim.remedy = "take it from mdevctl: mdevctl undefine -u " + uuid.to_string();
  return claim;
}

void add_parent(const HostRoot& host, const PciAddress& parent, const std::string& directory,
                std::vector<Claim>& claims, std::vector<Error>& problems) {
  for (const auto& entry : list_claim_files(host, directory, Claimant::kMdevctl, problems)) {
    const std::string path = directory + "/" + entry;
    const auto uuid = Uuid::parse(entry);
    if (!uuid) {
      note_problem(host, path, Claimant::kMdevctl, malformed_claim("its name is no UUID"), problems);
      continue;
    }
    auto claim = claim_of(*uuid, parent, host.display(path));
    if (const auto text = read_claim_file(host, path, Claimant::kMdevctl, problems)) {
      auto definition = parse_mdevctl_definition(*text);
      if (definition) {
        claim.fact = "defines it as " + definition->type_id + (definition->autostart ? ", started by itself" : "");
      } else {
        note_problem(host, path, Claimant::kMdevctl, std::move(definition).error(), problems);
      }
    }
    claims.push_back(std::move(claim));
  }
}

}  // namespace

Result<MdevctlDefinition> parse_mdevctl_definition(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(malformed_claim("it is no JSON object"));
  const auto type = json.find("mdev_type");
  const auto start = json.find("start");
  if (type == json.end() || !type->is_string()) return fail(malformed_claim("it has no text 'mdev_type'"));
  if (start == json.end() || start->is_null()) return fail(malformed_claim("it has no 'start'"));
  return MdevctlDefinition{type->get<std::string>(), *start == "auto"};
}

std::vector<Claim> list_mdevctl_claims(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<Claim> claims;
  for (const auto& entry : list_claim_files(host, kDirectory, Claimant::kMdevctl, problems)) {
    const auto parent = PciAddress::parse(entry);  // beside them: mdevctl's scripts, and parents that are no GPU
    if (parent) add_parent(host, *parent, std::string(kDirectory) + "/" + entry, claims, problems);
  }
  return claims;
}

}  // namespace slicebroker::vfio
