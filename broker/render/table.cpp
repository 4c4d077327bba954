// SPDX-License-Identifier: Apache-2.0
#include "broker/render/table.h"

#include <algorithm>
#include <map>
#include <set>

namespace slicebroker::broker {

std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::vector<std::vector<std::string>> folded(const std::vector<std::vector<std::string>>& rows, std::size_t column) {
  std::vector<std::vector<std::string>> result;
  std::map<std::vector<std::string>, std::size_t> places;  // of a row without the column
  std::vector<std::set<std::string>> values;               // of the column, by place
  for (const auto& row : rows) {
    auto rest = row;
    if (row.size() > column) rest[column].clear();
    const auto [place, is_new] = places.try_emplace(row.size() > column ? std::move(rest) : row, result.size());
    if (is_new) {
      result.push_back(row);
      values.emplace_back();
    }
    if (row.size() > column) values[place->second].insert(row[column]);
  }
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (values[i].size() > 1) result[i][column] += " and " + std::to_string(values[i].size() - 1) + " more";
  }
  return result;
}

}  // namespace slicebroker::broker
