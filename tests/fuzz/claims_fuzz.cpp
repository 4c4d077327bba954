// SPDX-License-Identifier: Apache-2.0
// Files of other tools that name devices.
#include "tests/fuzz/fuzz.h"
#include "vfio/claims/claim.h"
#include "vfio/claims/driverctl.h"
#include "vfio/claims/mdevctl.h"
#include "vfio/claims/proxmox.h"

using namespace slicebroker;

namespace {

template <class T>
void require_malformed(const Result<T>& result) {
  if (!result) fuzz::require_told(result.error(), ErrorCode::kFailed, "MALFORMED_CLAIM");
}

std::string line_of(const vfio::ProxmoxReservation& reservation) {
  const auto until = reservation.pid ? "pid:" + std::to_string(*reservation.pid)
                                     : "time:" + std::to_string(reservation.expires.value_or(0));
  return reservation.function.to_string() + " " + std::to_string(reservation.vm) + " " + until + "\n";
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  require_malformed(vfio::parse_mdevctl_definition(text));
  const auto driver = vfio::parse_driverctl_override(text);
  require_malformed(driver);
  if (driver)
    fuzz::require(vfio::parse_driverctl_override(*driver).value_or("") == *driver, "a driver's name is itself");

  std::vector<Error> problems;
  std::string lines;
  const auto reservations = vfio::parse_proxmox_reservations(text, problems);
  for (const auto& reservation : reservations) lines += line_of(reservation);
  if (problems.empty()) {
    fuzz::require(vfio::parse_proxmox_reservations(lines, problems) == reservations && problems.empty(),
                  "reservations written anew are the same");
  }
  for (const auto& device : vfio::parse_proxmox_config(text, problems)) {
    fuzz::require(!device.functions.empty() && device.key.starts_with("hostpci"), "a hostpci line names functions");
  }
  for (const auto& problem : problems) fuzz::require_told(problem, ErrorCode::kFailed, "MALFORMED_CLAIM");
  return 0;
}
