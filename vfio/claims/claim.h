// SPDX-License-Identifier: Apache-2.0
// What other tools say is theirs, as their own files tell: nothing here asks the tools themselves.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/base/uuid.h"
#include "vfio/host/host_root.h"

namespace slicebroker::vfio {

enum class Claimant { kMdevctl, kDriverctl, kLibvirt, kProxmox };

std::string_view name(Claimant claimant);  // "mdevctl", "driverctl", "libvirt", "proxmox"
std::optional<Claimant> parse_claimant(std::string_view text);

// One device that a tool's file names.
struct Claim {
  Claimant claimant = Claimant::kMdevctl;
  std::variant<PciAddress, Uuid> device;  // a PCI function or a mediated device, which need not exist
  std::optional<PciAddress> parent = {};  // of a mediated device, where the file tells
  std::string owner;                      // "mdevctl", "libvirt:web1", "Proxmox VM 101"
  std::string source;                     // the file, as messages show it
  std::string fact;                       // what the file does: "defines it"
  std::string remedy;                     // how the owner lets go of it
  bool in_use = false;                    // by a VM that runs, or is being started
  bool operator==(const Claim&) const = default;
};

constexpr std::size_t kMostClaimBytes = std::size_t{1} << 20;  // longer files are not read

// Everything that mdevctl, driverctl and Proxmox claim, in this order and by file. What can't be read or understood is
// a problem; the device that such a file's name tells is claimed all the same. Reads only: where a tool is absent, one
// system call.
std::vector<Claim> list_claims(const HostRoot& host, std::vector<Error>& problems);

std::vector<Claim> list_mdevctl_claims(const HostRoot& host, std::vector<Error>& problems);
std::vector<Claim> list_driverctl_claims(const HostRoot& host, std::vector<Error>& problems);
std::vector<Claim> list_proxmox_claims(const HostRoot& host, std::vector<Error>& problems);

// kFailed MALFORMED_CLAIM.
Error malformed_claim(std::string fact);

// A file's text; nullopt where it is gone or can't be read, which is then a problem.
std::optional<std::string> read_claim_file(const HostRoot& host, const std::string& path, Claimant claimant,
                                           std::vector<Error>& problems);
// Names in a directory; a directory that is there and can't be read is a problem.
std::vector<std::string> list_claim_files(const HostRoot& host, const std::string& path, Claimant claimant,
                                          std::vector<Error>& problems);
// caused_by("look for claims of CLAIMANT in", the file, cause).
void note_problem(const HostRoot& host, const std::string& path, Claimant claimant, Error cause,
                  std::vector<Error>& problems);

}  // namespace slicebroker::vfio
