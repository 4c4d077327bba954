// SPDX-License-Identifier: Apache-2.0
#include "broker/render/error.h"

#include <nlohmann/json.hpp>

#include "broker/render/json.h"
#include "broker/render/table.h"

namespace slicebroker::broker {
namespace {

std::string_view outcome_word(HostOutcome outcome) {
  switch (outcome) {
    case HostOutcome::kUntouched: return "untouched";
    case HostOutcome::kRestored: return "restored";
    case HostOutcome::kChanged: return "changed";
  }
  return "";
}

std::string_view code_words(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed: return "failed";
    case ErrorCode::kUsage: return "not understood";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kHeld: return "held by someone";
    case ErrorCode::kRefused: return "refused";
    case ErrorCode::kNoAnswer: return "no answer in time";
    case ErrorCode::kHostChanged: return "the host is not as before";
    case ErrorCode::kDrift: return "ledger and host disagree";
  }
  return "failed";
}

std::string reason_of(const Error& error) {
  return error.reason.empty() ? std::string(name(error.code)) : error.reason;
}

bool says_nothing(const Error& error) {
  return error.fact.empty() && error.subject.empty() && error.os_errno == 0;
}

// Every cause as one row, a level of causes indented below the one they explain. A layer that only passes on a single
// cause and adds neither subject nor fact is left out.
void add_rows(const Error& error, int depth, std::vector<std::vector<std::string>>& rows) {
  for (const auto& cause : error.causes) {
    const bool passes_on = says_nothing(cause) && !cause.causes.empty() && !cause.tried.starts_with("undo");
    if (!passes_on) {
      const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
      rows.push_back({indent + cause.tried, cause.subject, cause.causes.empty() ? reason_of(cause) : "", cause.fact});
    }
    add_rows(cause, passes_on ? depth : depth + 1, rows);
  }
}

nlohmann::ordered_json to_json(const Error& error) {
  nlohmann::ordered_json object{{"code", name(error.code)}, {"reason", reason_of(error)}, {"tried", error.tried},
                                {"subject", error.subject}, {"fact", error.fact},         {"hint", error.hint}};
  if (error.os_errno != 0) object["errno"] = errno_name(error.os_errno);
  if (error.host) object["host"] = outcome_word(*error.host);
  object["causes"] = nlohmann::ordered_json::array();
  for (const auto& cause : error.causes) object["causes"].push_back(to_json(cause));
  return object;
}

}  // namespace

int exit_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed: return 1;
    case ErrorCode::kUsage: return 2;
    case ErrorCode::kNotFound: return 3;
    case ErrorCode::kHeld: return 4;
    case ErrorCode::kRefused: return 5;
    case ErrorCode::kNoAnswer: return 6;
    case ErrorCode::kHostChanged: return 7;
    case ErrorCode::kDrift: return 8;
  }
  return 1;
}

std::string error_text(const Error& error) {
  std::string text = "error: " + error.tried;
  if (!error.subject.empty()) text += (error.tried.empty() ? "" : " ") + error.subject;
  text += ": " + std::string(code_words(error.code));
  if (error.causes.empty() && !error.reason.empty()) text += " (" + error.reason + ")";
  if (!error.fact.empty()) text += ": " + error.fact;
  text += "\n";
  std::vector<std::vector<std::string>> rows;
  add_rows(error, 0, rows);
  text += table(folded(rows, 1), "  ");
  if (error.host) text += "host: " + std::string(outcome_word(*error.host)) + "\n";
  if (!error.hint.empty()) text += "hint: " + error.hint + "\n";
  return text;
}

std::string error_json(const Error& error) {
  return document({{"error", to_json(error)}});
}

}  // namespace slicebroker::broker
