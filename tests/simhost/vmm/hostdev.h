// SPDX-License-Identifier: Apache-2.0
// Host devices as libvirt and QEMU take them: an element of XML, the checks before it is taken, and the VFIO node that
// is opened for it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "tests/simhost/tree.h"

namespace slicebroker::simhost {

// A virErrorNumber, and libvirt's text with the words that it puts before each number's texts.
struct Refusal {
  int code = 0;
  std::string text;
};
Refusal internal_error(const std::string& text);
Refusal invalid_operation(const std::string& text);

struct Hostdev {
  std::string alias;
  std::string device;  // "0000:41:00.0", or a mediated device's UUID
  bool mdev = false;
  bool unassigned = false;  // held for the domain, and not in the guest
  std::string xml;
  std::string node;                                            // "/dev/vfio/13", once it is open
  int guest_bus = 0;                                           // 0: none
  std::optional<std::chrono::steady_clock::time_point> asked;  // since when the guest is to give it back
};

tl::expected<Hostdev, Refusal> parse_hostdev(const std::string& xml);

struct DomainXml {
  std::string name;
  std::string uuid;  // empty: none
  std::vector<std::string> hostdevs;
};
tl::expected<DomainXml, std::string> parse_domain(const std::string& xml);
// The domain with its hostdevs replaced by these, and its id.
std::string live_domain(const std::string& xml, pid_t pid, const std::vector<Hostdev>& hostdevs);

// What libvirt checks of a device with managed='no', as virHostdevPreparePCIDevices() and its like for mdevs.
enum class LibvirtAge { kBeforeVariantDrivers, kKnowsVariantDrivers };
std::optional<Refusal> check_host(const Tree& tree, const Hostdev& hostdev, LibvirtAge age);

// The node that QEMU opens for it, as vfio_get_group() and vfio_get_device() of its hw/vfio.
tl::expected<std::string, Refusal> find_node(const Tree& tree, const Hostdev& hostdev);
Refusal open_refused(const Hostdev& hostdev, const std::string& node, int os_errno);

}  // namespace slicebroker::simhost
