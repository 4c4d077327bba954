// SPDX-License-Identifier: Apache-2.0
#include "tests/simhost/host.h"

#include <cerrno>
#include <set>
#include <sstream>

#include "tests/simhost/text.h"

namespace slicebroker::simhost {

namespace {

// GPU instances that were destroyed and made again are the same in another order.
std::string sorted_lines(const std::string& text) {
  std::istringstream lines(text);
  std::multiset<std::string> sorted;
  for (std::string line; std::getline(lines, line);) sorted.insert(line);
  std::string result;
  for (const auto& line : sorted) result += line + "\n";
  return result;
}

}  // namespace

class Host::HostCaller final : public Caller {
 public:
  HostCaller(Host& host, pid_t pid) : host_(host), pid_(pid), boot_(host.boot_) {}
  pid_t pid() const override { return pid_; }
  bool wait(const std::function<bool()>& done) override { return host_.wait(boot_, done); }
  bool sleep(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    return host_.wait(
        boot_, [&] { return std::chrono::steady_clock::now() >= end; }, end);
  }

 private:
  Host& host_;
  pid_t pid_;
  std::uint64_t boot_;
};

tl::expected<std::unique_ptr<Host>, std::string> Host::create(std::string_view description) {
  std::unique_ptr<Host> host(new Host(description));
  const Session session(*host);
  if (auto booted = host->boot_kernel(); !booted) return tl::unexpected(booted.error());
  return host;
}

Host::Host(std::string_view description)
    : description_(description), processes_(tree_, [this](pid_t pid) { return make_caller(pid); }) {
  tree_.on_change([this](ino_t parent, const std::string& name) {
    if (front_ != nullptr && front_->remembers(parent)) changes_.emplace_back(parent, name);
  });
  add_control_files();
}

void Host::set_front(Front* front, const std::string& mount_point) {
  const Session session(*this);
  front_ = front;
  processes_.set_mount_point(mount_point);
}

std::unique_ptr<Caller> Host::make_caller(pid_t pid) {
  return std::make_unique<HostCaller>(*this, pid);
}

void Host::lock() {
  mutex_.lock();
  while (rebooting_) changed_.wait(mutex_);
}

void Host::unlock() {
  const auto changes = std::exchange(changes_, {});
  Front* const front = front_;
  if (waiting_ > 0) changed_.notify_all();
  mutex_.unlock();
  if (changes.empty() || front == nullptr) return;
  front->waits(Front::Wait::kBegins);
  for (const auto& [parent, name] : changes) front->invalidate(parent, name);
  front->waits(Front::Wait::kEnds);
}

void Host::send_changes() {
  if (changes_.empty()) return;
  unlock();
  mutex_.lock();  // not lock(): whoever waits has to get out of a reboot's way
}

bool Host::wait(std::uint64_t boot, const std::function<bool()>& done, const Until& until) {
  const auto given_up = [&] { return stopping_ || boot != boot_; };
  if (given_up()) return false;
  if (done()) return true;
  ++waiting_;
  if (front_ != nullptr) front_->waits(Front::Wait::kBegins);
  while (true) {
    send_changes();
    if (given_up() || done()) break;
    if (until) {
      changed_.wait_until(mutex_, *until);
    } else {
      changed_.wait(mutex_);
    }
  }
  if (front_ != nullptr) front_->waits(Front::Wait::kEnds);
  if (--waiting_ == 0) changed_.notify_all();
  return !given_up();
}

void Host::stop() {
  mutex_.lock();
  stopping_ = true;
  changed_.notify_all();
  while (waiting_ > 0) changed_.wait(mutex_);
  mutex_.unlock();
}

Host::Strike Host::strike(const Fault& fault, Caller& caller, int& result) {
  const auto kin = fault.victim == Fault::Victim::kProgram ? Kin::kWholeProgram : Kin::kAlone;
  result = EINTR;
  switch (fault.effect) {
    case Fault::Effect::kFail:
      result = fault.os_errno;
      return fault.moment == Fault::Moment::kAfter ? Strike::kFailAfter : Strike::kEnd;
    case Fault::Effect::kHang: {
      const auto release = releases_;
      return caller.wait([&] { return releases_ != release; }) ? Strike::kGoOn : Strike::kEnd;
    }
    case Fault::Effect::kSlow:
      return static_cast<HostCaller&>(caller).sleep(fault.delay) ? Strike::kGoOn : Strike::kEnd;
    case Fault::Effect::kKill:
      if (fault.moment == Fault::Moment::kAfter) return Strike::kKillAfter;
      kill_real(caller.pid(), kin);
      return Strike::kEnd;
    case Fault::Effect::kDo:
      if (auto done = command(fault.command); !done) error_ = fault.command + ": " + done.error();
      return Strike::kGoOn;
  }
  return Strike::kGoOn;
}

int Host::perform(OperationKind kind, const std::string& path, Caller& caller, const std::function<int()>& effect) {
  std::optional<Kin> kill_after;
  int fail_after = 0;
  for (const auto& fault : operations_.begin(kind, path, program_of(caller.pid()))) {
    int result = 0;
    const auto strike_result = strike(fault, caller, result);
    if (strike_result == Strike::kEnd) return result;
    if (strike_result == Strike::kFailAfter) fail_after = result;
    if (strike_result == Strike::kKillAfter) {
      kill_after = fault.victim == Fault::Victim::kProgram ? Kin::kWholeProgram : Kin::kAlone;
    }
  }
  const int result = effect();
  if (kill_after) kill_real(caller.pid(), *kill_after);
  return result != 0 ? result : fail_after;
}

tl::expected<void, std::string> Host::boot_kernel() {
  for (const auto* const directory : {"dev", "proc", "sys"}) tree_.add_directory(directory);
  auto kernel = boot(description_, tree_, processes_);
  if (!kernel) return tl::unexpected(kernel.error());
  kernel_ = std::move(*kernel);
  libvirtd_.boot();
  return {};
}

tl::expected<void, std::string> Host::reboot() {
  if (kernel_) description_ = kernel_->after_reboot(description_);
  ++boot_;
  rebooting_ = true;
  changed_.notify_all();
  // Whoever waits in the model has to leave it before it goes.
  while (waiting_ > 0) changed_.wait(mutex_);
  rebooting_ = false;
  processes_.forget();
  clear_tree();
  kernel_.reset();
  changed_.notify_all();
  return boot_kernel();
}

void Host::clear_tree() {
  for (const auto& top : tree_.list("")) {
    if (top != ".simhost" && top != "proc") tree_.remove(top);
  }
  for (const auto& entry : tree_.list("proc")) {
    const auto pid = number<pid_t>(entry);
    if (!pid || !processes_.is_real(*pid)) tree_.remove("proc/" + entry);
  }
}

void Host::add_to_snapshot(const Tree::Node& node, const std::string& path, std::string& text) const {
  if (node.kind == Tree::Node::Kind::kLink) text += path + " -> " + node.target + "\n";
  if (node.kind == Tree::Node::Kind::kFile) {
    text += path + ":";
    auto content = node.file.show ? node.file.show() : Text("");
    if (content && path.ends_with("_instances")) content = sorted_lines(*content);
    if (!content) text += " errno " + std::to_string(content.error());
    if (content && !content->empty()) text += " ";
    for (const char c : content.value_or("")) text += c == '\n' ? std::string("\\n") : std::string(1, c);
    text += "\n";
  }
  for (const auto& [name, child] : node.children) {
    const auto pid = path == "proc" ? number<pid_t>(name) : std::nullopt;
    if (!pid || !processes_.is_real(*pid)) add_to_snapshot(*child, path + "/" + name, text);
  }
}

std::string Host::snapshot() const {
  std::string text;
  for (const auto* const top : {"dev", "etc", "proc", "run", "sys", "vmm/domains"}) {
    if (const auto node = tree_.find(top)) add_to_snapshot(*node, top, text);
  }
  return text;
}

}  // namespace slicebroker::simhost
