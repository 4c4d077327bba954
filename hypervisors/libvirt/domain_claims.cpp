// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_claims.h"

#include <algorithm>

#include "hypervisors/libvirt/domain_xml.h"

namespace slicebroker::hypervisors::libvirt {
namespace {

using vfio::Claim;
using vfio::Claimant;

constexpr const char* kRunning = "run/libvirt/qemu";
constexpr const char* kDefined = "etc/libvirt/qemu";
constexpr const char* kHostdev = "hostdev";  // in the XML of every domain with a host device; most have none

void add_claim(Claim claim, std::vector<Claim>& claims) {
  const auto same = [&](const Claim& other) { return other.owner == claim.owner && other.device == claim.device; };
  if (std::none_of(claims.begin(), claims.end(), same)) claims.push_back(std::move(claim));
}

void add_domain(const SavedDomain& domain, const std::string& source, std::vector<Claim>& claims) {
  Claim claim;
  claim.claimant = Claimant::kLibvirt;
  claim.owner = "libvirt:" + domain.name;
  claim.source = source;
  claim.in_use = domain.running;
  claim.fact = domain.running ? "says that the domain runs with it" : "gives it to the domain";
  claim.remedy = domain.running ? "detach it from the domain, or stop the domain: virsh shutdown " + domain.name
                                : "take its hostdev out of the domain: virsh edit " + domain.name;
  for (const auto& function : domain.functions) {
    claim.device = function;
    add_claim(claim, claims);
  }
  for (const auto& mdev : domain.mdevs) {
    claim.device = mdev;
    add_claim(claim, claims);
  }
}

void add_directory(const vfio::HostRoot& host, const std::string& directory, std::vector<Claim>& claims,
                   std::vector<Error>& problems) {
  for (const auto& entry : list_claim_files(host, directory, Claimant::kLibvirt, problems)) {
    if (!entry.ends_with(".xml")) continue;
    const std::string path = directory + "/" + entry;
    const auto text = read_claim_file(host, path, Claimant::kLibvirt, problems);
    if (!text || text->find(kHostdev) == std::string::npos) continue;
    auto domain = read_saved_domain(*text);
    if (domain) {
      add_domain(*domain, host.display(path), claims);
    } else {
      note_problem(host, path, Claimant::kLibvirt, std::move(domain).error(), problems);
    }
  }
}

}  // namespace

std::vector<Claim> list_domain_claims(const vfio::HostRoot& host, std::vector<Error>& problems) {
  std::vector<Claim> claims;
  add_directory(host, kRunning, claims, problems);
  add_directory(host, kDefined, claims, problems);
  return claims;
}

}  // namespace slicebroker::hypervisors::libvirt
