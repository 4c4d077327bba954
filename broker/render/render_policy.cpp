// SPDX-License-Identifier: Apache-2.0
// The policy in force: policy show, policy check.
#include "broker/render/json.h"
#include "broker/render/render.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;
using nlohmann::ordered_json;

std::string_view name_of(Fallback fallback) {
  return fallback == Fallback::kNone ? "none" : "gpu";
}

template <class Match>
std::vector<std::string> texts(const std::vector<Match>& matches) {
  std::vector<std::string> result;
  for (const auto& match : matches) result.push_back(to_string(match));
  return result;
}

std::vector<std::string> texts(const std::set<Surface>& surfaces) {
  std::vector<std::string> result;
  for (const auto surface : surfaces) result.emplace_back(hypervisors::name(surface));
  return result;
}

std::vector<std::string> texts(const std::set<vfio::Claimant>& claimants) {
  std::vector<std::string> result;
  for (const auto claimant : claimants) result.emplace_back(vfio::name(claimant));
  return result;
}

// Everything that can stand in a list is printable and has no quote.
std::string toml_line(const std::string& key, const std::vector<std::string>& list) {
  return key + " = [" + (list.empty() ? "" : "\"" + join(list, "\", \"") + "\"") + "]\n";
}

std::string toml_line(const std::string& key, std::string_view text) {
  return key + " = \"" + std::string(text) + "\"\n";
}

std::string toml_rule(const std::string& path, const SurfaceRule& rule) {
  return "\n[" + path + "]\n" + (rule.allow ? toml_line("allow", texts(*rule.allow)) : "") +
         toml_line("deny", texts(rule.deny));
}

std::string policy_toml(const Policy& policy) {
  std::string text = "[gpus]\n";
  if (policy.include) text += toml_line("include", texts(*policy.include));
  text += toml_line("exclude", texts(policy.exclude));
  text += toml_line("use_claimed_by", texts(policy.use_claimed_by));
  text += "\n[limits]\n" + toml_line("fallback", name_of(policy.most_fallback)) +
          toml_line("isolation", name(policy.least_isolation));
  text += "\n[defaults]\n" + toml_line("fallback", name_of(policy.default_fallback)) +
          toml_line("isolation", name(policy.default_isolation));
  for (const auto& rule : policy.group_members) {
    text += "\n[[group_members]]\n";
    if (rule.gpus) text += toml_line("gpus", texts(*rule.gpus));
    text += toml_line("allow", texts(rule.allow));
  }
  text += toml_rule("surfaces", policy.surfaces);
  for (const auto& [kind, rule] : policy.hypervisor_surfaces) {
    text += toml_rule("surfaces." + std::string(hypervisors::name(kind)), rule);
  }
  text += "\n[hygiene]\n" + toml_line("gpu", name(policy.hygiene.gpu)) + toml_line("vf", name(policy.hygiene.vf)) +
          toml_line("exempt", texts(policy.hygiene.exempt));
  return text;
}

// What is missing in the file is missing here too: an empty list would mean the opposite.
ordered_json rule_json(const SurfaceRule& rule) {
  ordered_json object;
  if (rule.allow) object["allow"] = texts(*rule.allow);
  object["deny"] = texts(rule.deny);
  return object;
}

ordered_json policy_json(const Policy& policy) {
  ordered_json gpus;
  if (policy.include) gpus["include"] = texts(*policy.include);
  gpus["exclude"] = texts(policy.exclude);
  gpus["use_claimed_by"] = texts(policy.use_claimed_by);
  auto members = ordered_json::array();
  for (const auto& rule : policy.group_members) {
    ordered_json entry;
    if (rule.gpus) entry["gpus"] = texts(*rule.gpus);
    entry["allow"] = texts(rule.allow);
    members.push_back(std::move(entry));
  }
  auto surfaces = rule_json(policy.surfaces);
  for (const auto& [kind, rule] : policy.hypervisor_surfaces) {
    surfaces[std::string(hypervisors::name(kind))] = rule_json(rule);
  }
  return {
      {"gpus", gpus},
      {"limits", {{"fallback", name_of(policy.most_fallback)}, {"isolation", name(policy.least_isolation)}}},
      {"defaults", {{"fallback", name_of(policy.default_fallback)}, {"isolation", name(policy.default_isolation)}}},
      {"group_members", members},
      {"surfaces", surfaces},
      {"hygiene",
       {{"gpu", name(policy.hygiene.gpu)}, {"vf", name(policy.hygiene.vf)}, {"exempt", texts(policy.hygiene.exempt)}}}};
}

}  // namespace

std::string render_policy(const Policy& policy, const std::string& source, Format format) {
  if (format == Format::kJson) return document({{"source", source}, {"policy", policy_json(policy)}});
  return "# " + source + "\n" + policy_toml(policy);
}

std::string render_policy_in_order(const std::string& file, Format format) {
  if (format == Format::kJson) return document({{"file", file}, {"in_order", true}});
  return file + ": in order\n";
}

}  // namespace slicebroker::broker
