// SPDX-License-Identifier: Apache-2.0
#include "vfio/pci/reset.h"

#include <algorithm>

#include "vfio/base/text.h"
#include "vfio/host/ask_child.h"
#include "vfio/pci/pci_function.h"

namespace slicebroker::vfio {

template <class Archive>
void list_members(Archive& archive, Any<ResetDone> auto& done) {
  archive(done.how, done.functions);
}

template <class Archive>
void list_members(Archive& archive, Any<ResetOutlook> auto& outlook) {
  archive(outlook.no_function_reset, outlook.no_bus_reset);
}

namespace {

constexpr std::string_view kBus = "bus";

// The kernel gives up after 60 s by itself: with the usual 20 s for a write that is awaited.
constexpr int kDeadlines = 4;

struct Behind {
  PciAddress bridge;
  std::vector<PciAddress> functions;  // bridges left out
};

struct Bus {
  Behind behind;
  bool by_bridge = false;  // the bridge has reset_subordinate
};

Error not_possible(const PciAddress& function, std::string fact) {
  Error error;
  error.code = ErrorCode::kRefused;
  error.reason = "RESET_NOT_POSSIBLE";
  error.tried = "reset";
  error.subject = function.to_string();
  error.fact = std::move(fact);
  return error;
}

Error failed(const PciAddress& function, std::string fact) {
  Error error = not_possible(function, std::move(fact));
  error.code = ErrorCode::kFailed;
  error.reason = "RESET_FAILED";
  return error;
}

Result<std::string> read_methods(const HostRoot& root, const PciAddress& function) {
  SLICEBROKER_TRY(const auto text, root.find_attr(pci_path(function, "reset_method")));
  return text.value_or("");
}

bool has_method(std::string_view methods, std::string_view wanted) {
  const auto all = split(methods, ' ');
  return std::find(all.begin(), all.end(), wanted) != all.end();
}

Result<void> check_there(const HostRoot& root, const PciAddress& function) {
  SLICEBROKER_TRY(const bool there, root.is_there(pci_path(function)));
  if (there) return {};
  return fail(not_possible(function, "it is no longer there"));
}

// A reset under a driver of the host would take the device from it.
Result<void> check_nobody_drives(const HostRoot& root, const PciAddress& function) {
  SLICEBROKER_TRY(const auto driver, root.find_link_name(pci_path(function, "driver")));
  if (!driver) return {};
  SLICEBROKER_TRY(const auto vfio, root.find_dir(pci_path(function, "vfio-dev")));
  if (!vfio.empty()) return {};
  return fail(not_possible(function, "it is on " + *driver + ", which is no VFIO driver"));
}

// A card that did not survive reads as ones. So do a VF's vendor and device, always (PCI Express, SR-IOV): it is the
// whole header that tells.
Result<void> check_answers(const HostRoot& root, const PciAddress& function) {
  constexpr std::size_t kMost = 4096;
  constexpr std::size_t kHeader = 64;
  constexpr char kOnes = '\xff';
  SLICEBROKER_TRY(const auto config, root.find_text(pci_path(function, "config"), kMost));
  if (!config || config->empty()) return {};
  if (std::string_view(*config).substr(0, kHeader).find_first_not_of(kOnes) != std::string_view::npos) return {};
  return fail(failed(function, "it was reset and no longer answers on its bus"));
}

// A refusal of the kernel; its silence stays as it is.
Result<void> told(Result<void> written, const PciAddress& function) {
  if (written || written.error().code == ErrorCode::kNoAnswer) return written;
  Error error = failed(function, "the kernel refused it");
  error.os_errno = written.error().os_errno;
  return fail(std::move(error));
}

Result<void> write_one(const Host& host, const PciAddress& function, std::string_view leaf) {
  return host.root.write_attr_within(pci_path(function, leaf), "1", host.deadline);
}

Result<void> check_has_method(const PciAddress& function, std::string_view methods) {
  if (!methods.empty()) return {};
  return fail(not_possible(function, "the kernel has no way to reset it"));
}

Result<ResetDone> do_reset_function(const Host& host, const PciAddress& function) {
  SLICEBROKER_CHECK(check_there(host.root, function));
  SLICEBROKER_CHECK(check_nobody_drives(host.root, function));
  SLICEBROKER_TRY(const auto methods, read_methods(host.root, function));
  SLICEBROKER_CHECK(check_has_method(function, methods));
  SLICEBROKER_CHECK(told(write_one(host, function, "reset"), function));
  SLICEBROKER_CHECK(check_answers(host.root, function));
  return ResetDone{"function reset (" + std::string(split(methods, ' ').front()) + ")", {function}};
}

// "../../../devices/pci0000:40/0000:40:01.0/0000:41:00.0": what lies behind a bridge has it in its path.
Result<std::optional<Behind>> find_behind(const HostRoot& root, const PciAddress& function) {
  SLICEBROKER_TRY(const auto path, root.read_link(pci_path(function)));
  const auto parts = split(path, '/');
  const auto bridge = parts.size() < 2 ? std::nullopt : PciAddress::parse(parts[parts.size() - 2]);
  if (!bridge) return std::optional<Behind>();
  Behind behind{*bridge, {}};
  const std::string inside = "/" + bridge->to_string() + "/";
  SLICEBROKER_TRY(const auto names, root.list_dir("sys/bus/pci/devices"));
  for (const auto& name : names) {
    const auto address = PciAddress::parse(name);
    if (!address) continue;
    SLICEBROKER_TRY(const auto its_path, root.read_link(pci_path(*address)));
    if (its_path.find(inside) == std::string::npos) continue;
    SLICEBROKER_TRY(const auto class_text, root.read_attr(pci_path(*address, "class")));
    PciFunction its;
    its.class_code = parse_hex<std::uint32_t>(class_text).value_or(0);
    if (!is_bridge(its)) behind.functions.push_back(*address);
  }
  return std::optional(std::move(behind));
}

Result<void> write_methods(const Host& host, const PciAddress& function, std::string_view methods) {
  return host.root.write_attr_within(pci_path(function, "reset_method"), methods, host.deadline);
}

// What can't be looked at may be other than it was.
Result<void> restore_methods(const Host& host, const PciAddress& function, const std::string& methods) {
  const auto restore = [&]() -> Result<void> {
    SLICEBROKER_TRY(const auto now, read_methods(host.root, function));
    return now == methods ? Result<void>() : write_methods(host, function, methods);
  };
  auto restored = restore();
  if (!restored && restored.error().code != ErrorCode::kNoAnswer) restored.error().code = ErrorCode::kHostChanged;
  return restored;
}

// Of a function that is alone behind its bridge.
Result<void> reset_by_method(const Host& host, const PciAddress& function, const std::string& methods) {
  Result<void> done;
  if (methods != kBus) done = told(write_methods(host, function, kBus), function);
  if (done) done = told(write_one(host, function, "reset"), function);
  // After a silence the function's lock is taken: the next call puts them back.
  if (!done && done.error().code == ErrorCode::kNoAnswer) return done;
  SLICEBROKER_CHECK(restore_methods(host, function, methods));
  return done;
}

// The bus of a function, where a reset of it is offered and reaches nobody else. Who drives the functions is not asked,
// and what is `gone` counts as that.
Result<Bus> find_own_bus(const HostRoot& root, const PciAddress& function, std::string_view methods,
                         const std::vector<PciAddress>& own, const std::vector<PciAddress>& gone) {
  SLICEBROKER_TRY(auto behind, find_behind(root, function));
  if (!behind) return fail(not_possible(function, "it is behind no bridge"));
  std::erase_if(behind->functions,
                [&](const auto& other) { return std::find(gone.begin(), gone.end(), other) != gone.end(); });
  for (const auto& other : behind->functions) {
    if (std::find(own.begin(), own.end(), other) == own.end()) {
      return fail(not_possible(function, "a reset of its bus would reach " + other.to_string() + ", too"));
    }
  }
  SLICEBROKER_TRY(const bool by_bridge, root.is_there(pci_path(behind->bridge, "reset_subordinate")));
  if (!by_bridge && behind->functions.size() > 1) {
    return fail(not_possible(function, "this kernel resets no bus with more than one function"));
  }
  if (!by_bridge && !has_method(methods, kBus)) {
    return fail(not_possible(function, "neither it nor its bridge offers a reset of the bus"));
  }
  return Bus{*std::move(behind), by_bridge};
}

Result<ResetDone> do_reset_bus(const Host& host, const PciAddress& function, const std::string& methods,
                               const std::vector<PciAddress>& own) {
  SLICEBROKER_CHECK(check_there(host.root, function));
  SLICEBROKER_CHECK(restore_methods(host, function, methods));
  SLICEBROKER_TRY(const auto bus, find_own_bus(host.root, function, methods, own, {}));
  const auto& all = bus.behind.functions;
  for (const auto& other : all) SLICEBROKER_CHECK(check_nobody_drives(host.root, other));
  const auto& bridge = bus.behind.bridge;
  SLICEBROKER_CHECK(bus.by_bridge ? told(write_one(host, bridge, "reset_subordinate"), function)
                                  : reset_by_method(host, function, methods));
  for (const auto& other : all) SLICEBROKER_CHECK(check_answers(host.root, other));
  return ResetDone{"bus reset behind " + bridge.to_string(), all};
}

// nullopt: possible.
template <class T>
Result<std::optional<std::string>> impossibility(const Result<T>& looked) {
  if (looked) return std::nullopt;
  if (looked.error().reason == "RESET_NOT_POSSIBLE") return looked.error().fact;
  return fail(looked.error());
}

Result<ResetOutlook> do_foresee_reset(const HostRoot& root, const PciAddress& function,
                                      const std::vector<PciAddress>& own, const std::vector<PciAddress>& gone) {
  SLICEBROKER_TRY(const auto methods, read_methods(root, function));
  ResetOutlook outlook;
  SLICEBROKER_TRY(outlook.no_function_reset, impossibility(check_has_method(function, methods)));
  SLICEBROKER_TRY(outlook.no_bus_reset, impossibility(find_own_bus(root, function, methods, own, gone)));
  return outlook;
}

Host patient(const Host& host) {
  return {host.root.again(), host.nvml_library, kDeadlines * host.deadline, host.patience, host.watch};
}

}  // namespace

Result<std::string> read_reset_methods(const Host& host, const PciAddress& function) {
  return answer_of<std::string>(host, Purpose::kLook,
                                [&](const Host& watched) { return read_methods(watched.root, function); });
}

Result<ResetOutlook> foresee_reset(const Host& host, const PciAddress& function, const std::vector<PciAddress>& own,
                                   const std::vector<PciAddress>& gone) {
  return answer_of<ResetOutlook>(
      host, Purpose::kLook, [&](const Host& watched) { return do_foresee_reset(watched.root, function, own, gone); });
}

Result<ResetDone> reset_function(const Host& host, const PciAddress& function) {
  return answer_of<ResetDone>(patient(host), Purpose::kChange,
                              [&](const Host& watched) { return do_reset_function(watched, function); });
}

Result<ResetDone> reset_bus(const Host& host, const PciAddress& function, const std::string& methods,
                            const std::vector<PciAddress>& own) {
  return answer_of<ResetDone>(patient(host), Purpose::kChange,
                              [&](const Host& watched) { return do_reset_bus(watched, function, methods, own); });
}

}  // namespace slicebroker::vfio
