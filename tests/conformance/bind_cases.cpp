// SPDX-License-Identifier: Apache-2.0
// Drivers: bind, unbind, driver_override, drivers_probe. On the network card, which has its IOMMU group to itself.
#include <cerrno>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

const std::string kProbe = "sys/bus/pci/drivers_probe";
const std::string kNowhere = "0000:ff:1f.7";

std::string nic_file(const Run& run, const std::string& name) {
  return device_path(run.roles.nic) + "/" + name;
}
std::string nic_driver(const Run& run) {
  return run.host.link(nic_file(run, "driver"));
}

// "bind" or "unbind" of the card's own driver. To be asked for while the card is bound.
std::string own(const Run& run, const std::string& file) {
  return driver_path(nic_driver(run)) + "/" + file;
}

void unbind_and_bind(Run& run) {
  const std::string driver = nic_driver(run), bind = own(run, "bind"), link = own(run, run.roles.nic);
  run.there(link);
  run.without_driver(run.roles.nic);
  run.gone(link);
  run.gone(nic_file(run, "driver"));
  run.write(bind, run.roles.nic + "\n");
  run.driver(run.roles.nic, driver);
  run.there(link);
}

void without_newline(Run& run) {
  const std::string driver = nic_driver(run), bind = own(run, "bind");
  run.later([&run] { run.probe(run.roles.nic); });
  run.write(own(run, "unbind"), run.roles.nic);
  run.driver(run.roles.nic, "");
  run.write(bind, run.roles.nic);
  run.driver(run.roles.nic, driver);
}

void uevent_names_the_driver(Run& run) {
  const std::string line = "DRIVER=" + nic_driver(run) + "\n";
  const auto names_it = [&] { return run.host.read(nic_file(run, "uevent")).text.find(line) != std::string::npos; };
  run.equal("uevent has " + line, "true", names_it() ? "true" : "false");
  run.without_driver(run.roles.nic);
  run.equal("uevent has " + line, "false", names_it() ? "true" : "false");
}

void bind_of_bound(Run& run) {
  run.write(own(run, "bind"), run.roles.nic + "\n", EBUSY);
}

void bind_without_match(Run& run) {
  run.without_driver(run.roles.nic);
  run.write(driver_path("vfio-pci") + "/bind", run.roles.nic + "\n", ENODEV);
  run.driver(run.roles.nic, "");
}

void bind_of_nothing(Run& run) {
  const std::string bind = own(run, "bind");
  for (const std::string& name : {kNowhere, std::string("nonsense"), std::string(), run.roles.nic.substr(0, 7)}) {
    run.write(bind, name + "\n", ENODEV);
  }
}

void unbind_of_unbound(Run& run) {
  const std::string unbind = own(run, "unbind");
  run.without_driver(run.roles.nic);
  run.write(unbind, run.roles.nic + "\n", ENODEV);
}

void unbind_by_another(Run& run) {
  run.write(driver_path("vfio-pci") + "/unbind", run.roles.nic + "\n", ENODEV);
  run.write(own(run, "unbind"), kNowhere + "\n", ENODEV);
}

void override_reads_back(Run& run) {
  const std::string file = nic_file(run, "driver_override"), driver = nic_driver(run);
  run.text(file, "(null)");
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.write(file, "vfio-pci\n");
  run.text(file, "vfio-pci");
  run.write(file, "pci-stub");
  run.text(file, "pci-stub");
  run.driver(run.roles.nic, driver);
  run.write(file, "\n");
  run.text(file, "(null)");
}

void override_takes_one_line(Run& run) {
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.write(nic_file(run, "driver_override"), "first\nsecond\n");
  run.text(nic_file(run, "driver_override"), "first");
}

void override_ends_at_a_nul(Run& run) {
  const std::string file = nic_file(run, "driver_override");
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.write(file, std::string("some\0more", 9));
  run.text(file, "some");
  run.write(file, std::string("\0", 1));
  run.text(file, "(null)");
}

void override_of_nothing_changes_nothing(Run& run) {
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.override(run.roles.nic, "some");
  run.write(nic_file(run, "driver_override"), "");
  run.text(nic_file(run, "driver_override"), "some");
}

void override_length(Run& run) {
  const std::string file = nic_file(run, "driver_override"), longest(4094, 'x');
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.write(file, longest + "x", EINVAL);
  run.text(file, "(null)");
  run.write(file, longest);
  run.text(file, longest);
}

void override_to_a_missing_driver(Run& run) {
  const std::string bind = own(run, "bind");
  run.without_driver(run.roles.nic);
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.override(run.roles.nic, "no-such-driver");
  run.probe(run.roles.nic);
  run.driver(run.roles.nic, "");
  run.write(bind, run.roles.nic + "\n", ENODEV);
  run.driver(run.roles.nic, "");
}

void override_alone_rebinds_nothing(Run& run) {
  const std::string driver = nic_driver(run);
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.override(run.roles.nic, "vfio-pci");
  run.probe(run.roles.nic);
  run.driver(run.roles.nic, driver);
}

void override_and_bind(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  run.unbind(run.roles.nic);
  run.write(driver_path("vfio-pci") + "/bind", run.roles.nic + "\n");
  run.driver(run.roles.nic, "vfio-pci");
  run.write(driver_path("vfio-pci") + "/bind", run.roles.nic + "\n", EBUSY);
}

void cleared_override_keeps_the_driver(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  run.override(run.roles.nic, "");
  run.driver(run.roles.nic, "vfio-pci");
  run.probe(run.roles.nic);
  run.driver(run.roles.nic, "vfio-pci");
  // No longer a match: a bind finds the device, not the driver's claim to it.
  run.write(driver_path("vfio-pci") + "/bind", run.roles.nic + "\n", ENODEV);
}

void probe_finds_the_own_driver(Run& run) {
  const std::string driver = nic_driver(run);
  run.without_driver(run.roles.nic);
  run.probe(run.roles.nic);
  run.driver(run.roles.nic, driver);
}

void probe_of_bound(Run& run) {
  const std::string driver = nic_driver(run);
  run.probe(run.roles.nic);
  run.driver(run.roles.nic, driver);
}

void probe_of_nothing(Run& run) {
  run.write(kProbe, kNowhere + "\n", ENODEV);
  run.write(kProbe, "\n", ENODEV);
  run.write(kProbe, run.roles.nic + " \n", ENODEV);
}

void probe_without_a_match(Run& run) {
  run.probe(run.roles.idle_companion);
  run.driver(run.roles.idle_companion, "");
}

void vfio_appears_and_vanishes(Run& run) {
  const std::string node = run.group_node(run.roles.nic), group = run.group_of(run.roles.nic);
  run.gone(node);
  run.gone(nic_file(run, "vfio-dev"));
  run.on_vfio_pci(run.roles.nic);
  run.there(node);
  run.there("sys/class/vfio/" + group);
  const auto devices = run.host.list(nic_file(run, "vfio-dev"));
  run.equal("VFIO devices of the card", "1", std::to_string(devices.size()));
  run.there("sys/class/vfio-dev/" + devices[0]);
  run.there(driver_path("vfio-pci") + "/" + run.roles.nic);
  run.unbind(run.roles.nic);
  run.gone(node);
  run.gone("sys/class/vfio/" + group);
  run.gone("sys/class/vfio-dev/" + devices[0]);
  run.gone(nic_file(run, "vfio-dev"));
  run.equal("its group", group, run.group_of(run.roles.nic));
}

void driver_directory(Run& run) {
  const std::string driver = nic_driver(run);
  for (const char* file : {"bind", "unbind", "new_id", "remove_id", "uevent"})
    run.there(driver_path(driver) + "/" + file);
  run.equal("link of the card to its bus", "pci", run.host.link(nic_file(run, "subsystem")));
  run.text("sys/bus/pci/drivers_autoprobe", "1");
}

}  // namespace

std::vector<Case> bind_cases() {
  return {
      {"bind.unbind_and_bind", unbind_and_bind},
      {"bind.without_newline", without_newline},
      {"bind.uevent_names_the_driver", uevent_names_the_driver},
      {"bind.of_bound", bind_of_bound},
      {"bind.without_match", bind_without_match},
      {"bind.of_nothing", bind_of_nothing},
      {"bind.unbind_of_unbound", unbind_of_unbound},
      {"bind.unbind_by_another", unbind_by_another},
      {"bind.driver_directory", driver_directory},
      {"override.reads_back", override_reads_back},
      {"override.takes_one_line", override_takes_one_line},
      {"override.ends_at_a_nul", override_ends_at_a_nul},
      {"override.of_nothing_changes_nothing", override_of_nothing_changes_nothing},
      {"override.length", override_length},
      {"override.to_a_missing_driver", override_to_a_missing_driver},
      {"override.alone_rebinds_nothing", override_alone_rebinds_nothing},
      {"override.and_bind", override_and_bind},
      {"override.cleared_keeps_the_driver", cleared_override_keeps_the_driver},
      {"probe.finds_the_own_driver", probe_finds_the_own_driver},
      {"probe.of_bound", probe_of_bound},
      {"probe.of_nothing", probe_of_nothing},
      {"probe.without_a_match", probe_without_a_match},
      {"vfio.appears_and_vanishes", vfio_appears_and_vanishes},
  };
}

}  // namespace slicebroker::conformance
