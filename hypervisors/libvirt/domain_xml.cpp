// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_xml.h"

#include <algorithm>
#include <limits>
#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "hypervisors/libvirt/hostdev_xml.h"
#include "vfio/base/text.h"

namespace slicebroker::hypervisors::libvirt {
namespace {

constexpr std::string_view kNamespace = "urn:slicebroker:1";
constexpr std::string_view kAnyNamespace = "urn:slicebroker:";
constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr int kMaxDepth = 256;  // libxml2's own limit: libvirt would refuse more, and pugixml frees nodes recursively
constexpr std::size_t kMaxDevices = 64;

// Everything is kept, blanks and comments and text outside the root too, so that what is not ours survives.
constexpr unsigned kParseAll = pugi::parse_full | pugi::parse_ws_pcdata | pugi::parse_fragment;

Error bad_xml(std::string fact, std::ptrdiff_t offset) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.reason = "BAD_DOMAIN_XML";
  error.tried = "read domain XML";
  error.subject = "offset " + std::to_string(offset);
  error.fact = std::move(fact);
  return error;
}

Error bad_xml(std::string fact, const pugi::xml_node& node) {
  return bad_xml(std::move(fact), node.offset_debug());
}

bool is_blank(const pugi::xml_node& node) {
  return node.type() == pugi::node_pcdata && trim(node.value()).empty();
}

bool too_deep(const pugi::xml_node& root) {
  int depth = 0;
  for (auto node = root;;) {
    if (node.first_child()) {
      if (++depth > kMaxDepth) return true;
      node = node.first_child();
      continue;
    }
    while (node != root && !node.next_sibling()) {
      node = node.parent();
      --depth;
    }
    if (node == root) return false;
    node = node.next_sibling();
  }
}

// The root element of a well-formed document.
Result<pugi::xml_node> load_document(std::string_view xml, pugi::xml_document& document) {
  if (xml.size() > kMaxBytes) return fail(bad_xml("over 16 MiB", static_cast<std::ptrdiff_t>(kMaxBytes)));
  if (const auto nul = xml.find('\0'); nul != std::string_view::npos) {
    return fail(bad_xml("a NUL byte", static_cast<std::ptrdiff_t>(nul)));
  }
  const auto parsed = document.load_buffer(xml.data(), xml.size(), kParseAll, pugi::encoding_utf8);
  if (!parsed) return fail(bad_xml(parsed.description(), parsed.offset));
  pugi::xml_node root;
  for (const auto& node : document.children()) {
    if (node.type() == pugi::node_doctype) {
      return fail(bad_xml("a DOCTYPE, which libvirt never writes and which can carry entities", node));
    }
    const bool element = node.type() == pugi::node_element;
    const bool text = (node.type() == pugi::node_pcdata || node.type() == pugi::node_cdata) && !is_blank(node);
    if (text || (element && root)) return fail(bad_xml("more than one element at the top", node));
    if (element) root = node;
  }
  if (!root) return fail(bad_xml("no element", 0));
  if (too_deep(document)) return fail(bad_xml("nested more than 256 deep", root));
  return root;
}

Result<void> check_is_domain(const pugi::xml_node& element) {
  if (std::string_view(element.name()) == "domain") return {};
  return fail(bad_xml("the root is <" + std::string(element.name()) + ">, not <domain>", element));
}

Result<pugi::xml_node> load_domain(std::string_view xml, pugi::xml_document& document) {
  SLICEBROKER_TRY(const auto root, load_document(xml, document));
  SLICEBROKER_CHECK(check_is_domain(root));
  return root;
}

std::string_view local_name(const pugi::xml_node& element) {
  const std::string_view name = element.name();
  const auto colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

// The namespace that an element's prefix stands for; empty where nothing declares it. pugixml knows no namespaces.
std::string_view namespace_of(const pugi::xml_node& element) {
  const std::string_view name = element.name();
  const auto colon = name.find(':');
  const std::string declaration =
      colon == std::string_view::npos ? "xmlns" : "xmlns:" + std::string(name.substr(0, colon));
  for (auto node = element; node; node = node.parent()) {
    if (const auto attribute = node.attribute(declaration.c_str())) return attribute.value();
  }
  return {};
}

// libvirt reads a PCI address's numbers as C does: 0x1f, 037 and 31 are one.
std::optional<std::uint32_t> c_number(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_number<std::uint32_t>(text.substr(2), 16);
  const bool octal = text.size() > 1 && text.front() == '0';
  return parse_number<std::uint32_t>(text, octal ? 8 : 10);
}

Result<std::uint32_t> read_number(const pugi::xml_node& address, const char* attribute, std::uint32_t maximum) {
  const auto found = address.attribute(attribute);
  if (!found) return 0;
  const auto number = c_number(found.value());
  if (!number || *number > maximum) {
    return fail(bad_xml("malformed PCI " + std::string(attribute) + " '" + found.value() + "'", address));
  }
  return *number;
}

Result<PciAddress> read_pci_address(const pugi::xml_node& address) {
  SLICEBROKER_TRY(const auto domain, read_number(address, "domain", std::numeric_limits<std::uint32_t>::max()));
  SLICEBROKER_TRY(const auto bus, read_number(address, "bus", 0xff));
  SLICEBROKER_TRY(const auto slot, read_number(address, "slot", 0x1f));
  SLICEBROKER_TRY(const auto function, read_number(address, "function", 7));
  return PciAddress{domain, static_cast<std::uint8_t>(bus), static_cast<std::uint8_t>(slot),
                    static_cast<std::uint8_t>(function)};
}

Result<Uuid> read_uuid(const pugi::xml_node& node, const char* text) {
  const auto uuid = Uuid::parse(text);
  if (!uuid) return fail(bad_xml("malformed UUID '" + std::string(text) + "'", node));
  return *uuid;
}

Result<PciAddress> read_bdf(const pugi::xml_node& node, std::string_view text) {
  const auto address = PciAddress::parse(text);
  if (!address) return fail(bad_xml("malformed PCI address '" + std::string(text) + "'", node));
  return *address;
}

Result<void> read_attribute(const pugi::xml_node& node, const pugi::xml_attribute& attribute, RequestedDevice& device) {
  const std::string_view name = attribute.name();
  const char* value = attribute.value();
  if (name == "selector") {
    device.selector = value;
  } else if (name == "fallback") {
    device.fallback = value;
  } else if (name == "isolation") {
    device.isolation = value;
  } else if (name == "mdev") {
    SLICEBROKER_TRY(device.mdev, read_uuid(node, value));
  } else if (name == "function") {
    SLICEBROKER_TRY(device.function, read_bdf(node, value));
  } else if (name == "allow-group-member") {
    for (const auto member : split(value, ' ')) {
      if (trim(member).empty()) continue;
      SLICEBROKER_TRY(const auto address, read_bdf(node, trim(member)));
      device.group_members.push_back(address.to_string());
    }
  } else if (name != "xmlns" && name.find(':') == std::string_view::npos) {
    // A misspelt `fallback` or `isolation` must not silently mean the default.
    return fail(bad_xml("unknown attribute '" + std::string(name) + "' of a requested device", node));
  }
  return {};
}

Result<RequestedDevice> read_device(const pugi::xml_node& node) {
  RequestedDevice device;
  std::set<std::string_view> seen;
  for (const auto& attribute : node.attributes()) {
    if (!seen.insert(attribute.name()).second) {
      return fail(bad_xml("attribute '" + std::string(attribute.name()) + "' is given twice", node));
    }
    SLICEBROKER_CHECK(read_attribute(node, attribute, device));
  }
  if (device.selector.empty()) return fail(bad_xml("a requested device without selector", node));
  if (device.mdev && device.function) return fail(bad_xml("a requested device with both mdev and function", node));
  return device;
}

// The <slicebroker:device> elements of the one request; none: the domain is not ours.
Result<std::vector<pugi::xml_node>> request_nodes(const pugi::xml_node& root) {
  std::vector<pugi::xml_node> devices;
  bool found = false;
  for (const auto& metadata : root.children("metadata")) {
    for (const auto& element : metadata.children()) {
      const auto space = namespace_of(element);
      // An undeclared prefix: another tool's element unless it bears our name.
      const bool forgotten = space.empty() && std::string_view(element.name()).starts_with("slicebroker:");
      if (forgotten)
        return fail(bad_xml("the prefix slicebroker is not declared: xmlns:slicebroker='urn:slicebroker:1'", element));
      if (!space.starts_with(kAnyNamespace)) continue;
      if (space != kNamespace || local_name(element) != "request") {
        return fail(bad_xml("<" + std::string(element.name()) + "> is not known to this version", element));
      }
      if (std::exchange(found, true)) return fail(bad_xml("a second request; libvirt keeps one", element));
      for (const auto& child : element.children()) {
        if (child.type() != pugi::node_element) continue;
        if (local_name(child) != "device" || namespace_of(child) != kNamespace) {
          return fail(bad_xml("<" + std::string(child.name()) + "> in a request", child));
        }
        devices.push_back(child);
      }
    }
  }
  if (devices.size() > kMaxDevices) return fail(bad_xml("more than 64 requested devices", devices[kMaxDevices]));
  return devices;
}

// The host's side of a device: <source><address>, never the <address> below it, which is the guest's.
pugi::xml_node source_address(const pugi::xml_node& device) {
  return device.child("source").child("address");
}

Result<void> read_hostdev(const pugi::xml_node& device, Domain& domain) {
  const std::string_view element = device.name();
  const std::string_view type = device.attribute("type").value();
  const bool capabilities = std::string_view(device.attribute("mode").value()) == "capabilities";
  if (element == "hostdev" && type == "mdev") {
    SLICEBROKER_TRY(const auto uuid, read_uuid(device, source_address(device).attribute("uuid").value()));
    domain.mdevs.push_back(uuid);
  } else if ((element == "hostdev" && type == "pci" && !capabilities) ||
             (element == "interface" && type == "hostdev")) {
    const auto address = source_address(device);
    if (!address) return fail(bad_xml("a PCI hostdev without <source><address>", device));
    SLICEBROKER_TRY(const auto function, read_pci_address(address));
    domain.functions.push_back(function);
  }
  return {};
}

bool made_for_cloud_hypervisor(const pugi::xml_node& root) {
  const std::string_view emulator = root.child("devices").child("emulator").text().get();
  return std::string_view(root.attribute("type").value()) == "hyperv" || emulator.ends_with("cloud-hypervisor");
}

Result<void> read_hostdevs(const pugi::xml_node& root, Domain& domain) {
  for (const auto& devices : root.children("devices")) {
    for (const auto& device : devices.children()) SLICEBROKER_CHECK(read_hostdev(device, domain));
  }
  return {};
}

Result<Domain> read_root(const pugi::xml_node& root) {
  Domain domain;
  domain.name = root.child("name").text().get();
  if (domain.name.empty()) return fail(bad_xml("the domain has no name", root));
  domain.type = root.attribute("type").value();
  domain.cloud_hypervisor = made_for_cloud_hypervisor(root);
  if (const auto uuid = root.child("uuid")) {
    SLICEBROKER_TRY(domain.uuid, read_uuid(uuid, std::string(trim(uuid.text().get())).c_str()));
  }
  SLICEBROKER_TRY(const auto nodes, request_nodes(root));
  for (const auto& node : nodes) {
    SLICEBROKER_TRY(auto device, read_device(node));
    domain.requests.push_back(std::move(device));
  }
  SLICEBROKER_CHECK(read_hostdevs(root, domain));
  return domain;
}

std::string alias_of(const pugi::xml_node& hostdev) {
  return hostdev.child("alias").attribute("name").value();
}

// Whether `alias` is a companion's: "ua-ID-1", "ua-ID-2" ...
bool is_companion_alias(std::string_view alias, std::string_view device_alias) {
  if (!alias.starts_with(device_alias)) return false;
  alias.remove_prefix(device_alias.size());
  return alias.starts_with('-') && parse_number<std::uint32_t>(alias.substr(1)).has_value();
}

bool is_device(const pugi::xml_node& hostdev, const RequestedDevice& recorded) {
  const auto address = source_address(hostdev);
  if (const auto uuid = address.attribute("uuid")) return recorded.mdev && Uuid::parse(uuid.value()) == recorded.mdev;
  const auto function = read_pci_address(address);
  return recorded.function && address && function && *function == *recorded.function;
}

// The device aliases of this run and of earlier ones, whose hostdevs and companions the new ones replace.
std::set<std::string> our_aliases(const pugi::xml_node& devices, const Domain& domain,
                                  const std::vector<Attachment>& attachments) {
  std::set<std::string> aliases;
  for (const auto& attachment : attachments) aliases.insert(hostdev_alias(attachment));
  for (const auto& hostdev : devices.children("hostdev")) {
    auto alias = alias_of(hostdev);
    const auto matches = [&](const RequestedDevice& request) { return is_device(hostdev, request); };
    if (alias.starts_with("ua-") && std::any_of(domain.requests.begin(), domain.requests.end(), matches)) {
      aliases.insert(std::move(alias));
    }
  }
  return aliases;
}

// Takes an element out together with the line break and indentation that append_element() put before it.
void remove_element(pugi::xml_node parent, pugi::xml_node element, const std::string& indentation) {
  auto before = element.previous_sibling();
  if (std::string text = before.value();
      before.type() == pugi::node_pcdata && !indentation.empty() && text.ends_with(indentation)) {
    text.resize(text.size() - indentation.size());
    before.set_value(text.c_str());
    if (text.empty()) parent.remove_child(before);
  }
  parent.remove_child(element);
}

void remove_hostdevs(pugi::xml_node devices, const std::set<std::string>& aliases, const std::string& indentation) {
  for (auto hostdev = devices.child("hostdev"); hostdev;) {
    const auto next = hostdev.next_sibling("hostdev");
    const auto alias = alias_of(hostdev);
    const bool unassigned = std::string_view(hostdev.child("address").attribute("type").value()) == "unassigned";
    const bool companion = unassigned && std::any_of(aliases.begin(), aliases.end(), [&](const std::string& device) {
                             return is_companion_alias(alias, device);
                           });
    if (companion || aliases.contains(alias)) remove_element(devices, hostdev, indentation);
    hostdev = next;
  }
}

// The line break and indentation before a child of `parent`; empty where the document is written in one line.
std::string child_indentation(const pugi::xml_node& parent) {
  const auto first = parent.first_child();
  if (!is_blank(first)) return {};
  const std::string blanks = first.value();
  const auto line = blanks.rfind('\n');
  if (line == std::string::npos) return {};
  return blanks.substr(line) + (first.next_sibling() ? "" : "  ");
}

// Appends an element, given as text, in the document's own layout.
void append_element(pugi::xml_node parent, const std::string& element, const std::string& indentation) {
  std::string text;
  for (const char c : element) {
    if (c == '\n') {
      text += indentation;
    } else {
      text += c;
    }
  }
  pugi::xml_document fragment;
  fragment.load_string(text.c_str(), indentation.empty() ? pugi::parse_default : kParseAll);
  // The blanks before the parent's end tag stay there.
  const auto end = parent.last_child();
  const bool keep_end = is_blank(end) && (end != parent.first_child() || !indentation.empty());
  const auto added =
      keep_end ? parent.insert_copy_before(fragment.first_child(), end) : parent.append_copy(fragment.first_child());
  if (!indentation.empty()) {
    parent.insert_child_before(pugi::node_pcdata, added).set_value(indentation.c_str());
  }
}

void record_device(pugi::xml_node request, const Attachment& attachment) {
  const bool mdev = attachment.surface == Surface::kMdev;
  request.remove_attribute(mdev ? "function" : "mdev");
  const char* name = mdev ? "mdev" : "function";
  const auto value = mdev ? attachment.mdev->to_string() : attachment.function->to_string();
  auto attribute = request.attribute(name);
  if (!attribute) attribute = request.append_attribute(name);
  attribute = value.c_str();
}

// Saved with the quotes that the text mostly uses: libvirt writes single ones, people write both.
std::string save(const pugi::xml_document& document, std::string_view original) {
  std::size_t single = 0;
  std::size_t twofold = 0;
  for (std::size_t i = 0; i + 1 < original.size(); ++i) {
    if (original[i] != '=') continue;
    single += original[i + 1] == '\'' ? 1 : 0;
    twofold += original[i + 1] == '"' ? 1 : 0;
  }
  unsigned flags = pugi::format_raw | pugi::format_no_declaration;
  if (single >= twofold) flags |= pugi::format_attribute_single_quote;
  std::ostringstream out;
  document.save(out, "", flags, pugi::encoding_utf8);
  return std::move(out).str();
}

}  // namespace

Result<Domain> read_domain(std::string_view xml) {
  pugi::xml_document document;
  SLICEBROKER_TRY(const auto root, load_domain(xml, document));
  return read_root(root);
}

Result<SavedDomain> read_saved_domain(std::string_view xml) {
  pugi::xml_document document;
  SLICEBROKER_TRY(auto root, load_document(xml, document));
  const bool running = std::string_view(root.name()) == "domstatus";
  if (running) root = root.child("domain");
  SLICEBROKER_CHECK(check_is_domain(root));
  const auto asked = running ? Domain{} : read_root(root).value_or(Domain{});
  for (const auto& devices : root.children("devices")) {
    remove_hostdevs(devices, our_aliases(devices, asked, {}), "");
  }
  Domain domain;
  domain.name = root.child("name").text().get();
  if (domain.name.empty()) return fail(bad_xml("the domain has no name", root));
  SLICEBROKER_CHECK(read_hostdevs(root, domain));
  return SavedDomain{std::move(domain.name), running, std::move(domain.mdevs), std::move(domain.functions)};
}

Result<std::string> complete_domain(std::string_view xml, const std::vector<Attachment>& attachments) {
  pugi::xml_document document;
  SLICEBROKER_TRY(auto root, load_domain(xml, document));
  SLICEBROKER_TRY(const auto domain, read_root(root));
  SLICEBROKER_TRY(auto requests, request_nodes(root));
  if (requests.empty()) return fail(bad_xml("the domain requests no device", root));
  if (requests.size() != attachments.size()) {
    return fail(bad_xml(std::to_string(requests.size()) + " requested devices, but " +
                            std::to_string(attachments.size()) + " attachments",
                        root));
  }
  if (!root.child("devices")) append_element(root, "<devices>\n</devices>", child_indentation(root));
  auto devices = root.child("devices");
  const auto indentation = child_indentation(devices);
  remove_hostdevs(devices, our_aliases(devices, domain, attachments), indentation);
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    record_device(requests[i], attachments[i]);
    for (const auto& element : hostdev_xml(attachments[i])) append_element(devices, element, indentation);
  }
  return save(document, xml);
}

Result<std::optional<std::string>> find_guest_address(std::string_view xml, std::string_view alias) {
  pugi::xml_document document;
  SLICEBROKER_TRY(const auto root, load_domain(xml, document));
  for (const auto& hostdev : root.child("devices").children("hostdev")) {
    if (alias_of(hostdev) != alias) continue;
    const auto address = hostdev.child("address");
    if (std::string_view(address.attribute("type").value()) != "pci") return std::string{};
    SLICEBROKER_TRY(const auto guest, read_pci_address(address));
    return guest.to_string();
  }
  return std::optional<std::string>{};
}

}  // namespace slicebroker::hypervisors::libvirt
