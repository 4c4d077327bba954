// SPDX-License-Identifier: Apache-2.0
#include "broker/request/nearest.h"

#include <algorithm>

#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

constexpr std::size_t kLongest = 256;  // of either text: bounds the work, as no name is longer

// Edits between two texts (optimal string alignment), by the three rows of the table that matter.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& known) {
  if (typed.size() > kLongest) return "";
  std::size_t least = std::clamp<std::size_t>(typed.size() / 6, 1, 3) + 1;
  const std::string* nearest = nullptr;
  for (const auto& name : known) {
    if (name.size() > kLongest) continue;
    const std::size_t distance = edits(lower(typed), lower(name));
    if (distance >= least) continue;
    least = distance;
    nearest = &name;
  }
  return nearest == nullptr ? "" : "did you mean " + *nearest + "?";
}

std::string hint_for(std::string_view typed, const std::vector<std::string>& known, const std::string& hint) {
  const std::string nearest = did_you_mean(typed, known);
  return nearest.empty() ? hint : nearest + " " + hint;
}

}  // namespace slicebroker::broker
