// SPDX-License-Identifier: Apache-2.0
#include "tests/scenarios/plain_text.h"

#include <functional>
#include <regex>

namespace slicebroker::scenarios {
namespace {

constexpr long kHighestRealPid = 4'194'304;

std::string replace_each(const std::string& text, const std::regex& pattern,
                         const std::function<std::string(const std::smatch&)>& by) {
  std::string result;
  auto rest = text.begin();
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    result.append(rest, (*match)[0].first).append(by(*match));
    rest = (*match)[0].second;
  }
  return result.append(rest, text.end());
}

}  // namespace

std::string with_narrow_columns(const std::string& text) {
  static const std::regex kGap("(\\S) {3,}(?=\\S)");
  return std::regex_replace(text, kGap, "$1  ");
}

std::string PlainText::of(const std::string& text) {
  static const std::regex kUuid("(MIG-|GPU-)?\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b");
  static const std::regex kTime("\\b\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z");
  static const std::regex kPid("\\b(process |pid |pid: |\"pid\": ?|\"pid\":)(\\d+)\\b");
  auto plain = replace_each(text, kUuid, [this](const std::smatch& match) {
    const auto uuid = match.str();
    if (match[1].matched || known_.find(uuid) != std::string::npos) return uuid;
    return names_.try_emplace(uuid, "UUID-" + std::to_string(names_.size() + 1)).first->second;
  });
  plain = replace_each(plain, kTime, [](const std::smatch&) { return std::string("TIME"); });
  return replace_each(plain, kPid, [](const std::smatch& match) {
    return std::stol(match.str(2)) > kHighestRealPid ? match.str() : match.str(1) + "PID";
  });
}

}  // namespace slicebroker::scenarios
