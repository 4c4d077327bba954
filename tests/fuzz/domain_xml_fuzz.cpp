// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_xml.h"

#include <algorithm>

#include "hypervisors/libvirt/hostdev_xml.h"
#include "tests/fuzz/fuzz.h"

using namespace slicebroker;
using namespace slicebroker::hypervisors;

namespace {

// Mediated devices and functions by turns, at addresses that an input hits only on purpose.
Attachment attachment_of(std::size_t number) {
  Attachment attachment;
  attachment.id = "77-" + std::to_string(number);
  if (number % 2 == 0) {
    attachment.surface = Surface::kMdev;
    attachment.mdev = Uuid::parse("c2177883-f1bb-47f0-914d-32a22e3a88" + std::to_string(10 + number));
  } else {
    attachment.function = PciAddress{0xfade, static_cast<std::uint8_t>(number), 0, 0};
    attachment.companions = {PciAddress{0xfade, static_cast<std::uint8_t>(number), 0, 1}};
  }
  return attachment;
}

bool names(const libvirt::Domain& domain, const Attachment& attachment) {
  if (attachment.mdev) {
    return std::find(domain.mdevs.begin(), domain.mdevs.end(), *attachment.mdev) != domain.mdevs.end();
  }
  return std::find(domain.functions.begin(), domain.functions.end(), *attachment.function) != domain.functions.end();
}

void require_completed(const libvirt::Domain& domain, std::string_view text,
                       const std::vector<Attachment>& attachments) {
  const auto completed = libvirt::complete_domain(text, attachments);
  fuzz::require(completed.has_value(), "a domain with requests can be completed");
  const auto again = libvirt::read_domain(*completed);
  fuzz::require(again.has_value(), "a completed domain can be read");
  fuzz::require(again->name == domain.name && again->uuid == domain.uuid, "it is the same domain");
  fuzz::require(again->requests.size() == attachments.size(), "it has the same requests");
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    fuzz::require(again->requests[i].selector == domain.requests[i].selector, "each request asks for the same");
    fuzz::require(
        again->requests[i].mdev == attachments[i].mdev && again->requests[i].function == attachments[i].function,
        "each request names its device");
    fuzz::require(names(*again, attachments[i]), "each device is a hostdev");
    const auto address = libvirt::find_guest_address(*completed, libvirt::hostdev_alias(attachments[i]));
    fuzz::require(address && *address, "each hostdev is found by its alias");
  }
  const auto twice = libvirt::complete_domain(*completed, attachments);
  fuzz::require(twice && *twice == *completed, "completing twice is completing once");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  const auto domain = libvirt::read_domain(text);
  if (!domain) {
    fuzz::require_told(domain.error(), ErrorCode::kUsage, "BAD_DOMAIN_XML");
    fuzz::require(!domain.error().subject.empty(), "an error says where");
    return 0;
  }
  fuzz::require(!domain->name.empty(), "a domain has a name");
  if (domain->requests.empty()) return 0;
  std::vector<Attachment> attachments;
  for (std::size_t i = 0; i < domain->requests.size(); ++i) attachments.push_back(attachment_of(i));
  require_completed(*domain, text, attachments);
  return 0;
}
