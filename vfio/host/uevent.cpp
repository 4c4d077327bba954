// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/uevent.h"

#include <algorithm>

#include "vfio/base/text.h"

namespace slicebroker::vfio {
namespace {

constexpr std::size_t kMostAttribute = 4096;  // sysfs gives at most a page
constexpr std::size_t kMostMessage = 8192;    // UEVENT_BUFFER_SIZE is 2048; udev reads into 8 KiB

Error malformed(std::string_view subject, std::string fact) {
  Error error;
  error.reason = "MALFORMED_UEVENT";
  error.tried = "understand the uevent";
  error.subject = subject;
  error.fact = std::move(fact);
  return error;
}

bool is_key(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c != '\x7f'; });
}

Result<void> add_line(std::string_view line, std::string_view subject, Uevent& uevent) {
  const auto equals = line.find('=');
  const auto key = line.substr(0, equals);
  if (equals == std::string_view::npos || !is_key(key)) {
    return fail(malformed(subject, "'" + std::string(line.substr(0, 80)) + "' is no KEY=VALUE"));
  }
  uevent.values.insert_or_assign(std::string(key), std::string(line.substr(equals + 1)));
  return {};
}

Result<void> check_size(std::string_view text, std::size_t most, std::string_view subject) {
  if (text.size() <= most) return {};
  return fail(malformed(subject, "it has " + std::to_string(text.size()) + " bytes, more than the kernel makes"));
}

}  // namespace

std::string_view Uevent::value(std::string_view key) const {
  const auto at = values.find(key);
  return at == values.end() ? std::string_view() : at->second;
}

Result<Uevent> parse_uevent_attribute(std::string_view text, std::string_view subject) {
  SLICEBROKER_CHECK(check_size(text, kMostAttribute, subject));
  if (text.find('\0') != std::string_view::npos) return fail(malformed(subject, "it has a NUL byte"));
  if (text.ends_with('\n')) text.remove_suffix(1);
  Uevent uevent;
  if (text.empty()) return uevent;
  for (const auto line : split(text, '\n')) SLICEBROKER_CHECK(add_line(line, subject, uevent));
  return uevent;
}

Result<Uevent> parse_uevent_message(std::string_view message, std::string_view subject) {
  SLICEBROKER_CHECK(check_size(message, kMostMessage, subject));
  if (message.ends_with('\0')) message.remove_suffix(1);
  auto lines = split(message, '\0');
  const auto at = lines.front().find('@');
  if (at == std::string_view::npos || !is_key(lines.front().substr(0, at)) || lines.front().substr(at + 1, 1) != "/") {
    return fail(malformed(subject, "it does not begin with ACTION@DEVPATH"));
  }
  Uevent uevent;
  uevent.action = lines.front().substr(0, at);
  uevent.devpath = lines.front().substr(at + 1);
  lines.erase(lines.begin());
  for (const auto line : lines) SLICEBROKER_CHECK(add_line(line, subject, uevent));
  return uevent;
}

}  // namespace slicebroker::vfio
