// SPDX-License-Identifier: Apache-2.0
#include "vfio/claims/driverctl.h"

#include <algorithm>
#include <cctype>

#include "vfio/base/text.h"
#include "vfio/claims/claim.h"

namespace slicebroker::vfio {
namespace {

constexpr const char* kDirectory = "etc/driverctl.d";

bool is_driver_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

Claim claim_of(const PciAddress& address, std::string source) {
  Claim claim;
  claim.claimant = Claimant::kDriverctl;
  claim.device = address;
  claim.owner = "driverctl";
  claim.source = std::move(source);
  claim.fact = "pins its driver";
  claim.remedy = "take it from driverctl: driverctl unset-override " + address.to_string();
  return claim;
}

}  // namespace

std::optional<std::string_view> pci_part_of(std::string_view file_name) {
  constexpr std::string_view kPrefix = "pci-";
  if (!file_name.starts_with(kPrefix)) return std::nullopt;
  return file_name.substr(kPrefix.size());
}

Result<std::string> parse_driverctl_override(std::string_view text) {
  const auto word = trim(text);
  if (word.empty() || !std::all_of(word.begin(), word.end(), is_driver_letter)) {
    return fail(malformed_claim("it names no driver"));
  }
  return std::string(word);
}

std::vector<Claim> list_driverctl_claims(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<Claim> claims;
  for (const auto& entry : list_claim_files(host, kDirectory, Claimant::kDriverctl, problems)) {
    const auto device = pci_part_of(entry);
    if (!device) continue;
    const std::string path = std::string(kDirectory) + "/" + entry;
    const auto address = PciAddress::parse(*device);
    if (!address) {
      note_problem(host, path, Claimant::kDriverctl, malformed_claim("its name has no PCI address"), problems);
      continue;
    }
    auto claim = claim_of(*address, host.display(path));
    if (const auto text = read_claim_file(host, path, Claimant::kDriverctl, problems)) {
      auto driver = parse_driverctl_override(*text);
      if (driver) {
        claim.fact = "pins it to " + *driver;
      } else {
        note_problem(host, path, Claimant::kDriverctl, std::move(driver).error(), problems);
      }
    }
    claims.push_back(std::move(claim));
  }
  return claims;
}

}  // namespace slicebroker::vfio
