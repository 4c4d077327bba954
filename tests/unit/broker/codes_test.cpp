// SPDX-License-Identifier: Apache-2.0
// Every code has its line in the table, and the pages of docs/ are those that the tables make.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "broker/render/code_table.h"
#include "broker/render/render.h"
#include "tests/golden.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {
namespace {

using test::fails;
using test::ok;
using testing::HasSubstr;

TEST(Golden, ReasonsPage) {
  test::expect_golden("docs/reasons.md", reasons_page());
}

TEST(Golden, CompatibilityPage) {
  test::expect_golden("docs/compatibility.md", compatibility_page());
}

TEST(Codes, EachIsThereOnceAndSaysSomething) {
  std::set<std::string> codes;
  for (const auto& entry : list_codes()) {
    SCOPED_TRACE(entry.code);
    EXPECT_TRUE(codes.insert(entry.code).second);
    EXPECT_FALSE(entry.meaning.empty());
    EXPECT_FALSE(entry.said_of.empty());
    const auto found = find_code(entry.code);
    if (!entry.code.ends_with('*')) {
      ASSERT_TRUE(ok(found));
      EXPECT_EQ(found->code, entry.code) << "no family hides it";
    }
  }
}

// In the sources, all capitals with an underscore is a code. What is none is listed here with where it comes from.
std::set<std::string> words_of_the_sources() {
  std::set<std::string> words;
  const std::regex word("\"([A-Z][A-Z0-9]*(_[A-Z0-9]+)+)\"");
  const std::regex reason("reason = \"([A-Z0-9]+)\"");
  for (const auto* floor : {"vfio", "hypervisors", "broker"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(std::string(SOURCE_DIR) + "/" + floor)) {
      if (file.path().extension() != ".cpp") continue;
      const auto text = test::source_text(std::filesystem::relative(file.path(), SOURCE_DIR).string());
      for (const auto& pattern : {word, reason}) {
        for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) words.insert((*at)[1]);
      }
    }
  }
  return words;
}

TEST(Codes, OfTheSourcesAreAllInTheTable) {
  const auto words = words_of_the_sources();
  ASSERT_TRUE(words.contains("WEDGED") && words.contains("GROUP_NOT_VIABLE")) << "the sources were not found";
  const std::string nvml = test::source_text("vfio/nvidia/nvml_library.cpp");
  for (const auto& word : words) {
    if (word.starts_with("SLICEBROKER_")) continue;  // an environment variable
    // The second half of a code that begins with NVML_.
    if (nvml.find("\"" + word + "\"") != std::string::npos && find_code("NVML_" + word)) continue;
    if (word == "COMPAT_UNSUPPORTED") continue;  // printed under the compatibility table's codes
    EXPECT_TRUE(ok(find_code(word))) << "give it a line in broker/render/code_table.cpp";
  }
}

TEST(Codes, AreFoundAsAFailureShowsThem) {
  struct Case {
    const char* asked;
    const char* found;
  };
  const Case cases[] = {{"GROUP_NOT_VIABLE", "GROUP_NOT_VIABLE"},
                        {"group_not_viable", "GROUP_NOT_VIABLE"},
                        {"NVML_IN_USE", "NVML_*"},
                        {"NVML_NOT_FOUND", "NVML_NOT_FOUND"},
                        {"CH_HTTP_500", "CH_HTTP_*"},
                        {"LIBVIRT_42", "LIBVIRT_*"},
                        {"LIBVIRT_NOT_INSTALLED", "LIBVIRT_NOT_INSTALLED"},
                        {"EBUSY", "E*"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.asked);
    const auto entry = find_code(c.asked);
    ASSERT_TRUE(ok(entry));
    EXPECT_EQ(entry->code, c.found);
  }
}

TEST(Codes, UnknownOneHasANearMiss) {
  const auto near = find_code("GROUP_NOT_VIABL");
  ASSERT_FALSE(near);
  EXPECT_EQ(near.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(near.error().hint, HasSubstr("GROUP_NOT_VIABLE"));
  for (const auto* code : {"", "EVERYTHING", "GROUP"}) {
    const auto none = find_code(code);
    ASSERT_FALSE(none) << code;
    EXPECT_EQ(none.error().hint, "see: slicebroker reasons");
  }
}

TEST(Codes, AsJson) {
  const auto all = nlohmann::json::parse(render_codes(Format::kJson)).at("reasons");
  EXPECT_EQ(all.size(), list_codes().size());
  const auto one = nlohmann::json::parse(render_code(find_code("MIG_NOT_SURFACED").value(), Format::kJson));
  EXPECT_EQ(one.at("reason").at("exit_status"), 5);
  EXPECT_EQ(one["reason"].at("may_fall_back"), true);
  const auto family = nlohmann::json::parse(render_code(find_code("EBUSY").value(), Format::kJson));
  EXPECT_TRUE(family.at("reason").at("exit_status").is_null());
}

}  // namespace
}  // namespace slicebroker::broker
