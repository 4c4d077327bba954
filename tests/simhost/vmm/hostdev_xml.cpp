// SPDX-License-Identifier: Apache-2.0
#include <libvirt/virterror.h>

#include <cstdio>
#include <pugixml.hpp>
#include <sstream>

#include "tests/simhost/vmm/hostdev.h"

namespace slicebroker::simhost {
namespace {

std::string text_of(const pugi::xml_node& node) {
  std::ostringstream text;
  node.print(text, "  ", pugi::format_default | pugi::format_attribute_single_quote | pugi::format_no_declaration);
  return std::move(text).str();
}

std::string address_of(const pugi::xml_node& address) {
  char text[32];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", address.attribute("domain").as_uint(),
                address.attribute("bus").as_uint(), address.attribute("slot").as_uint(),
                address.attribute("function").as_uint());
  return text;
}

void add_guest_address(pugi::xml_node hostdev, int bus) {
  auto address = hostdev.append_child("address");
  char text[16];
  std::snprintf(text, sizeof text, "0x%02x", static_cast<unsigned>(bus));
  address.append_attribute("type") = "pci";
  address.append_attribute("domain") = "0x0000";
  address.append_attribute("bus") = text;
  address.append_attribute("slot") = "0x00";
  address.append_attribute("function") = "0x0";
}

}  // namespace

tl::expected<Hostdev, Refusal> parse_hostdev(const std::string& xml) {
  pugi::xml_document document;
  const auto element = document.load_string(xml.c_str()) ? document.child("hostdev") : pugi::xml_node();
  const auto source = element.child("source").child("address");
  if (!source) return tl::unexpected(Refusal{VIR_ERR_XML_ERROR, "XML error: no <hostdev> with a source address"});
  Hostdev hostdev;
  hostdev.mdev = std::string(element.attribute("type").value()) == "mdev";
  hostdev.device = hostdev.mdev ? source.attribute("uuid").value() : address_of(source);
  hostdev.alias = element.child("alias").attribute("name").value();
  if (hostdev.alias.empty()) hostdev.alias = "hostdev-" + hostdev.device;  // libvirt: hostdev0, hostdev1 ...
  hostdev.unassigned = std::string(element.child("address").attribute("type").value()) == "unassigned";
  hostdev.xml = xml;
  return hostdev;
}

tl::expected<DomainXml, std::string> parse_domain(const std::string& xml) {
  pugi::xml_document document;
  const auto domain = document.load_string(xml.c_str()) ? document.child("domain") : pugi::xml_node();
  DomainXml result{domain.child("name").text().get(), domain.child("uuid").text().get(), {}};
  if (result.name.empty()) return tl::unexpected(std::string("not a <domain> with a <name>"));
  for (const auto& hostdev : domain.child("devices").children("hostdev")) result.hostdevs.push_back(text_of(hostdev));
  return result;
}

std::string live_domain(const std::string& xml, pid_t pid, const std::vector<Hostdev>& hostdevs) {
  pugi::xml_document document;
  document.load_string(xml.c_str());
  auto domain = document.child("domain");
  if (pid != 0) domain.append_attribute("id") = static_cast<int>(pid);
  auto devices = domain.child("devices");
  if (!devices) devices = domain.append_child("devices");
  while (devices.remove_child("hostdev")) {
  }
  for (const auto& hostdev : hostdevs) {
    devices.append_buffer(hostdev.xml.data(), hostdev.xml.size());
    auto added = devices.last_child();
    if (!added.child("alias")) added.append_child("alias").append_attribute("name") = hostdev.alias.c_str();
    if (hostdev.guest_bus != 0 && !added.child("address")) add_guest_address(added, hostdev.guest_bus);
  }
  return text_of(document);
}

}  // namespace slicebroker::simhost
