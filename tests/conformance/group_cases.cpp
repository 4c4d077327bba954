// SPDX-License-Identifier: Apache-2.0
// IOMMU groups and VFIO: who shares one, who may open one, and what an open one keeps from happening.
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

constexpr const char* kNeedsIoctl = "needs VFIO ioctls, which a simulated node can't answer";
constexpr const char* kOpenMeansUsed = "on a simulated host an open group stands for a device in use";

bool viable(const Run& run, const File& group) {
  vfio_group_status status{};
  status.argsz = sizeof(status);
  run.gives("VFIO_GROUP_GET_STATUS", 0, ::ioctl(group.fd(), VFIO_GROUP_GET_STATUS, &status) != 0 ? errno : 0);
  return (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0;
}

int set_container(const Run& run, const File& group) {
  const File container = run.host.open("dev/vfio/vfio", O_RDWR);
  int fd = container.fd();
  return ::ioctl(group.fd(), VFIO_GROUP_SET_CONTAINER, &fd) != 0 ? errno : 0;
}

void members(Run& run) {
  const Roles& roles = run.roles;
  const std::string group = run.group_of(roles.grouped_gpu);
  std::vector<std::string> wanted = {roles.grouped_gpu, roles.companion, roles.idle_companion};
  std::sort(wanted.begin(), wanted.end());
  for (const std::string& list : {"sys/kernel/iommu_groups/" + group, device_path(roles.companion) + "/iommu_group"}) {
    const auto saw = run.host.list(list + "/devices");
    if (saw != wanted) throw Mismatch(list + "/devices: wanted the three functions, saw " + std::to_string(saw.size()));
  }
  run.equal("group of the companion", group, run.group_of(roles.companion));
  if (group == run.group_of(roles.nic)) throw Mismatch("wanted the card in another group, saw it in group " + group);
}

void one_node_for_a_group(Run& run) {
  const std::string node = run.group_node(run.roles.grouped_gpu);
  run.on_vfio_pci(run.roles.companion);
  run.there(node);
  run.on_vfio_pci(run.roles.idle_companion);
  run.equal("group of the other", node, run.group_node(run.roles.idle_companion));
  run.unbind(run.roles.companion);
  run.there(node);
  run.unbind(run.roles.idle_companion);
  run.gone(node);
}

void not_viable(Run& run) {
  run.on_vfio_pci(run.roles.idle_companion);
  const File group = run.host.open(run.group_node(run.roles.idle_companion), O_RDWR);
  run.gives("open of a group whose companion is on a host driver", 0, group.error());
  run.equal("viable", "false", viable(run, group) ? "true" : "false");
  run.gives("VFIO_GROUP_SET_CONTAINER", EPERM, set_container(run, group));
}

void viable_without_drivers(Run& run) {
  run.without_driver(run.roles.grouped_gpu);
  run.without_driver(run.roles.companion);
  run.on_vfio_pci(run.roles.idle_companion);
  const File group = run.host.open(run.group_node(run.roles.idle_companion), O_RDWR);
  run.equal("viable", "true", viable(run, group) ? "true" : "false");
}

void opens_although_not_viable(Run& run) {
  run.on_vfio_pci(run.roles.idle_companion);
  run.gives("open", 0, run.host.open(run.group_node(run.roles.idle_companion), O_RDWR).error());
}

void opened_once(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  const std::string node = run.group_node(run.roles.nic);
  File first = run.host.open(node, O_RDWR);
  run.gives("open", 0, first.error());
  run.gives("second open", EBUSY, run.host.open(node, O_RDWR).error());
  Attempt::read(run.host, node).ends("open by another process", EBUSY);
  first.close();
  run.gives("open after the close", 0, run.host.open(node, O_RDWR).error());
}

void companion_kept_from_host_driver(Run& run) {
  const std::string driver = run.host.link(device_path(run.roles.companion) + "/driver");
  run.without_driver(run.roles.grouped_gpu);
  run.without_driver(run.roles.companion);
  run.on_vfio_pci(run.roles.idle_companion);
  VfioUser user(run, run.group_node(run.roles.idle_companion), run.roles.idle_companion);
  run.write(driver_path(driver) + "/bind", run.roles.companion + "\n", EBUSY);
  run.write("sys/bus/pci/drivers_probe", run.roles.companion + "\n", EINVAL);
  run.driver(run.roles.companion, "");
  user.close();
  run.write(driver_path(driver) + "/bind", run.roles.companion + "\n");
  run.driver(run.roles.companion, driver);
}

void companion_joins_vfio_while_used(Run& run) {
  run.without_driver(run.roles.grouped_gpu);
  run.without_driver(run.roles.companion);
  run.on_vfio_pci(run.roles.idle_companion);
  const VfioUser user(run, run.group_node(run.roles.idle_companion), run.roles.idle_companion);
  run.on_vfio_pci(run.roles.companion);
  run.driver(run.roles.companion, "vfio-pci");
}

void unused_companion_leaves_while_used(Run& run) {
  run.without_driver(run.roles.grouped_gpu);
  run.on_vfio_pci(run.roles.companion);
  run.on_vfio_pci(run.roles.idle_companion);
  VfioUser user(run, run.group_node(run.roles.idle_companion), run.roles.idle_companion);
  run.unbind(run.roles.companion);
  run.driver(run.roles.companion, "");
  run.there(run.group_node(run.roles.idle_companion));
}

void open_alone_keeps_nothing(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  const File group = run.host.open(run.group_node(run.roles.nic), O_RDWR);
  run.unbind(run.roles.nic);
  run.driver(run.roles.nic, "");
  run.gone(run.group_node(run.roles.nic));
}

void unbind_waits_for_the_user(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  const std::string node = run.group_node(run.roles.nic), path = device_path(run.roles.nic);
  VfioUser user(run, node, run.roles.nic);
  auto unbind = Attempt::write(run.host, path + "/driver/unbind", run.roles.nic + "\n");
  unbind.hangs("unbind of a device in use");
  // So the link says nothing about who still has the device.
  run.gone(path + "/driver");
  run.gone(driver_path("vfio-pci") + "/" + run.roles.nic);
  run.there(node);
  const bool registered = !run.host.list(path + "/vfio-dev").empty();
  run.equal("VFIO device while its unbind waits", run.roles.kernel_at_least(6, 6) ? "gone" : "there",
            registered ? "there" : "gone");
  user.close();
  unbind.ends("unbind after the close", 0);
  run.driver(run.roles.nic, "");
  run.gone(node);
}

// Before driver_override had a lock of its own, both took the device's, which the unbind holds.
void override_while_an_unbind_waits(Run& run) {
  run.on_vfio_pci(run.roles.nic);
  const std::string file = device_path(run.roles.nic) + "/driver_override";
  VfioUser user(run, run.group_node(run.roles.nic), run.roles.nic);
  auto unbind = Attempt::write(run.host, device_path(run.roles.nic) + "/driver/unbind", run.roles.nic + "\n");
  unbind.hangs("unbind of a device in use");
  auto read = Attempt::read(run.host, file);
  auto write = Attempt::write(run.host, file, "vfio-pci\n");
  if (!run.roles.kernel_at_least(6, 12)) {
    read.hangs("read of driver_override while an unbind waits");
    write.hangs("write of driver_override while an unbind waits");
    user.close();
  }
  read.ends("read of driver_override", 0);
  write.ends("write of driver_override", 0);
  user.close();
  unbind.ends("unbind after the close", 0);
}

void no_node_no_open(Run& run) {
  run.gives("open of a group without VFIO devices", ENOENT,
            run.host.open(run.group_node(run.roles.nic), O_RDWR).error());
}

}  // namespace

std::vector<Case> group_cases() {
  return {
      {"group.members", members},
      {"group.one_node_for_a_group", one_node_for_a_group},
      {"group.not_viable", not_viable, kNeedsIoctl},
      {"group.viable_without_drivers", viable_without_drivers, kNeedsIoctl},
      {"group.opens_although_not_viable", opens_although_not_viable},
      {"group.opened_once", opened_once},
      {"group.companion_kept_from_host_driver", companion_kept_from_host_driver},
      {"group.companion_joins_vfio_while_used", companion_joins_vfio_while_used},
      {"group.unused_companion_leaves_while_used", unused_companion_leaves_while_used, kOpenMeansUsed},
      {"group.open_alone_keeps_nothing", open_alone_keeps_nothing, kOpenMeansUsed},
      {"group.unbind_waits_for_the_user", unbind_waits_for_the_user},
      {"group.override_while_an_unbind_waits", override_while_an_unbind_waits},
      {"group.no_node_no_open", no_node_no_open},
  };
}

}  // namespace slicebroker::conformance
