// SPDX-License-Identifier: Apache-2.0
#include "vfio/claims/proxmox.h"

#include <chrono>

#include "vfio/base/text.h"
#include "vfio/claims/claim.h"
#include "vfio/host/holders.h"

namespace slicebroker::vfio {
namespace {

constexpr const char* kReservations = "run/qemu-server/pci-id-reservations";
constexpr const char* kConfigs = "etc/pve/qemu-server";
constexpr std::uint8_t kMostFunctions = 8;  // of a slot

Claim claim_of(const PciAddress& function, const std::string& vm, std::string source) {
  Claim claim;
  claim.claimant = Claimant::kProxmox;
  claim.device = function;
  claim.owner = "Proxmox VM " + vm;
  claim.source = std::move(source);
  return claim;
}

std::uint64_t seconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
}

// As qemu-server has it: what has expired, or whose process is gone, is anybody's.
bool holds(const HostRoot& host, const ProxmoxReservation& reservation) {
  if (reservation.pid) return find_process(host, static_cast<pid_t>(*reservation.pid)).has_value();
  return !reservation.expires || *reservation.expires > seconds_since_1970();
}

void add_reservations(const HostRoot& host, std::vector<Claim>& claims, std::vector<Error>& problems) {
  const auto text = read_claim_file(host, kReservations, Claimant::kProxmox, problems);
  if (!text) return;
  std::vector<Error> malformed;
  for (const auto& reservation : parse_proxmox_reservations(*text, malformed)) {
    if (!holds(host, reservation)) continue;
    auto claim = claim_of(reservation.function, std::to_string(reservation.vm), host.display(kReservations));
    claim.fact = "reserves it";
    claim.remedy = "stop the VM: qm shutdown " + std::to_string(reservation.vm);
    claim.in_use = true;
    claims.push_back(std::move(claim));
  }
  for (auto& error : malformed) note_problem(host, kReservations, Claimant::kProxmox, std::move(error), problems);
}

void add_config(const HostRoot& host, const std::string& entry, std::vector<Claim>& claims,
                std::vector<Error>& problems) {
  constexpr std::string_view kSuffix = ".conf";
  if (!entry.ends_with(kSuffix)) return;
  const std::string vm = entry.substr(0, entry.size() - kSuffix.size());
  const std::string path = std::string(kConfigs) + "/" + entry;
  const auto text = read_claim_file(host, path, Claimant::kProxmox, problems);
  if (!text) return;
  std::vector<Error> malformed;
  for (const auto& device : parse_proxmox_config(*text, malformed)) {
    for (const auto& function : device.functions) {
      auto claim = claim_of(function, vm, host.display(path));
      claim.fact = "gives it to the VM as " + device.key;
      claim.remedy = "take it from the VM: qm set " + vm + " --delete " + device.key;
      claims.push_back(std::move(claim));
    }
  }
  for (auto& error : malformed) note_problem(host, path, Claimant::kProxmox, std::move(error), problems);
}

std::optional<ProxmoxReservation> parse_reservation(std::string_view line, std::vector<Error>& problems) {
  const auto words = split(line, ' ');
  const auto function = PciAddress::parse(words[0]);
  if (!function) {
    problems.push_back(malformed_claim("'" + std::string(line) + "' names no PCI address"));
    return std::nullopt;
  }
  ProxmoxReservation reservation;
  reservation.function = *function;
  reservation.vm = words.size() > 1 ? parse_number<std::uint32_t>(words[1]).value_or(0) : 0;
  const std::string_view until = words.size() == 3 ? words[2] : std::string_view();
  if (until.starts_with("pid:")) reservation.pid = parse_number<std::uint32_t>(until.substr(4));
  if (until.starts_with("time:")) reservation.expires = parse_number<std::uint64_t>(until.substr(5));
  if (reservation.vm == 0 || (!reservation.pid && !reservation.expires)) {
    problems.push_back(malformed_claim("'" + std::string(line) + "' is no reservation"));
  }
  return reservation;
}

// "0000:41:00.0", "41:00", ...: one function or a slot's.
std::vector<PciAddress> functions_of(std::string_view id) {
  if (const auto function = PciAddress::parse(id)) return {*function};
  const auto first = PciAddress::parse(std::string(id) + ".0");
  std::vector<PciAddress> functions;
  for (std::uint8_t n = 0; first && n < kMostFunctions; ++n) {
    functions.push_back(*first);
    functions.back().function = n;
  }
  return functions;
}

std::optional<ProxmoxHostpci> parse_hostpci(std::string_view key, std::string_view value,
                                            std::vector<Error>& problems) {
  constexpr std::string_view kHost = "host=";
  ProxmoxHostpci device{std::string(key), {}};
  for (auto option : split(value, ',')) {
    option = trim(option);
    if (option.starts_with(kHost)) option.remove_prefix(kHost.size());
    if (option.find('=') != std::string_view::npos) continue;  // another option, or a mapping
    for (const auto id : split(option, ';')) {
      const auto functions = functions_of(trim(id));
      if (functions.empty()) {
        problems.push_back(malformed_claim(device.key + " has '" + std::string(id) + "', which is no PCI address"));
      }
      device.functions.insert(device.functions.end(), functions.begin(), functions.end());
    }
  }
  if (device.functions.empty()) return std::nullopt;
  return device;
}

}  // namespace

std::vector<ProxmoxReservation> parse_proxmox_reservations(std::string_view text, std::vector<Error>& problems) {
  std::vector<ProxmoxReservation> reservations;
  for (auto line : split(text, '\n')) {
    line = trim(line);
    if (line.empty()) continue;
    if (auto reservation = parse_reservation(line, problems)) reservations.push_back(*reservation);
  }
  return reservations;
}

std::vector<ProxmoxHostpci> parse_proxmox_config(std::string_view text, std::vector<Error>& problems) {
  constexpr std::string_view kKey = "hostpci";
  std::vector<ProxmoxHostpci> devices;
  for (auto line : split(text, '\n')) {
    line = trim(line);
    if (line.starts_with('[')) break;  // snapshots and pending changes
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || !line.starts_with(kKey)) continue;
    const auto key = line.substr(0, colon);
    if (!parse_number<std::uint32_t>(key.substr(kKey.size()))) continue;
    if (auto device = parse_hostpci(key, trim(line.substr(colon + 1)), problems)) devices.push_back(*std::move(device));
  }
  return devices;
}

std::vector<Claim> list_proxmox_claims(const HostRoot& host, std::vector<Error>& problems) {
  std::vector<Claim> claims;
  add_reservations(host, claims, problems);
  for (const auto& entry : list_claim_files(host, kConfigs, Claimant::kProxmox, problems)) {
    add_config(host, entry, claims, problems);
  }
  return claims;
}

}  // namespace slicebroker::vfio
