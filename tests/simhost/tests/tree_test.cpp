// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace slicebroker::simhost {
namespace {

using testing::ElementsAre;

TEST(Tree, MakesDirectoriesOnTheWay) {
  Tree tree;
  tree.add_text("a/b/c", "text");
  EXPECT_THAT(tree.list("a/b"), ElementsAre("c"));
  EXPECT_EQ(tree.find("a/b/c")->file.show(), Text("text\n"));
  EXPECT_THAT(tree.list("nothing"), ElementsAre());
  EXPECT_FALSE(tree.exists("a/b/c/d"));
}

TEST(Tree, RemovesWithEverythingBelow) {
  Tree tree;
  tree.add_text("a/b/c", "text");
  const auto file = tree.find("a/b/c");
  tree.remove("a");
  EXPECT_FALSE(tree.exists("a"));
  EXPECT_TRUE(file->removed);
}

TEST(Tree, NeverUsesAnInodeTwice) {
  Tree tree;
  tree.add_text("a", "text");
  const auto first = tree.find("a")->inode;
  tree.remove("a");
  tree.add_text("a", "text");
  EXPECT_GT(tree.find("a")->inode, first);
}

TEST(Tree, TellsWhatChanged) {
  Tree tree;
  std::vector<std::string> changes;
  tree.on_change([&](ino_t parent, const std::string& name) { changes.push_back(std::to_string(parent) + name); });
  tree.add_link("a/b", "c");
  const auto directory = tree.find("a")->inode;
  tree.remove("a");
  EXPECT_THAT(changes, ElementsAre("1a", std::to_string(directory) + "b", "1a"));
}

TEST(TreeDeathTest, EndsAtMistakesOfTheModel) {
  Tree tree;
  tree.add_text("a", "text");
  EXPECT_DEATH(tree.add_text("a", "text"), "adds what exists: a");
  EXPECT_DEATH(tree.add_text("a/b", "text"), "adds a directory where something else is: a");
  EXPECT_DEATH(tree.remove("b/c"), "removes what is not there: b/c");
}

}  // namespace
}  // namespace slicebroker::simhost
