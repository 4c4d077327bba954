// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "tests/simhost/kernel/machine.h"

namespace slicebroker::simhost::model {

File read_only(std::function<std::string()> show) {
  File file;
  file.mode = 0444;
  file.show = [show = std::move(show)]() -> Text { return show() + "\n"; };
  return file;
}

File read_only_or(std::function<Text()> show) {
  File file;
  file.mode = 0444;
  file.show = std::move(show);
  return file;
}

File read_write(std::function<std::string()> show, Store store) {
  File file = read_only(std::move(show));
  file.mode = 0644;
  file.store = std::move(store);
  return file;
}

File write_only(Store store) {
  File file;
  file.mode = 0200;
  file.store = std::move(store);
  return file;
}

File unmodelled(std::string text) {
  File file = read_only([text = std::move(text)] { return text; });
  file.mode = 0644;
  return file;
}

std::string_view without_newline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::optional<unsigned long> read_number(std::string_view text, int base) {
  const std::string digits(without_newline(text));
  if (digits.empty() || std::string_view("-+ \t\n").find(digits.front()) != std::string_view::npos) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const unsigned long value = std::strtoul(digits.c_str(), &end, base);
  if (errno != 0 || end != digits.c_str() + digits.size()) return std::nullopt;
  return value;
}

// lib/kstrtox.c looks at the first character, and of "on" and "off" at the second.
std::optional<bool> read_bool(std::string_view text) {
  if (text.empty()) return std::nullopt;
  switch (text[0]) {
    case 'y':
    case 'Y':
    case 't':
    case 'T':
    case '1': return true;
    case 'n':
    case 'N':
    case 'f':
    case 'F':
    case '0': return false;
    case 'o':
    case 'O':
      if (text.size() < 2) return std::nullopt;
      if (text[1] == 'n' || text[1] == 'N') return true;
      if (text[1] == 'f' || text[1] == 'F') return false;
      return std::nullopt;
    default: return std::nullopt;
  }
}

std::string relative_link(const std::string& link, const std::string& target) {
  const auto from = std::filesystem::path("/" + link).parent_path();
  return std::filesystem::path("/" + target).lexically_relative(from).string();
}

void link_to(Machine& machine, const std::string& link, const std::string& target) {
  machine.tree.add_link(link, relative_link(link, target));
}

void remove_if_there(Machine& machine, const std::string& path) {
  if (machine.tree.exists(path)) machine.tree.remove(path);
}

std::string hex(unsigned long value, unsigned digits) {
  std::string text;
  for (unsigned i = digits; i-- > 0;) text += "0123456789abcdef"[value >> (4 * i) & 0xf];
  return text;
}

Guard::Guard(Lock& lock, Caller& caller) : lock_(lock), taken_(false) {
  if (lock_.taken && !caller.wait([this] { return !lock_.taken; })) return;
  lock_.taken = taken_ = true;
}

Guard::~Guard() {
  if (taken_) lock_.taken = false;
}

File locked(File file, Lock& lock) {
  auto* l = &lock;
  file.before_show = [l](Caller& caller) { return Guard(*l, caller).taken() ? 0 : EINTR; };
  return file;
}

Function* Machine::find_function(std::string_view bdf) const {
  const auto at = functions.find(std::string(bdf));
  return at == functions.end() ? nullptr : at->second;
}

bool Machine::kernel_at_least(unsigned major, unsigned minor) const {
  unsigned its_major = 0, its_minor = 0;
  if (std::sscanf(kernel.c_str(), "%u.%u", &its_major, &its_minor) != 2) return false;
  return its_major > major || (its_major == major && its_minor >= minor);
}

}  // namespace slicebroker::simhost::model
