// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "broker/request/nearest.h"
#include "vfio/base/text.h"

// All of toml++ that is used here is compiled here: Debian's shared library would be one more at every start. Some of
// its assertions (3.3.0) are about the text, "[=]" for one, which the code behind them reports as it should; with
// NDEBUG clang would take them for promises.
#undef NDEBUG
#define TOML_ASSERT(condition) static_assert(true)
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace slicebroker::broker {
namespace {

using hypervisors::HypervisorKind;
using hypervisors::Surface;

constexpr std::array kHypervisors{HypervisorKind::kLibvirt, HypervisorKind::kCloudHypervisor};
constexpr const char* kHint = "see slicebroker-policy(5); to check a file: slicebroker policy check FILE";

constexpr const char* kGpuWords = "an address (0000:41:00.0), a UUID (GPU-<uuid>) or ids (10de:20b5)";
constexpr const char* kMemberWords = "an address (0000:41:00.1), ids (10de:22bc) or a class (class:0403)";
constexpr const char* kGpuResetWords = "none, function, bus or any";
constexpr const char* kVfResetWords = "none or function";
constexpr const char* kCardWords = "an address (0000:41:00.0) or ids (10de:1db6)";
constexpr const char* kSurfaceWords = "one of vendor-vf, mdev, vf, gpu";
constexpr const char* kClaimantWords = "one of mdevctl, driverctl, libvirt, proxmox";
constexpr const char* kFallbackWords = "none or gpu";
constexpr const char* kIsolationWords = "any, time-sliced or hardware";

std::string kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "a number";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "a boolean";
    default: return "a date or time";
  }
}

// A table of the document with the name that a reader finds it by: "surfaces.libvirt".
struct Section {
  const toml::table* table;
  std::string path;

  std::string name_of(std::string_view key) const { return (path.empty() ? "" : path + ".") + std::string(key); }
};

// Walks the document, notes everything that is wrong, and goes on.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  void wrong(const toml::source_region& at, std::string what, std::string fact) {
    Error problem;
    problem.code = ErrorCode::kUsage;
    problem.reason = "BAD_POLICY";
    problem.tried = std::move(what);
    problem.subject = file_ + ":" + std::to_string(at.begin.line) + ":" + std::to_string(at.begin.column);
    problem.fact = std::move(fact);
    problems_.emplace_back(at.begin, std::move(problem));
  }

  void only_keys(const Section& section, const std::vector<std::string>& known) {
    for (const auto& [key, node] : *section.table) {
      const std::string word(key.str());
      if (std::find(known.begin(), known.end(), word) != known.end()) continue;
      wrong(key.source(), section.name_of(word),
            "there is no such key; " + hint_for(word, known, "expected " + join(known, ", ")));
    }
  }

  std::optional<Section> find_section(const Section& parent, std::string_view key) {
    const auto* node = parent.table->get(key);
    if (node == nullptr) return std::nullopt;
    if (const auto* table = node->as_table()) return Section{table, parent.name_of(key)};
    wrong(node->source(), parent.name_of(key), "it is " + kind_of(*node) + "; expected a table");
    return std::nullopt;
  }

  // A text that `parse` understands.
  template <class T>
  std::optional<T> find_value(const Section& section, std::string_view key, std::optional<T> (*parse)(std::string_view),
                              const char* expected) {
    const auto* node = section.table->get(key);
    return node != nullptr ? value_of(*node, section.name_of(key), parse, expected) : std::nullopt;
  }

  // A list of such texts; nullopt where the key is missing.
  template <class T>
  std::optional<std::vector<T>> find_list(const Section& section, std::string_view key,
                                          std::optional<T> (*parse)(std::string_view), const char* expected) {
    const auto* node = section.table->get(key);
    if (node == nullptr) return std::nullopt;
    const auto* array = node->as_array();
    if (array == nullptr) {
      wrong(node->source(), section.name_of(key),
            "it is " + kind_of(*node) + "; expected a list, each " + std::string(expected));
      return std::nullopt;
    }
    std::vector<T> values;
    for (const auto& element : *array) {
      if (auto value = value_of(element, section.name_of(key), parse, expected)) values.push_back(*std::move(value));
    }
    return values;
  }

  bool content() const { return problems_.empty(); }

  Error error() && {
    Error error;
    error.code = ErrorCode::kUsage;
    error.reason = "BAD_POLICY";
    error.tried = "read the policy";
    error.subject = std::move(file_);
    error.fact = "nothing of it is applied";
    error.hint = kHint;
    // A table of toml++ goes by its keys, a reader by lines.
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [at, problem] : problems_) error.causes.push_back(std::move(problem));
    return error;
  }

 private:
  template <class T>
  std::optional<T> value_of(const toml::node& node, const std::string& name,
                            std::optional<T> (*parse)(std::string_view), const char* expected) {
    const auto* text = node.as_string();
    if (text == nullptr) {
      wrong(node.source(), name, "it is " + kind_of(node) + "; expected " + expected);
      return std::nullopt;
    }
    auto value = parse(text->get());
    if (!value) wrong(node.source(), name, "'" + text->get() + "' is not understood; expected " + expected);
    return value;
  }

  std::string file_;
  std::vector<std::pair<toml::source_position, Error>> problems_;
};

void read_gpus(Reader& reader, const Section& section, Policy& policy) {
  reader.only_keys(section, {"include", "exclude", "use_claimed_by"});
  policy.include = reader.find_list(section, "include", parse_gpu_match, kGpuWords);
  policy.exclude = reader.find_list(section, "exclude", parse_gpu_match, kGpuWords).value_or(std::vector<GpuMatch>{});
  if (const auto tools = reader.find_list(section, "use_claimed_by", vfio::parse_claimant, kClaimantWords)) {
    policy.use_claimed_by.insert(tools->begin(), tools->end());
  }
}

void read_limits(Reader& reader, const Section& section, Policy& policy) {
  reader.only_keys(section, {"fallback", "isolation"});
  policy.most_fallback =
      reader.find_value(section, "fallback", parse_fallback, kFallbackWords).value_or(policy.most_fallback);
  policy.least_isolation =
      reader.find_value(section, "isolation", parse_isolation, kIsolationWords).value_or(policy.least_isolation);
  // What is not said in [defaults] follows the limits.
  policy.default_fallback = policy.most_fallback;
  policy.default_isolation = policy.least_isolation;
}

// After read_limits(): a default that no request could have is a slip.
void read_defaults(Reader& reader, const Section& section, Policy& policy) {
  reader.only_keys(section, {"fallback", "isolation"});
  const auto fallback = reader.find_value(section, "fallback", parse_fallback, kFallbackWords);
  if (fallback == Fallback::kGpu && policy.most_fallback == Fallback::kNone) {
    reader.wrong(section.table->get("fallback")->source(), section.name_of("fallback"),
                 "'gpu' goes past limits.fallback, which is 'none'; expected none");
  }
  policy.default_fallback = fallback.value_or(policy.default_fallback);
  const auto isolation = reader.find_value(section, "isolation", parse_isolation, kIsolationWords);
  if (isolation && *isolation < policy.least_isolation) {
    const std::string least(name(policy.least_isolation));
    reader.wrong(section.table->get("isolation")->source(), section.name_of("isolation"),
                 "'" + std::string(name(*isolation)) + "' is below limits.isolation; expected " + least +
                     (policy.least_isolation == Isolation::kHardware ? "" : " or more"));
  }
  policy.default_isolation = isolation.value_or(policy.default_isolation);
}

SurfaceRule read_surface_rule(Reader& reader, const Section& section) {
  SurfaceRule rule;
  if (const auto allow = reader.find_list(section, "allow", hypervisors::parse_surface, kSurfaceWords)) {
    rule.allow.emplace(allow->begin(), allow->end());
  }
  if (const auto deny = reader.find_list(section, "deny", hypervisors::parse_surface, kSurfaceWords)) {
    rule.deny.insert(deny->begin(), deny->end());
  }
  return rule;
}

void read_surfaces(Reader& reader, const Section& section, Policy& policy) {
  std::vector<std::string> known{"allow", "deny"};
  for (const auto kind : kHypervisors) known.emplace_back(hypervisors::name(kind));
  reader.only_keys(section, known);
  policy.surfaces = read_surface_rule(reader, section);
  for (const auto kind : kHypervisors) {
    const auto own = reader.find_section(section, hypervisors::name(kind));
    if (!own) continue;
    reader.only_keys(*own, {"allow", "deny"});
    policy.hypervisor_surfaces[kind] = read_surface_rule(reader, *own);
  }
}

void read_member_rule(Reader& reader, const Section& section, Policy& policy) {
  reader.only_keys(section, {"gpus", "allow"});
  MemberRule rule;
  rule.gpus = reader.find_list(section, "gpus", parse_gpu_match, kGpuWords);
  const auto allow = reader.find_list(section, "allow", parse_member_match, kMemberWords);
  if (section.table->get("allow") == nullptr) {
    reader.wrong(section.table->source(), section.path, "it allows nothing; expected a key 'allow'");
  }
  rule.allow = allow.value_or(std::vector<MemberMatch>{});
  policy.group_members.push_back(std::move(rule));
}

void read_group_members(Reader& reader, const Section& root, Policy& policy) {
  constexpr std::string_view kKey = "group_members";
  const auto* node = root.table->get(kKey);
  if (node == nullptr) return;
  const auto* rules = node->as_array();
  if (rules == nullptr) {
    reader.wrong(node->source(), std::string(kKey), "it is " + kind_of(*node) + "; expected [[group_members]]");
    return;
  }
  for (const auto& element : *rules) {
    if (const auto* table = element.as_table()) {
      read_member_rule(reader, {table, std::string(kKey)}, policy);
    } else {
      reader.wrong(element.source(), std::string(kKey),
                   "it is " + kind_of(element) + "; expected a table with 'allow', and 'gpus' where not for all");
    }
  }
}

void read_hygiene(Reader& reader, const Section& section, Hygiene& hygiene) {
  reader.only_keys(section, {"gpu", "vf", "exempt"});
  hygiene.gpu = reader.find_value(section, "gpu", parse_gpu_reset, kGpuResetWords).value_or(hygiene.gpu);
  hygiene.vf = reader.find_value(section, "vf", parse_vf_reset, kVfResetWords).value_or(hygiene.vf);
  hygiene.exempt = reader.find_list(section, "exempt", parse_card_match, kCardWords).value_or(std::vector<CardMatch>{});
}

Policy read_document(Reader& reader, const toml::table& document) {
  const Section root{&document, ""};
  Policy policy;
  reader.only_keys(root, {"gpus", "limits", "defaults", "group_members", "surfaces", "hygiene"});
  if (const auto section = reader.find_section(root, "gpus")) read_gpus(reader, *section, policy);
  if (const auto section = reader.find_section(root, "limits")) read_limits(reader, *section, policy);
  if (const auto section = reader.find_section(root, "defaults")) read_defaults(reader, *section, policy);
  read_group_members(reader, root, policy);
  if (const auto section = reader.find_section(root, "surfaces")) read_surfaces(reader, *section, policy);
  if (const auto section = reader.find_section(root, "hygiene")) read_hygiene(reader, *section, policy.hygiene);
  return policy;
}

// toml++ 3.3.0 reaches __builtin_unreachable for letters from U+00A1 to U+0499 outside of strings and comments. No word
// of a policy has one, so each becomes a '?', which does no harm in a comment and is named at its place elsewhere.
std::string in_ascii(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::string ascii;
  bool in_letter = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool continues = in_letter && (byte & 0xc0U) == 0x80U;
    in_letter = byte >= 0x80U;
    if (!continues) ascii += in_letter ? '?' : c;
  }
  return ascii;
}

Error unreadable(const std::string& file, int os_errno) {
  Error error = os_error("read the policy", file, os_errno);
  error.code = ErrorCode::kUsage;
  error.hint = "name a policy file by --config or SLICEBROKER_CONFIG, or leave both out";
  return error;
}

}  // namespace

Result<Policy> parse_policy(std::string_view text, const std::string& file) {
  Reader reader(file);
  Policy policy;
  try {
    policy = read_document(reader, toml::parse(in_ascii(text)));
  } catch (const toml::parse_error& error) {
    reader.wrong(error.source(), "syntax", std::string(error.description()));
  }
  if (!reader.content()) return fail(std::move(reader).error());
  return policy;
}

Result<Policy> read_policy(const std::string& file) {
  constexpr std::streamsize kMost = 1 << 20;
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(unreadable(file, errno != 0 ? errno : EIO));
  std::string text(kMost + 1, '\0');
  stream.read(text.data(), kMost + 1);
  if (stream.bad() || (stream.fail() && !stream.eof())) return fail(unreadable(file, errno != 0 ? errno : EIO));
  if (stream.gcount() > kMost) return fail(unreadable(file, EFBIG));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return parse_policy(text, file);
}

Result<Policy> find_policy(const std::string& file) {
  auto policy = read_policy(file);
  // A directory that is not there either is no error of anybody's; one that may not be looked into is.
  if (!policy && policy.error().os_errno == ENOENT) return Policy{};
  return policy;
}

}  // namespace slicebroker::broker
