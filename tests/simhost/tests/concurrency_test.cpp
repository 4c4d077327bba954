// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "tests/simhost/tests/mounted.h"

namespace slicebroker::simhost {
namespace {

TEST(Concurrency, ServesAHundredReaders) {
  const auto host = start_small_host();
  ASSERT_TRUE(host);
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 100; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      for (int round = 0; round < 20; ++round) {
        if (read_text(host->root() + "/sys/text") != "hello\n") return 1;
      }
      return 0;
    }));
  }
  for (const auto& child : children) EXPECT_EQ(child->wait(), 0);
}

// Lookups, listings, /proc and changes of the same directories, all at once: none waits for another for ever.
TEST(Concurrency, OutlivesChangesWhileOthersWalk) {
  const auto host = start_small_host();
  ASSERT_TRUE(host);
  const auto& root = host->root();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, name = "d" + std::to_string(i)] {
      for (int round = 0; round < 100; ++round) {
        EXPECT_EQ(write_text(root + "/sys/create", name), 0);
        EXPECT_EQ(read_text(root + "/sys/links/" + name + "/text"), name + "\n");
        EXPECT_EQ(write_text(root + "/sys/made/" + name + "/remove", "1"), 0);
        EXPECT_EQ(read_text(root + "/sys/made/" + name + "/text"), "errno ENOENT");
      }
    });
    threads.emplace_back([&, name = "d" + std::to_string(i)] {
      for (int round = 0; round < 100; ++round) {
        std::error_code ignored;
        for (const auto* const directory : {"/sys/made", "/sys/links", "/proc"}) {
          for (const auto& entry : std::filesystem::directory_iterator(root + directory, ignored)) {
            read_text(entry.path() / "text");
          }
        }
        read_text(root + "/sys/made/" + name + "/text");
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace slicebroker::simhost
