// SPDX-License-Identifier: Apache-2.0
// One case: what it does to the host, what it wants to see, and what puts the host back afterwards.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/host.h"
#include "tests/conformance/roles.h"

namespace slicebroker::conformance {

// "wanted …, saw …": the end of a case.
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Run {
 public:
  Run(const Host& the_host, const Roles& the_roles) : host(the_host), roles(the_roles) {}
  const Host& host;
  const Roles& roles;

  // What the case changes and how to change it back: done newest first when the case is over, as it may.
  void later(std::function<void()> undo) { undo_.push_back(std::move(undo)); }
  void put_back();

  // Each throws Mismatch where it is not so. An errno of 0 is success.
  void equal(const std::string& what, const std::string& wanted, const std::string& saw) const;
  void gives(const std::string& what, int wanted, int saw) const;
  void write(const std::string& file, std::string_view value, int wanted = 0) const;
  void text(const std::string& file, const std::string& wanted) const;  // but for the trailing newline
  void unreadable(const std::string& file, int wanted) const;
  void there(const std::string& path) const;
  void gone(const std::string& path) const;

  // PCI functions, each named by its address.
  void driver(const std::string& address, const std::string& wanted) const;    // empty: none
  void override(const std::string& address, const std::string& driver) const;  // empty: cleared
  void unbind(const std::string& address) const;
  void probe(const std::string& address) const;
  // On vfio-pci, until the end of the case.
  void on_vfio_pci(const std::string& address);
  // Without a driver, until the end of the case.
  void without_driver(const std::string& address);
  // A number of virtual functions, until the end of the case; returns their addresses.
  std::vector<std::string> with_vfs(const std::string& pf, int count);
  std::string group_of(const std::string& address) const;    // its number
  std::string group_node(const std::string& address) const;  // "dev/vfio/N"

 private:
  std::vector<std::function<void()>> undo_;
};

// A process that does one operation which may hang.
class Attempt {
 public:
  static Attempt write(const Host& host, const std::string& file, std::string value);
  static Attempt read(const Host& host, const std::string& file);
  Attempt(Attempt&& other) noexcept;
  Attempt& operator=(Attempt&&) = delete;
  ~Attempt();
  // It neither ended nor ran for a while. Says so by a Mismatch where it ended.
  void hangs(const std::string& what);
  // It ends with this errno before a deadline.
  void ends(const std::string& what, int wanted);

 private:
  explicit Attempt(const std::function<int()>& operation);
  bool ended();  // and its status is known
  int pid_ = -1;
  int status_ = -1;
};

// A VFIO device that is held open as a VMM holds it: group, container and device. On a simulated host, where ioctls
// can't be answered, the open group stands for all three.
class VfioUser {
 public:
  // `device` as VFIO names it: a PCI address or an mdev's UUID.
  VfioUser(const Run& run, const std::string& group_node, const std::string& device);
  ~VfioUser() { close(); }
  void close();
  File& group() { return group_; }

 private:
  File container_;
  File group_;
  int device_ = -1;
};

struct Case {
  const char* name;
  void (*body)(Run&);
  // Why it can't be on a simulated host; empty: it can.
  const char* kernel_only = "";
};

// Everything that a case may change, one fact a line.
std::string state_of(const Host& host);

std::string errno_name(int error);

std::vector<Case> bind_cases();
std::vector<Case> reset_cases();
std::vector<Case> group_cases();
std::vector<Case> sriov_cases();
std::vector<Case> mdev_cases();    // framework mdev
std::vector<Case> vendor_cases();  // framework vendor
std::vector<Case> mig_cases();
std::vector<Case> node_cases();
std::vector<Case> attribute_cases();

}  // namespace slicebroker::conformance
