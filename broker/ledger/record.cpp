// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/record.h"

#include <nlohmann/json.hpp>

#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {

using nlohmann::json;

namespace {

// JSON holds characters and sysfs holds bytes: each byte is written as the character of its number.
std::string characters_of(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

// nullopt where a character is no byte's.
std::optional<std::string> bytes_of(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      bytes += text[i];
      continue;
    }
    if ((lead & 0xfc) != 0xc0 || i + 1 == text.size()) return std::nullopt;
    bytes += static_cast<char>(((lead & 0x03) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3f));
  }
  return bytes;
}

}  // namespace

std::string fields_text(const vfio::Fields& fields) {
  json object = json::object();
  for (const auto& [key, value] : fields) object[key] = characters_of(value);
  return object.dump();
}

std::string attachment_text(const hypervisors::Attachment& attachment) {
  json object{{"id", attachment.id}, {"surface", hypervisors::name(attachment.surface)}};
  if (attachment.mdev) object["mdev"] = attachment.mdev->to_string();
  if (attachment.function) object["function"] = attachment.function->to_string();
  object["companions"] = json::array();
  for (const auto& companion : attachment.companions) object["companions"].push_back(companion.to_string());
  return object.dump();
}

Result<vfio::Fields> parse_fields(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return fail(malformed_record("step", text));
  vfio::Fields fields;
  for (const auto& [key, value] : object.items()) {
    const auto bytes = value.is_string() ? bytes_of(value.get<std::string>()) : std::nullopt;
    if (!bytes) return fail(malformed_record("step", text));
    fields[key] = *bytes;
  }
  return fields;
}

Result<hypervisors::Attachment> parse_attachment(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  const auto malformed = [&] { return fail(malformed_record("lease.attachment", text)); };
  if (!object.is_object()) return malformed();
  const auto string_at = [&](const char* key) -> std::string {
    const auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  hypervisors::Attachment attachment;
  attachment.id = string_at("id");
  const auto surface = hypervisors::parse_surface(string_at("surface"));
  if (!surface) return malformed();
  attachment.surface = *surface;
  attachment.mdev = Uuid::parse(string_at("mdev"));
  attachment.function = PciAddress::parse(string_at("function"));
  if (!attachment.mdev && !attachment.function) return malformed();
  for (const auto& companion : object.value("companions", json::array())) {
    const auto address = companion.is_string() ? PciAddress::parse(companion.get<std::string>()) : std::nullopt;
    if (!address) return malformed();
    attachment.companions.push_back(*address);
  }
  return attachment;
}

Error malformed_record(std::string_view column, std::string_view text) {
  Error error;
  error.reason = "MALFORMED_RECORD";
  error.tried = "read the ledger's " + std::string(column);
  error.fact = "its text is '" + std::string(text.substr(0, 200)) + "'";
  error.hint = kWayOut;
  return error;
}

}  // namespace slicebroker::broker
