// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/hypervisor.h"

#include <algorithm>
#include <array>

#include "hypervisors/bounded.h"
#include "hypervisors/cloud_hypervisor/cloud_hypervisor.h"
#include "hypervisors/libvirt/libvirt_hypervisor.h"
#include "vfio/base/text.h"

namespace slicebroker::hypervisors {
namespace {

Error bad_reference(std::string_view text, std::string fact) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = "read VM";
  error.subject = std::string(text);
  error.fact = std::move(fact);
  error.hint = "write libvirt:NAME, libvirt:UUID or ch:API-SOCKET";
  return error;
}

std::string_view scheme(HypervisorKind kind) {
  return kind == HypervisorKind::kLibvirt ? "libvirt" : "ch";
}

}  // namespace

std::string_view name(HypervisorKind kind) {
  return kind == HypervisorKind::kLibvirt ? "libvirt" : "cloud-hypervisor";
}

std::optional<HypervisorKind> parse_kind(std::string_view text) {
  if (text == "libvirt") return HypervisorKind::kLibvirt;
  if (text == "ch" || text == "cloud-hypervisor") return HypervisorKind::kCloudHypervisor;
  return std::nullopt;
}

std::optional<Version> Version::parse(std::string_view text) {
  if (text.starts_with('v')) text.remove_prefix(1);
  text = text.substr(0, text.find_first_of("-+"));
  std::array<std::uint32_t, 3> numbers{};
  const auto parts = split(text, '.');
  if (parts.size() > numbers.size()) return std::nullopt;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto number = parse_number<std::uint32_t>(parts[i]);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  return Version{numbers[0], numbers[1], numbers[2]};
}

std::string Version::to_string() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

Result<VmReference> VmReference::parse(std::string_view text) {
  VmReference vm;
  std::string_view target = text;
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    const auto kind = parse_kind(text.substr(0, colon));
    if (!kind) {
      return fail(bad_reference(text, "unknown hypervisor '" + std::string(text.substr(0, colon)) + "'"));
    }
    vm.kind = *kind;
    target = text.substr(colon + 1);
  } else if (text.find('/') != std::string_view::npos) {
    // libvirt forbids '/' in a domain's name, so this is an API socket whose scheme was forgotten.
    return fail(bad_reference(text, "a path needs its scheme"));
  }
  if (target.empty()) return fail(bad_reference(text, "the VM is not named"));
  vm.target = std::string(target);
  return vm;
}

std::string VmReference::to_string() const {
  return std::string(scheme(kind)) + ":" + target;
}

std::unique_ptr<Hypervisor> make_hypervisor(const VmReference& vm, const std::string& libvirt_uri,
                                            std::chrono::milliseconds deadline) {
  if (vm.kind == HypervisorKind::kCloudHypervisor) {
    cloud_hypervisor::CloudHypervisor::Timing timing;
    timing.query = std::min(timing.query, deadline);
    timing.attach = deadline;
    return std::make_unique<cloud_hypervisor::CloudHypervisor>(vm.target, timing);
  }
  Bounded::Limits limits;
  // libvirt waits 30 s for what else is done to the domain (QEMU_JOB_WAIT_TIME): whoever gives up earlier may take the
  // device back and still see it attached.
  limits.attach = std::max(limits.query, deadline);
  limits.query = std::min(limits.query, deadline);
  return std::make_unique<Bounded>(std::make_shared<libvirt::LibvirtHypervisor>(vm.target, libvirt_uri), vm.to_string(),
                                   limits);
}

}  // namespace slicebroker::hypervisors
