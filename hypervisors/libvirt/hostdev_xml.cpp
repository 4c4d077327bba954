// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/hostdev_xml.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <pugixml.hpp>
#include <sstream>

namespace slicebroker::hypervisors::libvirt {
namespace {

std::string hexadecimal(std::uint32_t value, int digits) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%0*x", digits, value);
  return text;
}

pugi::xml_node start_hostdev(pugi::xml_document& document, const char* type) {
  auto hostdev = document.append_child("hostdev");
  hostdev.append_attribute("mode") = "subsystem";
  hostdev.append_attribute("type") = type;
  hostdev.append_attribute("managed") = "no";
  return hostdev;
}

void add_source(pugi::xml_node hostdev, const PciAddress& function) {
  auto address = hostdev.append_child("source").append_child("address");
  address.append_attribute("domain") = hexadecimal(function.domain, 4).c_str();
  address.append_attribute("bus") = hexadecimal(function.bus, 2).c_str();
  address.append_attribute("slot") = hexadecimal(function.device, 2).c_str();
  address.append_attribute("function") = hexadecimal(function.function, 1).c_str();
}

void add_alias(pugi::xml_node hostdev, const std::string& alias) {
  hostdev.append_child("alias").append_attribute("name") = alias.c_str();
}

std::string text_of(const pugi::xml_document& document) {
  std::ostringstream out;
  document.save(out, "  ", pugi::format_indent | pugi::format_no_declaration | pugi::format_attribute_single_quote,
                pugi::encoding_utf8);
  auto text = std::move(out).str();
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string device_xml(const Attachment& attachment) {
  pugi::xml_document document;
  if (attachment.surface == Surface::kMdev) {
    if (!attachment.mdev) std::abort();  // Attachment's own rule: the caller made no sense
    auto hostdev = start_hostdev(document, "mdev");
    hostdev.append_attribute("model") = "vfio-pci";
    auto address = hostdev.append_child("source").append_child("address");
    address.append_attribute("uuid") = attachment.mdev->to_string().c_str();
    add_alias(hostdev, hostdev_alias(attachment));
  } else {
    if (!attachment.function) std::abort();
    auto hostdev = start_hostdev(document, "pci");
    add_source(hostdev, *attachment.function);
    add_alias(hostdev, hostdev_alias(attachment));
  }
  return text_of(document);
}

// libvirt holds a companion for this domain, so that no other domain can get it, and does not give it to the guest.
std::string companion_xml(const PciAddress& companion, const std::string& alias) {
  pugi::xml_document document;
  auto hostdev = start_hostdev(document, "pci");
  add_source(hostdev, companion);
  add_alias(hostdev, alias);
  hostdev.append_child("address").append_attribute("type") = "unassigned";
  return text_of(document);
}

}  // namespace

std::string hostdev_alias(const Attachment& attachment) {
  return "ua-" + attachment.id;
}

std::string companion_alias(const Attachment& attachment, std::size_t index) {
  return hostdev_alias(attachment) + "-" + std::to_string(index + 1);
}

std::vector<std::string> hostdev_xml(const Attachment& attachment) {
  std::vector<std::string> elements{device_xml(attachment)};
  for (std::size_t i = 0; i < attachment.companions.size(); ++i) {
    elements.push_back(companion_xml(attachment.companions[i], companion_alias(attachment, i)));
  }
  return elements;
}

}  // namespace slicebroker::hypervisors::libvirt
