// SPDX-License-Identifier: Apache-2.0
// SR-IOV: drivers/pci/iov.c.
#include <cerrno>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost::model {
namespace {

Address vf_address(const Function& function, unsigned index) {
  const auto pf = *Address::parse(function.bdf);
  return Address::of_routing_id(pf.domain,
                                pf.routing_id() + function.board->vf_offset + index * function.board->vf_stride);
}

std::string vf_directory(const Function& function, const Address& address) {
  return function.directory.substr(0, function.directory.rfind('/') + 1) + address.to_string();
}

int add_vf(Machine& machine, Function& function, unsigned index, Caller& caller) {
  const auto address = vf_address(function, index);
  auto& vf = machine.all_functions.emplace_back();
  vf.bdf = address.to_string();
  vf.directory = vf_directory(function, address);
  vf.board = function.board;
  vf.device = function.board->vf_device != 0 ? function.board->vf_device : function.device;
  vf.physical = &function;
  vf.vf_index = index;
  vf.numa_node = function.numa_node;
  add_function(machine, vf);
  link_to(machine, vf.directory + "/physfn", function.directory);
  link_to(machine, function.directory + "/virtfn" + std::to_string(index), vf.directory);
  function.vfs.push_back(&vf);
  Guard guard(vf.lock, caller);
  return guard.taken() && machine.drivers_autoprobe ? probe_all(machine, vf, caller) : 0;
}

}  // namespace

// By a PF's driver. What a VF's own probe says is not an error of this.
int enable_vfs(Machine& machine, Function& function, unsigned count, Caller& caller) {
  function.vf_count = count;
  for (unsigned i = 0; i < count; ++i) add_vf(machine, function, i, caller);
  return 0;
}

// Waits for each VF that is open. The last comes first: pci_iov_remove_virtfn() is called so.
int disable_vfs(Machine& machine, Function& function, Caller& caller) {
  while (!function.vfs.empty()) {
    auto& vf = *function.vfs.back();
    remove_if_there(machine, function.directory + "/virtfn" + std::to_string(vf.vf_index));
    if (const int error = remove_function(machine, vf, caller); error != 0) return error;
    function.vfs.pop_back();
  }
  function.vf_count = 0;
  return 0;
}

int configure_sriov_simply(Machine& machine, Function& function, unsigned count, Caller& caller) {
  return count == 0 ? disable_vfs(machine, function, caller) : enable_vfs(machine, function, count, caller);
}

int store_numvfs(Machine& machine, Function& function, std::string_view text, Caller& caller) {
  const auto count = read_number(text);
  if (!count || *count > 0xffff) return EINVAL;
  if (*count > function.board->vf_total) return ERANGE;
  Guard guard(function.lock, caller);
  if (!guard.taken()) return EINTR;
  if (*count == function.vf_count) return 0;
  const auto driver = machine.drivers.find(function.driver);
  if (driver == machine.drivers.end() || driver->second.configure_sriov == nullptr) return ENOENT;
  if (*count != 0 && function.vf_count != 0) return EBUSY;
  return driver->second.configure_sriov(machine, function, static_cast<unsigned>(*count), caller);
}

void add_sriov_files(Machine& machine, Function& function) {
  if (function.board->vf_total == 0 || function.physical != nullptr) return;
  auto& tree = machine.tree;
  auto* m = &machine;
  auto* f = &function;
  const auto path = f->directory + "/sriov_";
  tree.add_text(path + "totalvfs", std::to_string(f->board->vf_total));
  tree.add_text(path + "offset", std::to_string(f->board->vf_offset));
  tree.add_text(path + "stride", std::to_string(f->board->vf_stride));
  tree.add_text(path + "vf_device", hex(f->board->vf_device != 0 ? f->board->vf_device : f->device, 4));
  tree.add_text(path + "vf_total_msix", "0");
  // Nobody sees a number that is about to change.
  tree.add_file(
      path + "numvfs",
      locked(read_write([f] { return std::to_string(f->vf_count); },
                        [m, f](std::string_view text, Caller& caller) { return store_numvfs(*m, *f, text, caller); }),
             f->lock));
  tree.add_file(path + "drivers_autoprobe", read_write([f] { return f->vf_autoprobe ? "1" : "0"; },
                                                       [f](std::string_view text, Caller&) {
                                                         const auto on = read_bool(text);
                                                         if (!on) return EINVAL;
                                                         f->vf_autoprobe = *on;
                                                         return 0;
                                                       }));
}

}  // namespace slicebroker::simhost::model
