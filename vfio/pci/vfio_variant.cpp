// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/vfio_variant.h"

#include <fnmatch.h>

#include <algorithm>

#include "vfio/base/text.h"

namespace slicebroker::vfio {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // distributions' files have 1 to 2 MiB

bool may_have_variant(const PciFunction& function) {
  const auto base_class = function.class_code >> 16;
  return !function.modalias.empty() && (base_class == 0x03 || base_class == 0x12);
}

// A driver may call itself vfio-pci or vfio_pci, its module has underscores only: the two are one name to modprobe.
bool same_module(std::string_view driver, std::string_view module) {
  return std::equal(driver.begin(), driver.end(), module.begin(), module.end(),
                    [](char a, char b) { return (a == '-' ? '_' : a) == (b == '-' ? '_' : b); });
}

VfioVariant find_driver(const PciAddress& function, const std::string& module,
                        const std::vector<std::string>& drivers) {
  const auto at = std::find_if(drivers.begin(), drivers.end(),
                               [&](const std::string& driver) { return same_module(driver, module); });
  return {function, at == drivers.end() ? module : *at, at != drivers.end()};
}

}  // namespace

std::vector<VfioAlias> parse_vfio_aliases(std::string_view modules_alias) {
  constexpr std::string_view kAlias = "alias ";
  constexpr std::string_view kBus = "vfio_pci:";
  std::vector<VfioAlias> aliases;
  for (std::size_t end = 0; !modules_alias.empty(); modules_alias.remove_prefix(end)) {
    const auto newline = modules_alias.find('\n');
    end = newline == std::string_view::npos ? modules_alias.size() : newline + 1;
    auto line = modules_alias.substr(0, newline);
    if (!line.starts_with(kAlias) || !line.substr(kAlias.size()).starts_with(kBus)) continue;
    line.remove_prefix(kAlias.size());
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos) continue;
    const auto module = trim(line.substr(blank));
    if (!module.empty()) aliases.push_back({std::string(line.substr(0, blank)), std::string(module)});
  }
  return aliases;
}

std::optional<std::string> best_vfio_module(const std::vector<VfioAlias>& aliases, std::string_view modalias) {
  const std::string wanted = "vfio_" + std::string(modalias);
  const auto wildcards = [](const VfioAlias& alias) {
    return std::count(alias.pattern.begin(), alias.pattern.end(), '*');
  };
  const VfioAlias* best = nullptr;
  for (const auto& alias : aliases) {
    if (::fnmatch(alias.pattern.c_str(), wanted.c_str(), 0) != 0) continue;
    if (best == nullptr || wildcards(alias) < wildcards(*best)) best = &alias;
  }
  if (best == nullptr || same_module(best->module, "vfio_pci")) return std::nullopt;
  return best->module;
}

Result<std::vector<VfioVariant>> list_vfio_variants(const HostRoot& host, const std::vector<PciFunction>& functions) {
  std::vector<VfioVariant> variants;
  if (std::none_of(functions.begin(), functions.end(), may_have_variant)) return variants;
  SLICEBROKER_TRY(const auto release, host.find_attr("proc/sys/kernel/osrelease"));
  if (!release) return variants;
  SLICEBROKER_TRY(const auto text, host.find_text("lib/modules/" + *release + "/modules.alias", kMostBytes));
  const auto aliases = parse_vfio_aliases(text.value_or(""));
  std::vector<std::string> drivers;
  for (const auto& function : functions) {
    const auto module = may_have_variant(function) ? best_vfio_module(aliases, function.modalias) : std::nullopt;
    if (!module) continue;
    if (drivers.empty()) {
      SLICEBROKER_TRY(drivers, host.find_dir("sys/bus/pci/drivers"));
    }
    variants.push_back(find_driver(function.address, *module, drivers));
  }
  return variants;
}

}  // namespace slicebroker::vfio
