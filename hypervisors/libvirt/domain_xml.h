// SPDX-License-Identifier: Apache-2.0
// Reading and completing libvirt domain XML. Pure: text in, text out; no entities, no external fetch.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hypervisors/attachment.h"
#include "vfio/base/result.h"

namespace slicebroker::hypervisors::libvirt {

// One device that a domain asks for in its metadata:
//   <slicebroker:request xmlns:slicebroker="urn:slicebroker:1">
//     <slicebroker:device selector="MIG-..." fallback="none" isolation="hardware" mdev="UUID"/>
//   </slicebroker:request>
// selector is what the user writes; the rest is optional. `mdev` or `function` is the device that the domain's
// hostdev names, agreed when the XML was made real and prepared by the hook.
struct RequestedDevice {
  std::string selector;
  std::string fallback;                    // empty: not stated
  std::string isolation;                   // empty: not stated
  std::vector<std::string> group_members;  // blank-separated BDFs in attribute allow-group-member
  std::optional<Uuid> mdev;
  std::optional<PciAddress> function;
};

// What the broker needs to know of a domain.
struct Domain {
  std::string name;
  std::optional<Uuid> uuid;
  std::string type;                       // "kvm", "qemu", "xen", ...
  bool cloud_hypervisor = false;          // made for libvirt's ch driver (type 'hyperv' or ch emulator)
  std::vector<RequestedDevice> requests;  // empty: the domain is not ours
  std::vector<Uuid> mdevs;                // every mdev hostdev's source
  std::vector<PciAddress> functions;      // every PCI hostdev's source (host side, never the guest's <address>),
                                          // <interface type='hostdev'> included
};

// Errors: kUsage with what is wrong and where (offset) for text that is no <domain>, a request without selector or
// with an attribute that this version does not know, a second request, a malformed UUID or address, a DOCTYPE, nesting
// over 256, input over 16 MiB, or more than 64 requested devices.
Result<Domain> read_domain(std::string_view xml);

// The host devices of a domain as libvirt keeps it in a file: a defined domain's <domain>, or the <domstatus> of one
// that runs, in which the domain lies.
struct SavedDomain {
  std::string name;
  bool running = false;  // the file is a <domstatus>
  std::vector<Uuid> mdevs;
  std::vector<PciAddress> functions;
};

// The devices that the slicebroker request of a defined domain stands for are left out: they are leased when it starts.
// Errors: kUsage as read_domain(), but for a request that can't be read: every device counts then.
Result<SavedDomain> read_saved_domain(std::string_view xml);

// The same domain with one hostdev set per attachment added to <devices> (in the order of the requests), and each
// request's `mdev`/`function` filled in. attachments.size() == requests.size(). Everything else stays as it was.
// Making it real twice gives the same text: hostdevs of earlier runs are replaced, known by their alias or, where the
// attachment's id changed, by an alias "ua-..." on the device that the request recorded.
// Errors: as read_domain(); kUsage too for a domain without request or where the two sizes differ.
Result<std::string> complete_domain(std::string_view xml, const std::vector<Attachment>& attachments);

// Where the guest finds the hostdev of this alias ("0000:05:00.0"). nullopt: the domain has no such hostdev; empty: it
// has one without a PCI address of its own, as a companion. Errors: kUsage as read_domain().
Result<std::optional<std::string>> find_guest_address(std::string_view xml, std::string_view alias);

}  // namespace slicebroker::hypervisors::libvirt
