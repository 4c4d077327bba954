// SPDX-License-Identifier: Apache-2.0
// Files of the repository that are made from the code. To make them anew:
//   SLICEBROKER_UPDATE_GOLDEN=1 ctest --preset dev -R Golden
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace slicebroker::test {

// The text of a file; `path` is relative to the source tree.
inline std::string source_text(const std::string& path) {
  std::ifstream stream(std::string(SOURCE_DIR) + "/" + path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

// The file has this text; with SLICEBROKER_UPDATE_GOLDEN set it is written instead. Name the test Golden.SOMETHING, so
// that the one command above finds it.
inline void expect_golden(const std::string& path, const std::string& text) {
  if (std::getenv("SLICEBROKER_UPDATE_GOLDEN") != nullptr) {
    std::ofstream stream(std::string(SOURCE_DIR) + "/" + path, std::ios::binary | std::ios::trunc);
    stream << text << std::flush;
    ASSERT_TRUE(stream.good()) << path << " can't be written";
    return;
  }
  EXPECT_EQ(source_text(path), text)
      << path << " is made from the code; to make it anew: SLICEBROKER_UPDATE_GOLDEN=1 ctest --preset dev -R Golden";
}

}  // namespace slicebroker::test
