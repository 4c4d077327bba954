// SPDX-License-Identifier: Apache-2.0
#include "broker/request/selector.h"

#include <algorithm>
#include <array>
#include <functional>

#include "broker/request/nearest.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

constexpr std::size_t kLongest = 256;

Error bad_selector(std::string_view text, std::string expected) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.reason = "BAD_SELECTOR";
  error.tried = "understand the selector";
  error.subject = std::string(text.substr(0, kLongest));
  error.fact = std::move(expected);
  error.hint =
      "a selector is MIG-<uuid>, profile=1g.10gb, type=nvidia-558, memory=10GiB, mdev=<uuid>, vf=<address> or "
      "gpu=<address|GPU-uuid>";
  return error;
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c != '\x7f'; });
}

Result<Selector> parse_mig(std::string_view text) {
  const auto uuid = vfio::nvidia::MigUuid::parse(text);
  if (!uuid) return fail(bad_selector(text, "a MIG UUID is MIG-<uuid> or MIG-GPU-<uuid>/<instance>/<instance>"));
  return Selector(MigSelector{*uuid});
}

// "10gb" of "10gb+me" where a number stands before the unit; drops both.
bool take(std::string_view& text, std::string_view unit) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || text.front() == '0' || !text.substr(digits).starts_with(unit)) return false;
  text.remove_prefix(digits + unit.size());
  return true;
}

// A profile as NVIDIA writes it: [MIG ][<C>c.]<G>g.<M>gb[+me|+gfx|+me.all|-me] (nvidia.md 1.6), in either case. Another
// suffix of that kind is let through: a later driver may know it, and an unknown profile is refused by name.
Result<Selector> parse_profile(std::string_view text) {
  constexpr std::string_view kPrefix = "mig ";
  std::string profile = lower(text);
  if (profile.starts_with(kPrefix)) profile = trim(std::string_view(profile).substr(kPrefix.size()));
  std::string_view rest = profile;
  take(rest, "c.");
  const bool sizes = take(rest, "g.") && take(rest, "gb");
  const bool suffix = rest.empty() || ((rest.front() == '+' || rest.front() == '-') && rest.size() > 1 &&
                                       rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.", 1) == rest.npos);
  if (!sizes || !suffix) return fail(bad_selector(text, "a MIG profile looks like 1g.10gb or 1g.10gb+me"));
  return Selector(ProfileSelector{profile});
}

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array kUnits{Unit{"GiB", 1ULL << 30}, Unit{"MiB", 1ULL << 20}, Unit{"GB", 1'000'000'000},
                            Unit{"MB", 1'000'000}};

Result<Selector> parse_memory(std::string_view text) {
  constexpr std::string_view kExpected = "memory is a whole number with its unit: 10GiB, 10240MiB, 10GB or 10000MB";
  constexpr std::uint64_t kMost = 1ULL << 50;
  for (const auto& unit : kUnits) {
    if (!lower(text).ends_with(lower(unit.name))) continue;
    const auto number = parse_number<std::uint64_t>(trim(text.substr(0, text.size() - unit.name.size())));
    if (!number || *number == 0) break;
    if (*number > kMost / unit.bytes) return fail(bad_selector(text, "no GPU has so much memory"));
    return Selector(MemorySelector{*number * unit.bytes});
  }
  return fail(bad_selector(text, std::string(kExpected)));
}

Result<Selector> parse_type(std::string_view text) {
  return Selector(TypeSelector{std::string(text)});
}

Result<Selector> parse_mdev(std::string_view text) {
  const auto uuid = Uuid::parse(text);
  if (!uuid) return fail(bad_selector(text, "an mdev is named by its UUID"));
  return Selector(MdevSelector{*uuid});
}

Result<Selector> parse_vf(std::string_view text) {
  const auto address = PciAddress::parse(text);
  if (!address) return fail(bad_selector(text, "a PCI address looks like 0000:41:00.4"));
  return Selector(VfSelector{*address});
}

Result<Selector> parse_gpu(std::string_view text) {
  constexpr std::string_view kPrefix = "gpu-";
  const std::string folded = lower(text);
  if (folded.starts_with(kPrefix)) {
    const auto uuid = Uuid::parse(std::string_view(folded).substr(kPrefix.size()));
    if (!uuid) return fail(bad_selector(text, "a GPU UUID looks like GPU-<uuid>"));
    return Selector(GpuSelector{"GPU-" + uuid->to_string()});
  }
  const auto address = PciAddress::parse(text);
  if (!address) return fail(bad_selector(text, "a GPU is named by its PCI address, 0000:41:00.0, or GPU-<uuid>"));
  return Selector(GpuSelector{*address});
}

struct Key {
  std::string_view name;
  Result<Selector> (*parse)(std::string_view);
};
constexpr std::array kKeys{Key{"profile", parse_profile}, Key{"type", parse_type}, Key{"memory", parse_memory},
                           Key{"mdev", parse_mdev},       Key{"vf", parse_vf},     Key{"gpu", parse_gpu}};

Error unknown_key(std::string_view text, std::string_view key) {
  Error error = bad_selector(text, "there is no key '" + std::string(key) + "'");
  error.hint = hint_for(std::string(key) + "=", selector_keys(), error.hint);
  return error;
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Result<Selector> parse_selector(std::string_view text) {
  if (text.size() > kLongest || !printable(text)) return fail(bad_selector("", "it is too long or not printable"));
  if (lower(text.substr(0, 4)) == "mig-") return parse_mig(text);
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return fail(bad_selector(text, "it has no key"));
  const auto key = text.substr(0, equals);
  auto value = trim(text.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = trim(value.substr(1, value.size() - 2));
  if (value.find('"') != std::string_view::npos) return fail(bad_selector(text, "a quote is out of place"));
  const auto at = std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& known) { return known.name == key; });
  if (at == kKeys.end()) return fail(unknown_key(text, key));
  if (value.empty()) return fail(bad_selector(text, "nothing follows '" + std::string(key) + "='"));
  return at->parse(value);
}

std::vector<std::string> selector_keys() {
  std::vector<std::string> keys;
  for (const auto& key : kKeys) keys.push_back(std::string(key.name) + "=");
  return keys;
}

std::string gpu_instance_profile_of(const ProfileSelector& selector) {
  const auto part = selector.name.find("c.");
  return part == std::string::npos ? "" : selector.name.substr(part + 2);
}

std::string memory_text(std::uint64_t bytes) {
  for (const auto& unit : kUnits) {
    if (bytes % unit.bytes == 0) return std::to_string(bytes / unit.bytes) + std::string(unit.name);
  }
  return std::to_string(bytes) + " bytes";
}

std::string to_string(const Selector& selector) {
  return std::visit(Overloaded{
                        [](const MigSelector& s) { return s.uuid.to_string(); },
                        [](const ProfileSelector& s) { return "profile=" + s.name; },
                        [](const TypeSelector& s) { return "type=" + s.name; },
                        [](const MemorySelector& s) { return "memory=" + memory_text(s.bytes); },
                        [](const MdevSelector& s) { return "mdev=" + s.uuid.to_string(); },
                        [](const VfSelector& s) { return "vf=" + s.address.to_string(); },
                        [](const GpuSelector& s) {
                          const auto* address = std::get_if<PciAddress>(&s.gpu);
                          return "gpu=" + (address != nullptr ? address->to_string() : std::get<std::string>(s.gpu));
                        },
                    },
                    selector);
}

}  // namespace slicebroker::broker
