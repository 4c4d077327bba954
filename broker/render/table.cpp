// SPDX-License-Identifier: Apache-2.0
#include "broker/render/table.h"

#include <algorithm>

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
  const auto same_but_for_it = [&](std::vector<std::string> a, std::vector<std::string> b) {
    if (a.size() <= column || b.size() <= column) return false;
    a[column] = b[column];
    return a == b;
  };
  std::vector<std::vector<std::string>> result;
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t next = first + 1;
    while (next < rows.size() && same_but_for_it(rows[first], rows[next])) ++next;
    result.push_back(rows[first]);
    if (next - first > 1) result.back()[column] += " and " + std::to_string(next - first - 1) + " more";
    first = next;
  }
  return result;
}

}  // namespace slicebroker::broker
