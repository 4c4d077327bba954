// SPDX-License-Identifier: Apache-2.0
// A stand-in for the model, for tests of the front: boot() here makes a few files whose behaviour the tests know.
//   sys/text          "hello"                  sys/counter       "1", "2" ...: how often it was shown
//   sys/large         20,000 characters        sys/failing       reads give EPERM
//   sys/value         what was written last    sys/unmodelled    writable, no store
//   sys/create        a name: makes sys/made/NAME/{remove,text} and the link sys/links/NAME
//   sys/wait_for_node waits until nobody has /dev/node open
//   dev/node          can be opened by one at a time (EBUSY)
//   dev/many          counts its opens in sys/opens
//   dev/vfio/7        a node with nothing behind it
//   proc/sys/kernel/random/boot_id
// The command "value 7" sets sys/value, for the next boots too.
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>

#include "tests/simhost/kernel/kernel.h"

namespace slicebroker::simhost {
namespace {

std::string line_of(std::string_view value) {
  return std::string(value.substr(0, value.find('\n')));
}

class SmallKernel final : public Kernel {
 public:
  SmallKernel(Tree& tree, Processes& processes) : tree_(tree), processes_(processes) {
    static std::atomic<int> boots = 0;
    tree_.add_text("proc/sys/kernel/random/boot_id", "boot-" + std::to_string(++boots));
    tree_.add_text("sys/text", "hello");
    tree_.add_text("sys/large", std::string(20'000, 'x'));
    tree_.add_file("sys/counter", File{.show = [this]() -> Text { return std::to_string(++shown_) + "\n"; }});
    tree_.add_file("sys/failing", File{.show = []() -> Text { return tl::unexpected(EPERM); }});
    tree_.add_file("sys/unmodelled", File{.mode = 0200});
    add_value();
    add_create();
    add_nodes();
  }

  tl::expected<void, std::string> command(std::string_view line) override {
    if (line != "value 7") return tl::unexpected(std::string("the small host does not know this"));
    value_ = "7";
    return {};
  }
  // What was set by command() outlives a reboot.
  std::string after_reboot(std::string_view description) const override {
    return value_ == "7" ? "value 7" : std::string(description);
  }
  void set_value(std::string value) { value_ = std::move(value); }

 private:
  void add_value() {
    File value;
    value.mode = 0644;
    value.show = [this]() -> Text { return value_ + "\n"; };
    value.store = [this](std::string_view text, Caller&) {
      value_ = line_of(text);
      return 0;
    };
    tree_.add_file("sys/value", std::move(value));
  }

  void add_create() {
    File create;
    create.mode = 0200;
    create.store = [this](std::string_view text, Caller&) {
      const auto name = line_of(text);
      if (tree_.exists("sys/made/" + name)) return EEXIST;
      File remove;
      remove.mode = 0200;
      remove.store = [this, name](std::string_view, Caller&) {
        tree_.remove("sys/links/" + name);
        tree_.remove("sys/made/" + name);
        return 0;
      };
      tree_.add_file("sys/made/" + name + "/remove", std::move(remove));
      tree_.add_text("sys/made/" + name + "/text", name);
      tree_.add_link("sys/links/" + name, "../made/" + name);
      return 0;
    };
    tree_.add_file("sys/create", std::move(create));
    tree_.add_directory("sys/made");
    tree_.add_directory("sys/links");
  }

  void add_nodes() {
    File node;
    node.mode = 0600;
    node.open = [this](Caller&) { return node_open_ ? EBUSY : (node_open_ = true, 0); };
    node.release = [this](pid_t) { node_open_ = false; };
    tree_.add_file("dev/node", std::move(node));

    File many;
    many.mode = 0666;
    many.open = [this](Caller&) { return ++opens_, 0; };
    many.release = [this](pid_t) { --opens_; };
    tree_.add_file("dev/many", std::move(many));
    tree_.add_file("dev/vfio/7", File{.mode = 0600});
    tree_.add_file("sys/opens", File{.show = [this]() -> Text { return std::to_string(opens_) + "\n"; }});

    File wait;
    wait.mode = 0200;
    wait.store = [this](std::string_view, Caller& caller) {
      return caller.wait([this] { return processes_.holders("/dev/node").empty(); }) ? 0 : EINTR;
    };
    tree_.add_file("sys/wait_for_node", std::move(wait));
  }

  Tree& tree_;
  Processes& processes_;
  int shown_ = 0;
  int opens_ = 0;
  bool node_open_ = false;
  std::string value_ = "0";
};

}  // namespace

tl::expected<std::unique_ptr<Kernel>, std::string> boot(std::string_view description, Tree& tree,
                                                        Processes& processes) {
  auto kernel = std::make_unique<SmallKernel>(tree, processes);
  if (description == "value 7") kernel->set_value("7");
  if (description == "wrong") return tl::unexpected(std::string("line 1: this is wrong"));
  return kernel;
}

}  // namespace slicebroker::simhost
