// SPDX-License-Identifier: Apache-2.0
// Every reason of the resolver, and every code of the compatibility table, is what some transcript shows: none is dead,
// and none is shown to people unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "broker/resolver/reason.h"
#include "hypervisors/compatibility.h"

namespace slicebroker::scenarios {
namespace {

namespace fs = std::filesystem;

struct Exception {
  std::string_view code;
  std::string_view why;  // no command line on a simulated host shows it, and what shows it instead
};

constexpr Exception kExceptions[] = {
    {"COMPAT_UNSUPPORTED", "the compatibility table's own code stands in its place, and every refusing row has one"},
};

bool is_exception(std::string_view code) {
  return std::any_of(std::begin(kExceptions), std::end(kExceptions), [&](const auto& e) { return e.code == code; });
}

// Words of capitals in the lines that commands printed.
void add_codes(const fs::path& transcript, std::set<std::string, std::less<>>& codes) {
  std::ifstream file(transcript);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("  ")) continue;
    std::string word;
    for (const char c : line + "\n") {
      if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_') {
        word += c;
      } else {
        codes.insert(std::exchange(word, ""));
      }
    }
  }
}

std::set<std::string, std::less<>> codes_shown() {
  std::set<std::string, std::less<>> codes;
  for (const auto& entry : fs::recursive_directory_iterator(SCENARIOS)) {
    if (entry.path().extension() == ".transcript") add_codes(entry.path(), codes);
  }
  return codes;
}

std::set<std::string_view> codes_there_are() {
  std::set<std::string_view> codes;
  for (const auto* reason : broker::all_reasons()) codes.insert(reason->code);
  for (const auto& row : hypervisors::compatibility_table()) codes.insert(row.reason);
  for (const auto& refusal : hypervisors::adapter_refusals()) codes.insert(refusal.reason);
  codes.erase("");
  return codes;
}

TEST(Codes, EachIsShownByATranscript) {
  const auto shown = codes_shown();
  for (const auto code : codes_there_are()) {
    EXPECT_TRUE(shown.contains(code) || is_exception(code)) << code << " is in no transcript below " << SCENARIOS;
  }
}

TEST(Codes, ExceptionsAreStillThose) {
  const auto shown = codes_shown();
  const auto all = codes_there_are();
  for (const auto& exception : kExceptions) {
    EXPECT_TRUE(all.contains(exception.code)) << exception.code << " is no code";
    EXPECT_FALSE(shown.contains(exception.code)) << exception.code << " is shown after all: " << exception.why;
  }
}

}  // namespace
}  // namespace slicebroker::scenarios
