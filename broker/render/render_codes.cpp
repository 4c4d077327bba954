// SPDX-License-Identifier: Apache-2.0
// Codes and compatibility, for the command line and as the pages of docs/ that are made from them.
#include "broker/render/error.h"
#include "broker/render/json.h"
#include "broker/render/render.h"
#include "broker/render/table.h"
#include "hypervisors/compatibility.h"

namespace slicebroker::broker {
namespace {

using nlohmann::ordered_json;

constexpr const char* kMadeBy =
    "<!-- Made from the code: SLICEBROKER_UPDATE_GOLDEN=1 ctest --preset dev -R Golden -->\n\n";

std::string status_text(const CodeEntry& entry) {
  return entry.failure ? std::to_string(exit_status(*entry.failure)) : "varies";
}

std::string remedy_text(const CodeEntry& entry) {
  return entry.remedy.empty() ? "the failure's own hint says it" : entry.remedy;
}

std::string_view fallback_text(const CodeEntry& entry) {
  return entry.fallback == MayFallBack::kYes ? "yes" : "no";
}

ordered_json code_json(const CodeEntry& entry) {
  return {{"code", entry.code},
          {"said_of", entry.said_of},
          {"meaning", entry.meaning},
          {"remedy", entry.remedy},
          {"exit_status", entry.failure ? ordered_json(exit_status(*entry.failure)) : ordered_json()},
          {"may_fall_back", entry.fallback == MayFallBack::kYes}};
}

// A cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

std::string row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const auto& text : cells) line += " " + cell(text) + " |";
  return line + "\n";
}

std::string in_code(std::string_view text) {
  return "`" + std::string(text) + "`";
}

std::string versions_text(const hypervisors::CompatibilityRow& row) {
  const bool from_the_beginning = row.since == hypervisors::Version{};
  if (from_the_beginning && !row.until) return "all";
  if (from_the_beginning) return "before " + row.until->to_string();
  return "from " + row.since.to_string() + (row.until ? " to before " + row.until->to_string() : "");
}

}  // namespace

std::string render_codes(Format format) {
  if (format == Format::kJson) {
    auto array = ordered_json::array();
    for (const auto& entry : list_codes()) array.push_back(code_json(entry));
    return document({{"reasons", array}});
  }
  std::vector<std::vector<std::string>> rows{{"CODE", "EXIT", "FALLBACK", "MEANING"}};
  for (const auto& entry : list_codes()) {
    rows.push_back({entry.code, status_text(entry), std::string(fallback_text(entry)), entry.meaning});
  }
  return table(rows);
}

std::string render_code(const CodeEntry& entry, Format format) {
  if (format == Format::kJson) return document({{"reason", code_json(entry)}});
  return table({{"code", entry.code},
                {"said of", entry.said_of},
                {"meaning", entry.meaning},
                {"remedy", remedy_text(entry)},
                {"exit status", status_text(entry)},
                {"may fall back", std::string(fallback_text(entry))}});
}

std::string reasons_page() {
  std::string text =
      std::string(kMadeBy) +
      "# Codes\n\n"
      "Every failure, and every candidate that is not taken, carries one of these codes: in `explain`,\n"
      "in error messages, and as `reason` in JSON. A code does not change its meaning.\n"
      "`slicebroker reasons CODE` shows one.\n\n"
      "*Exit* is the status of the command that fails with the code; where the host could not be\n"
      "restored it is 7, and the message says what is left. *Fallback*: whether the whole GPU may stand\n"
      "in for a slice when each candidate on that GPU has such a code.\n";
  std::string said_of;
  for (const auto& entry : list_codes()) {
    if (entry.said_of != said_of) {
      said_of = entry.said_of;
      text += "\n## Said of " + said_of + "\n\n" + row({"code", "meaning", "remedy", "exit", "fallback"}) +
              "| --- | --- | --- | --- | --- |\n";
    }
    text += row({in_code(entry.code), entry.meaning, remedy_text(entry), status_text(entry),
                 std::string(fallback_text(entry))});
  }
  return text;
}

std::string compatibility_page() {
  std::string text = std::string(kMadeBy) +
                     "# Compatibility\n\n"
                     "Which surface each hypervisor can really give to a guest. slicebroker looks here before it\n"
                     "touches the host; of several rows that fit, the first decides. *GPUs* is whose they are: `any`\n"
                     "is everybody's for whom no row above says otherwise, AMD's and Intel's among them.\n";
  std::optional<hypervisors::HypervisorKind> hypervisor;
  for (const auto& entry : hypervisors::compatibility_table()) {
    if (entry.hypervisor != hypervisor) {
      hypervisor = entry.hypervisor;
      text += "\n## " + std::string(name(*hypervisor)) + "\n\n" +
              row({"surface", "GPUs", "versions", "verdict", "why", "source"}) +
              "| --- | --- | --- | --- | --- | --- |\n";
    }
    text += row({in_code(name(entry.surface)), std::string(name(entry.vendor)), versions_text(entry),
                 entry.reason.empty() ? "supported" : in_code(entry.reason), std::string(entry.explanation),
                 std::string(entry.source)});
  }
  text += "\n## Refused when the hypervisor is asked\n\n" +
          row({"hypervisor", "surface", "when", "verdict", "why", "source"}) +
          "| --- | --- | --- | --- | --- | --- |\n";
  for (const auto& entry : hypervisors::adapter_refusals()) {
    text += row({std::string(name(entry.hypervisor)), in_code(name(entry.surface)), std::string(entry.when),
                 in_code(entry.reason), std::string(entry.explanation), std::string(entry.source)});
  }
  return text;
}

}  // namespace slicebroker::broker
