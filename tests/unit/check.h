// SPDX-License-Identifier: Apache-2.0
// Results in assertions: what was expected, and the whole error where it was something else.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>

#include "vfio/base/pci_address.h"
#include "vfio/base/result.h"
#include "vfio/base/uuid.h"

namespace slicebroker {

// How gtest prints an Error: one line a layer.
inline std::string to_text(const Error& error, const std::string& indent = "\n  ") {
  std::string text = indent + std::string(name(error.code)) + " " + error.reason + " | " + error.tried + " | " +
                     error.subject + " | " + error.fact + " | " + error.hint;
  if (error.host) text += " | host outcome " + std::to_string(static_cast<int>(*error.host));
  for (const auto& cause : error.causes) text += to_text(cause, indent + "  ");
  return text;
}

inline void PrintTo(const Error& error, std::ostream* out) {
  *out << to_text(error);
}
inline void PrintTo(ErrorCode code, std::ostream* out) {
  *out << name(code);
}
inline void PrintTo(HostOutcome outcome, std::ostream* out) {
  *out << (outcome == HostOutcome::kUntouched  ? "untouched"
           : outcome == HostOutcome::kRestored ? "restored"
                                               : "changed");
}
inline void PrintTo(const PciAddress& address, std::ostream* out) {
  *out << address.to_string();
}
inline void PrintTo(const Uuid& uuid, std::ostream* out) {
  *out << uuid.to_string();
}

}  // namespace slicebroker

namespace slicebroker::test {

template <class T>
testing::AssertionResult ok(const Result<T>& result) {
  if (result) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "it failed:" << to_text(result.error());
}

// A failure with this code, and with this reason in its top layer.
template <class T>
testing::AssertionResult fails(const Result<T>& result, ErrorCode code, std::string_view reason) {
  if (!result.has_value() && result.error().code == code && result.error().reason == reason) {
    return testing::AssertionSuccess();
  }
  auto failure = testing::AssertionFailure() << "wanted " << name(code) << " " << reason << ", ";
  return result.has_value() ? failure << "it succeeded" : failure << "got:" << to_text(result.error());
}

// Whether any layer of the error says so.
inline bool mentions(const Error& error, std::string_view text) {
  const auto in = [&](const std::string& field) { return field.find(text) != std::string::npos; };
  return in(error.reason) || in(error.tried) || in(error.subject) || in(error.fact) || in(error.hint) ||
         std::any_of(error.causes.begin(), error.causes.end(), [&](const Error& e) { return mentions(e, text); });
}

}  // namespace slicebroker::test
