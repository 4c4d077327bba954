// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/tree.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace slicebroker::simhost {
namespace {

[[noreturn]] void mistake(const char* what, const std::string& path) {
  std::fprintf(stderr, "simhost: the model %s: %s\n", what, path.c_str());
  std::abort();
}

std::pair<std::string, std::string> split_last(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

void mark_removed(Tree::Node& node) {
  node.removed = true;
  for (const auto& [name, child] : node.children) mark_removed(*child);
}

}  // namespace

Tree::Tree() : root_(std::make_shared<Node>()) {
  root_->inode = last_inode_;  // 1, as FUSE wants its root
}

std::shared_ptr<Tree::Node> Tree::add(const std::string& path, Node node) {
  const auto [parent_path, name] = split_last(path);
  if (name.empty()) mistake("adds a path without a name", path);
  if (!parent_path.empty()) add_directory(parent_path);
  const auto parent = find(parent_path);
  if (parent->children.count(name) != 0) mistake("adds what exists", path);
  node.inode = ++last_inode_;
  auto added = std::make_shared<Node>(std::move(node));
  parent->children.emplace(name, added);
  if (listener_) listener_(parent->inode, name);
  return added;
}

void Tree::add_directory(const std::string& path) {
  if (const auto existing = find(path)) {
    if (existing->kind != Node::Kind::kDirectory) mistake("adds a directory where something else is", path);
    return;
  }
  add(path, Node{});
}

void Tree::add_file(const std::string& path, File file) {
  Node node;
  node.kind = Node::Kind::kFile;
  node.file = std::move(file);
  add(path, std::move(node));
}

void Tree::add_text(const std::string& path, std::string text) {
  File file;
  file.show = [text = std::move(text) + "\n"]() -> Text { return text; };
  add_file(path, std::move(file));
}

void Tree::add_link(const std::string& path, std::string target) {
  Node node;
  node.kind = Node::Kind::kLink;
  node.target = std::move(target);
  add(path, std::move(node));
}

void Tree::remove(const std::string& path) {
  const auto [parent_path, name] = split_last(path);
  const auto parent = find(parent_path);
  const auto entry = parent ? parent->children.find(name) : std::map<std::string, std::shared_ptr<Node>>::iterator();
  if (!parent || entry == parent->children.end()) mistake("removes what is not there", path);
  mark_removed(*entry->second);
  parent->children.erase(entry);
  if (listener_) listener_(parent->inode, name);
}

std::shared_ptr<Tree::Node> Tree::find(const std::string& path) const {
  auto node = root_;
  for (std::size_t at = 0; at < path.size();) {
    const auto slash = std::min(path.find('/', at), path.size());
    const auto child = node->children.find(path.substr(at, slash - at));
    if (child == node->children.end()) return nullptr;
    node = child->second;
    at = slash + 1;
  }
  return node;
}

std::vector<std::string> Tree::list(const std::string& path) const {
  std::vector<std::string> names;
  if (const auto node = find(path)) {
    for (const auto& [name, child] : node->children) names.push_back(name);
  }
  return names;
}

void Tree::on_change(std::function<void(ino_t parent, const std::string& name)> listener) {
  listener_ = std::move(listener);
}

}  // namespace slicebroker::simhost
