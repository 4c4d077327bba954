// SPDX-License-Identifier: Apache-2.0
// Resets of a function: reset_method and reset. On the network card, and on a card whose bus has others.
#include <cerrno>
#include <sstream>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

std::string methods_file(const std::string& address) {
  return device_path(address) + "/reset_method";
}
std::string reset_file(const std::string& address) {
  return device_path(address) + "/reset";
}

void back_to_default(Run& run, const std::string& address) {
  run.later([&run, address] { run.write(methods_file(address), "default\n"); });
}

void each_method_alone(Run& run) {
  const std::string file = methods_file(run.roles.nic), all = run.host.line(file);
  back_to_default(run, run.roles.nic);
  run.equal("it can be reset", "true", all.empty() ? "false" : "true");
  std::istringstream words(all);
  for (std::string method; words >> method;) {
    run.write(file, method + "\n");
    run.text(file, method);
  }
  run.write(file, "default\n");
  run.text(file, all);
  run.write(file, all);
  run.text(file, all);
}

void unknown_method(Run& run) {
  const std::string file = methods_file(run.roles.nic), all = run.host.line(file);
  back_to_default(run, run.roles.nic);
  run.write(file, "nonsense\n", EINVAL);
  run.write(file, all + " nonsense\n", EINVAL);
  run.text(file, all);
}

void no_method(Run& run) {
  back_to_default(run, run.roles.nic);
  run.on_vfio_pci(run.roles.nic);
  run.write(methods_file(run.roles.nic), "\n");
  run.text(methods_file(run.roles.nic), "");
  run.write(reset_file(run.roles.nic), "1\n", ENOTTY);
  run.write(reset_file(run.roles.nic), "0\n", EINVAL);
}

void what_resets(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  for (const char* value : {"0\n", "2\n", "nonsense\n", "\n"}) run.write(reset_file(run.roles.nic), value, EINVAL);
  for (const char* value : {"1\n", "1", "0x1\n"}) run.write(reset_file(run.roles.nic), value);
}

// However it was listed when the card was found.
void bus_with_others(Run& run) {
  const std::string file = methods_file(run.roles.grouped_gpu), before = run.host.line(file);
  run.write(file, "bus\n", EINVAL);
  run.text(file, before);
}

void reset_waits_for_an_unbind(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  VfioUser user(run, run.group_node(run.roles.nic), run.roles.nic);
  auto unbind = Attempt::write(run.host, driver_path("vfio-pci") + "/unbind", run.roles.nic + "\n");
  unbind.hangs("unbind");
  auto reset = Attempt::write(run.host, reset_file(run.roles.nic), "1\n");
  reset.hangs("reset");
  user.close();
  unbind.ends("unbind", 0);
  reset.ends("reset", 0);
}

}  // namespace

std::vector<Case> reset_cases() {
  return {
      {"reset.each_method_alone", each_method_alone},
      {"reset.unknown_method", unknown_method},
      {"reset.no_method", no_method},
      {"reset.what_resets", what_resets},
      {"reset.bus_with_others", bus_with_others},
      {"reset.waits_for_an_unbind", reset_waits_for_an_unbind},
  };
}

}  // namespace slicebroker::conformance
