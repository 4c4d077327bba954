// SPDX-License-Identifier: Apache-2.0
// Vendor VFIO: a virtual function is itself the VFIO device, of a type that is written to it.
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "tests/conformance/gpu.h"

namespace slicebroker::conformance {
namespace {

const std::string kHeading = "ID    : vGPU Name";

std::string vf_file(const Run& run, int index, const std::string& name) {
  return device_path(vf(run, index)) + "/nvidia/" + name;
}

void set_type(Run& run, int index, const std::string& type = "700") {
  const std::string file = vf_file(run, index, "current_vgpu_type");
  run.later([&run, file] { run.write(file, "0\n"); });
  run.write(file, type + "\n");
}

void creatable(const Run& run, int index, const std::string& wanted) {
  run.text(vf_file(run, index, "creatable_vgpu_types"), wanted.empty() ? kHeading : kHeading + "\n" + wanted);
}

void without_capacity(Run& run) {
  creatable(run, 0, "");
  run.text(vf_file(run, 0, "current_vgpu_type"), "0");
  run.write(vf_file(run, 0, "current_vgpu_type"), "700\n", ENOSPC);
  run.text(vf_file(run, 0, "current_vgpu_type"), "0");
}

void capacity_appears(Run& run) {
  make_2g(run, 0);
  for (int index = 0; index < 4; ++index) creatable(run, index, "700   : GRID A100D-2-20C");
  run.write(vf_file(run, 0, "current_vgpu_type"), "701\n", ENOSPC);
}

void no_such_type(Run& run) {
  make_2g(run, 0);
  const std::string file = vf_file(run, 0, "current_vgpu_type");
  for (const char* text : {"558\n", "nvidia-700\n", "\n", "-1\n", "700 1\n", "0x2bc\n"}) run.write(file, text, EINVAL);
  run.text(file, "0");
}

void set_and_cleared(Run& run) {
  const std::string gi = make_2g(run, 0), file = vf_file(run, 0, "current_vgpu_type");
  run.unreadable(vf_file(run, 0, "gpu_instance_id"), ENXIO);
  run.unreadable(vf_file(run, 0, "placement_id"), ENXIO);
  set_type(run, 0);
  run.text(file, "700");
  run.text(vf_file(run, 0, "gpu_instance_id"), gi);
  run.text(vf_file(run, 0, "placement_id"), "0");
  run.equal("user of the GPU instance", vf(run, 0), user_of_gi(run, gi));
  run.write(file, "0\n");
  run.text(file, "0");
  run.unreadable(vf_file(run, 0, "gpu_instance_id"), ENXIO);
  run.equal("user of the GPU instance", "-", user_of_gi(run, gi));
  run.write(file, "0\n");
}

void without_newline(Run& run) {
  make_2g(run, 0);
  run.later([&run] { run.write(vf_file(run, 0, "current_vgpu_type"), "0"); });
  run.write(vf_file(run, 0, "current_vgpu_type"), "700");
  run.text(vf_file(run, 0, "current_vgpu_type"), "700");
}

void not_set_twice(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  set_type(run, 0);
  run.write(vf_file(run, 0, "current_vgpu_type"), "700\n", ENOSPC);
  run.text(vf_file(run, 0, "current_vgpu_type"), "700");
  creatable(run, 0, "");
}

void capacity_of_siblings(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  set_type(run, 0);
  creatable(run, 1, "700   : GRID A100D-2-20C");
  set_type(run, 1);
  creatable(run, 2, "");
  run.write(vf_file(run, 2, "current_vgpu_type"), "700\n", ENOSPC);
  run.write(vf_file(run, 0, "current_vgpu_type"), "0\n");
  creatable(run, 2, "700   : GRID A100D-2-20C");
  creatable(run, 1, "");
}

void vfio_device_from_the_start(Run& run) {
  const std::string function = vf(run, 0);
  run.driver(function, "nvidia");
  run.there(run.group_node(function));
  run.equal("VFIO devices", "1", std::to_string(run.host.list(device_path(function) + "/vfio-dev").size()));
  run.gone(device_path(function) + "/mdev_supported_types");
  run.gives("open of the group", 0, run.host.open(run.group_node(function), O_RDWR).error());
}

void no_device_without_a_type(Run& run) {
  const std::string function = vf(run, 0);
  const File group = run.host.open(run.group_node(function), O_RDWR),
             container = run.host.open("dev/vfio/vfio", O_RDWR);
  int fd = container.fd();
  run.gives("VFIO_GROUP_SET_CONTAINER", 0, ::ioctl(group.fd(), VFIO_GROUP_SET_CONTAINER, &fd) != 0 ? errno : 0);
  run.gives("VFIO_SET_IOMMU", 0, ::ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0 ? errno : 0);
  const int device = ::ioctl(group.fd(), VFIO_GROUP_GET_DEVICE_FD, function.c_str());
  run.gives("VFIO_GROUP_GET_DEVICE_FD", ENODEV, device < 0 ? errno : 0);
}

void busy_while_open(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  set_type(run, 0);
  const std::string file = vf_file(run, 0, "current_vgpu_type");
  VfioUser user(run, run.group_node(vf(run, 0)), vf(run, 0));
  run.write(file, "0\n", EBUSY);
  run.text(file, "700");
  user.close();
  run.write(file, "0\n");
}

void gone_with_its_vf(Run& run) {
  const std::string gi = make_2g(run, 0);
  run.with_vfs(run.roles.sriov_gpu, 4);
  run.write(vf_file(run, 0, "current_vgpu_type"), "700\n");
  run.write(gpu_file(run, "sriov_numvfs"), "0\n");
  run.equal("user of the GPU instance", "-", user_of_gi(run, gi));
  run.write(gpu_file(run, "sriov_numvfs"), "4\n");
  run.text(vf_file(run, 0, "current_vgpu_type"), "0");
}

void vfs_off_waits_for_the_user(Run& run) {
  make_2g(run, 0);
  run.with_vfs(run.roles.sriov_gpu, 4);
  run.write(vf_file(run, 0, "current_vgpu_type"), "700\n");
  VfioUser user(run, run.group_node(vf(run, 0)), vf(run, 0));
  auto off = Attempt::write(run.host, gpu_file(run, "sriov_numvfs"), "0\n");
  off.hangs("sriov_numvfs=0 while a VF is in use");
  user.close();
  off.ends("sriov_numvfs=0 after the close", 0);
}

void unbound_is_spent(Run& run) {
  const std::string function = vf(run, 0), node = run.group_node(function);
  run.later([&run] {
    run.write(gpu_file(run, "sriov_numvfs"), "0\n");
    run.write(gpu_file(run, "sriov_numvfs"), "4\n");
  });
  run.unbind(function);
  run.gone(device_path(function) + "/nvidia");
  run.gone(node);
  run.write(driver_path("nvidia") + "/bind", function + "\n", ENODEV);
  run.probe(function);
  run.driver(function, "");
  run.write(gpu_file(run, "sriov_numvfs"), "0\n");
  run.write(gpu_file(run, "sriov_numvfs"), "4\n");
  run.driver(function, "nvidia");
}

void busy_gpu_instance(Run& run) {
  const std::string gi = make_2g(run, 0);
  set_type(run, 0);
  run.write(gpu_file(run, "lab/destroy_gi"), gi + "\n", EBUSY);
  run.write(vf_file(run, 0, "current_vgpu_type"), "0\n");
  run.write(gpu_file(run, "lab/destroy_gi"), gi + "\n");
  creatable(run, 0, "");
}

void parameters(Run& run) {
  make_2g(run, 0);
  set_type(run, 0);
  const std::string file = vf_file(run, 0, "vgpu_params");
  run.text(file, "");
  run.write(file, "frame_rate_limiter=0\n");
  run.text(file, "frame_rate_limiter=0");
  run.write(file, "nonsense\n", EINVAL);
  // A new vGPU doesn't inherit them.
  run.write(vf_file(run, 0, "current_vgpu_type"), "0\n");
  run.text(file, "");
}

void access(Run& run) {
  run.write(vf_file(run, 0, "creatable_vgpu_types"), "700\n", EACCES);
  run.write(vf_file(run, 0, "gpu_instance_id"), "3\n", EACCES);
  run.gone(gpu_file(run, "nvidia"));
}

void time_sliced_without_mig(Run& run) {
  run.write(vf_file(run, 0, "current_vgpu_type"), "697\n", ENOSPC);
  without_mig(run);
  creatable(run, 0, "697   : GRID A100D-8C");
  set_type(run, 0, "697");
  run.unreadable(vf_file(run, 0, "gpu_instance_id"), ENXIO);
  run.text(vf_file(run, 0, "placement_id"), "0");
  creatable(run, 0, "");
  creatable(run, 1, "697   : GRID A100D-8C");
  run.write(gpu_file(run, "lab/mig_mode"), "1\n", EBUSY);
}

}  // namespace

std::vector<Case> vendor_cases() {
  return {
      {"vendor.without_capacity", without_capacity},
      {"vendor.capacity_appears", capacity_appears},
      {"vendor.no_such_type", no_such_type},
      {"vendor.set_and_cleared", set_and_cleared},
      {"vendor.without_newline", without_newline},
      {"vendor.not_set_twice", not_set_twice},
      {"vendor.capacity_of_siblings", capacity_of_siblings},
      {"vendor.vfio_device_from_the_start", vfio_device_from_the_start},
      {"vendor.no_device_without_a_type", no_device_without_a_type,
       "needs VFIO ioctls, which a simulated node can't answer"},
      {"vendor.busy_while_open", busy_while_open},
      {"vendor.gone_with_its_vf", gone_with_its_vf},
      {"vendor.vfs_off_waits_for_the_user", vfs_off_waits_for_the_user},
      {"vendor.unbound_is_spent", unbound_is_spent},
      {"vendor.busy_gpu_instance", busy_gpu_instance},
      {"vendor.parameters", parameters},
      {"vendor.access", access},
      {"vendor.time_sliced_without_mig", time_sliced_without_mig},
  };
}

}  // namespace slicebroker::conformance
