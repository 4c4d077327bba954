// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/run.h"

#include <cstring>
#include <exception>

namespace slicebroker::conformance {
namespace {

std::string quoted(const std::string& text) {
  constexpr std::size_t kEnough = 200;
  return "\"" + (text.size() > kEnough ? text.substr(0, kEnough) + "…" : text) + "\"";
}

std::string without_newline(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

std::string errno_name(int error) {
  if (error == 0) return "success";
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "errno " + std::to_string(error);
}

void Run::put_back() {
  std::exception_ptr first;
  while (!undo_.empty()) {
    const auto undo = std::move(undo_.back());
    undo_.pop_back();
    try {
      undo();
    } catch (const Mismatch&) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

void Run::equal(const std::string& what, const std::string& wanted, const std::string& saw) const {
  if (wanted != saw) throw Mismatch(what + ": wanted " + quoted(wanted) + ", saw " + quoted(saw));
}

void Run::gives(const std::string& what, int wanted, int saw) const {
  if (wanted != saw) throw Mismatch(what + ": wanted " + errno_name(wanted) + ", saw " + errno_name(saw));
}

void Run::write(const std::string& file, std::string_view value, int wanted) const {
  gives("write " + quoted(without_newline(std::string(value))) + " to " + file, wanted, host.write(file, value));
}

void Run::text(const std::string& file, const std::string& wanted) const {
  const Text saw = host.read(file);
  gives("read " + file, 0, saw.error);
  equal(file, wanted, without_newline(saw.text));
}

void Run::unreadable(const std::string& file, int wanted) const {
  gives("read " + file, wanted, host.read(file).error);
}

void Run::there(const std::string& path) const {
  if (!host.exists(path)) throw Mismatch("wanted " + path + ", saw that it is not there");
}

void Run::gone(const std::string& path) const {
  if (host.exists(path)) throw Mismatch("wanted no " + path + ", saw that it is there");
}

void Run::driver(const std::string& address, const std::string& wanted) const {
  equal("driver of " + address, wanted, host.link(device_path(address) + "/driver"));
}

void Run::override(const std::string& address, const std::string& driver) const {
  write(device_path(address) + "/driver_override", driver + "\n");
}

void Run::unbind(const std::string& address) const {
  write(device_path(address) + "/driver/unbind", address + "\n");
}

void Run::probe(const std::string& address) const {
  write("sys/bus/pci/drivers_probe", address + "\n");
}

void Run::on_vfio_pci(const std::string& address) {
  const std::string before = host.link(device_path(address) + "/driver");
  later([=, this] {
    override(address, "");
    if (host.exists(device_path(address) + "/driver")) unbind(address);
    if (!before.empty()) probe(address);
    driver(address, before);
  });
  override(address, "vfio-pci");
  if (!before.empty()) unbind(address);
  probe(address);
  driver(address, "vfio-pci");
}

void Run::without_driver(const std::string& address) {
  const std::string before = host.link(device_path(address) + "/driver");
  later([=, this] {
    if (!host.exists(device_path(address) + "/driver")) probe(address);
    driver(address, before);
  });
  unbind(address);
  driver(address, "");
}

std::vector<std::string> Run::with_vfs(const std::string& pf, int count) {
  const std::string file = device_path(pf) + "/sriov_numvfs";
  const std::string before = host.line(file);
  later([=, this] {
    if (host.line(file) == before) return;
    write(file, "0\n");
    if (before != "0") write(file, before + "\n");
  });
  write(file, std::to_string(count) + "\n");
  auto found = virtual_functions(host, pf);
  equal("virtual functions of " + pf, std::to_string(count), std::to_string(found.size()));
  return found;
}

std::string Run::group_of(const std::string& address) const {
  return host.link(device_path(address) + "/iommu_group");
}

std::string Run::group_node(const std::string& address) const {
  return "dev/vfio/" + group_of(address);
}

}  // namespace slicebroker::conformance
