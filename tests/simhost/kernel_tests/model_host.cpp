// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/kernel_tests/model_host.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace slicebroker::simhost {
namespace {

// What would wait fails with EINTR.
class Impatient : public Caller {
 public:
  pid_t pid() const override { return 7; }
  bool wait(const std::function<bool()>& done) override { return done(); }
};

std::string errno_name(int error) {
  return error == 0 ? "0" : ::strerrorname_np(error);
}

std::string unescaped(std::string text) {
  if (text == "\"\"") return "";
  for (auto at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at)) text.replace(at, 2, "\n");
  return text;
}

std::string different(const std::string& line, const std::string& found) {
  return "  " + line + "\n    gave: " + found + "\n";
}

}  // namespace

int NodeOpeners::start(const SimulatedProcess& process) {
  for (const auto& node : process.nodes) {
    if (const int error = open(process.pid, node); error != 0) return error;
  }
  return 0;
}

int NodeOpeners::open(pid_t, const std::string& node) {
  const auto found = tree_.find(node.substr(1));
  if (!found) return ENOENT;
  Impatient caller;
  const int error = found->file.open ? found->file.open(caller) : 0;
  if (error == 0) open_.emplace_back(node, found);
  return error;
}

int NodeOpeners::close(pid_t pid, const std::string& node) {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const auto& entry) { return entry.first == node; });
  if (at == open_.end()) return EBADF;
  if (at->second->file.release) at->second->file.release(pid);
  open_.erase(at);
  return 0;
}

int NodeOpeners::end(pid_t) {
  return 0;
}

std::vector<pid_t> NodeOpeners::holders(const std::string&) const {
  return {};
}

// Lets go of a node when its write waits.
class ModelHost::Waiter : public Caller {
 public:
  Waiter(NodeOpeners& openers, std::string node) : openers_(openers), node_(std::move(node)) {}
  pid_t pid() const override { return 7; }
  bool wait(const std::function<bool()>& done) override {
    waited_ = !done();
    openers_.close(pid(), node_);
    return done();
  }
  bool waited() const { return waited_; }

 private:
  NodeOpeners& openers_;
  std::string node_;
  bool waited_ = false;
};

ModelHost::ModelHost(const std::string& name) {
  auto kernel = boot(read_host_file(name), tree_, openers_);
  if (!kernel) throw std::runtime_error(name + ": " + kernel.error());
  kernel_ = std::move(*kernel);
}

tl::expected<std::unique_ptr<Kernel>, std::string> ModelHost::boot_text(const std::string& text, Tree& tree) {
  static std::vector<std::unique_ptr<NodeOpeners>> openers;  // a kernel needs them as long as it lives
  openers.push_back(std::make_unique<NodeOpeners>(tree));
  return boot(text, tree, *openers.back());
}

std::shared_ptr<Tree::Node> ModelHost::resolve(const std::string& path, bool last) const {
  constexpr int kMostLinks = 40;
  std::filesystem::path rest = path.starts_with("pci/") ? "sys/bus/pci/devices/" + path.substr(4) : path;
  for (int links = 0; links < kMostLinks; ++links) {
    std::filesystem::path done;
    std::shared_ptr<Tree::Node> node = tree_.root();
    bool again = false;
    for (auto part = rest.begin(); part != rest.end(); ++part) {
      node = tree_.find((done / *part).string());
      if (!node) return nullptr;
      const bool end = std::next(part) == rest.end();
      if (node->kind == Tree::Node::Kind::kLink && (!end || last)) {
        auto target = done / node->target;
        for (auto more = std::next(part); more != rest.end(); ++more) target /= *more;
        rest = target.lexically_normal();
        again = true;
        break;
      }
      done /= *part;
    }
    if (!again) return node;
  }
  return nullptr;
}

std::string ModelHost::write(const std::string& path, const std::string& value, Caller& caller) {
  const auto node = resolve(path, true);
  if (!node) return "no " + path;
  if (!node->file.store) return "not modelled";
  return errno_name(node->file.store(value, caller));
}

std::string ModelHost::read(const std::string& path) {
  const auto node = resolve(path, true);
  if (!node) return "absent";
  if (!node->file.show) return "not readable";
  auto text = node->file.show();
  if (!text) return "errno " + errno_name(text.error());
  if (text->ends_with('\n')) text->pop_back();
  return *text;
}

std::string ModelHost::link(const std::string& path) {
  const auto node = resolve(path, false);
  if (!node || node->kind != Tree::Node::Kind::kLink) return "absent";
  return std::filesystem::path(node->target).filename().string();
}

std::string ModelHost::run_open(bool open, const std::string& node, const std::string& wanted) {
  const auto found = errno_name(open ? openers_.open(7, node) : openers_.close(7, node));
  return found == wanted ? "" : found;
}

std::string ModelHost::run_line(const std::string& line) {
  const auto equals = line.rfind(" = ");
  std::istringstream words(line.substr(0, equals));
  const auto wanted = equals == std::string::npos ? std::string("0") : unescaped(line.substr(equals + 3));
  std::string verb, path, value;
  words >> verb >> path;
  std::getline(words >> std::ws, value);
  value = unescaped(value);
  Impatient caller;
  std::string found;
  if (verb == "write") {
    found = write(path, value, caller);
  } else if (verb == "read") {
    found = read(path);
    if (wanted.ends_with("...") && found.starts_with(wanted.substr(0, wanted.size() - 3))) return "";
  } else if (verb == "link") {
    found = link(path);
  } else if (verb == "exists" || verb == "absent") {
    return (resolve(path, true) != nullptr) == (verb == "exists") ? "" : different(line, "the contrary");
  } else if (verb == "open" || verb == "close") {
    found = run_open(verb == "open", path, wanted);
    return found.empty() ? "" : different(line, found);
  } else if (verb == "wait") {
    const auto blank = value.rfind(' ');
    Waiter waiter(openers_, value.substr(blank + 1));
    found = write(path, value.substr(0, blank), waiter);
    if (!waiter.waited()) found += ", and did not wait";
  } else if (verb == "command") {
    const auto outcome = kernel_->command(path + " " + value);
    found = outcome ? "ok" : outcome.error();
    if (!outcome && wanted != "ok" && found.find(wanted) != std::string::npos) return "";
  } else {
    found = "no such verb";
  }
  return found == wanted ? "" : different(line, found);
}

std::string ModelHost::run(const std::string& lines) {
  std::string wrong;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream >> std::ws, line);) wrong += run_line(line);
  return wrong;
}

std::string read_host_file(const std::string& name) {
  std::ifstream file(std::string(SIMHOST_HOSTS) + "/" + name + ".host");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> host_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SIMHOST_HOSTS)) {
    if (entry.path().extension() == ".host") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace slicebroker::simhost
