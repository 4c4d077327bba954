// SPDX-License-Identifier: Apache-2.0
// A line of a host file: words, and options "key=value" that may stand anywhere behind the first.
#pragma once

#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace slicebroker::simhost::model {

class Words {
 public:
  explicit Words(const std::string& line) {
    std::istringstream stream(line);
    for (std::string word; stream >> word;) words_.push_back(word);
  }

  bool empty() const { return words_.empty(); }

  // The next word; empty at the end.
  std::string next() {
    if (words_.empty()) return {};
    auto word = words_.front();
    words_.erase(words_.begin());
    return word;
  }

  std::optional<std::string> option(const std::string& key) {
    for (auto at = words_.begin(); at != words_.end(); ++at) {
      if (!at->starts_with(key + "=")) continue;
      auto value = at->substr(key.size() + 1);
      words_.erase(at);
      return value;
    }
    return std::nullopt;
  }

 private:
  std::vector<std::string> words_;
};

}  // namespace slicebroker::simhost::model
