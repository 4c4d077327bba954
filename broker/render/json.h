// SPDX-License-Identifier: Apache-2.0
// For render/'s own sources only.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "broker/render/render.h"
#include "broker/render/table.h"

namespace slicebroker::broker {

// A JSON document of ours, {"schema":"slicebroker/1", ...}. Text from the host that is no UTF-8 is replaced, never
// thrown over.
inline std::string document(const nlohmann::ordered_json& members) {
  nlohmann::ordered_json object{{"schema", "slicebroker/1"}};
  object.update(members);
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// One thing's members: a JSON document, or one "name  value" line each.
inline std::string render_entry(const char* kind, const nlohmann::ordered_json& entry, Format format) {
  if (format == Format::kJson) return document({{kind, entry}});
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : entry.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    rows.push_back({key, text.empty() ? "-" : text});
  }
  return table(rows);
}

}  // namespace slicebroker::broker
