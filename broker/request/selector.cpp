// SPDX-License-Identifier: Apache-2.0
#include "broker/request/selector.h"

#include <algorithm>
#include <array>
#include <functional>

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
      "a selector is MIG-<uuid>, profile=1g.10gb, type=nvidia-558, mdev=<uuid>, vf=<address> or gpu=<address|GPU-uuid>";
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

// A profile as NVIDIA writes it: "1g.10gb", "1c.3g.40gb", "1g.10gb+me".
Result<Selector> parse_profile(std::string_view text) {
  const std::string profile = lower(text);
  const bool allowed = std::all_of(profile.begin(), profile.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-';
  });
  if (!allowed || profile.find("g.") == std::string::npos) {
    return fail(bad_selector(text, "a MIG profile looks like 1g.10gb or 1g.10gb+me"));
  }
  return Selector(ProfileSelector{profile});
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
constexpr std::array kKeys{Key{"profile", parse_profile}, Key{"type", parse_type}, Key{"mdev", parse_mdev},
                           Key{"vf", parse_vf}, Key{"gpu", parse_gpu}};

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
  if (at == kKeys.end()) return fail(bad_selector(text, "there is no key '" + std::string(key) + "'"));
  if (value.empty()) return fail(bad_selector(text, "nothing follows '" + std::string(key) + "='"));
  return at->parse(value);
}

std::string to_string(const Selector& selector) {
  return std::visit(Overloaded{
                        [](const MigSelector& s) { return s.uuid.to_string(); },
                        [](const ProfileSelector& s) { return "profile=" + s.name; },
                        [](const TypeSelector& s) { return "type=" + s.name; },
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
