// SPDX-License-Identifier: Apache-2.0
// Mediated devices: vGPUs on virtual functions that stay on NVIDIA's driver.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "tests/conformance/gpu.h"

namespace slicebroker::conformance {
namespace {

const std::string kDevices = "sys/bus/mdev/devices/";

// NAME of a type of a VF: 700 is the type of profile 14, 699 that of profile 19.
std::string type_file(const Run& run, int index, const std::string& type, const std::string& name) {
  return device_path(vf(run, index)) + "/mdev_supported_types/nvidia-" + type + "/" + name;
}

void create(Run& run, int index, const std::string& uuid = kUuid, const std::string& type = "700") {
  run.later([&run, uuid] {
    if (run.host.exists(kDevices + uuid)) run.write(kDevices + uuid + "/remove", "1\n");
  });
  run.write(type_file(run, index, type, "create"), uuid + "\n");
}

void available(const Run& run, int index, const std::string& type, const std::string& wanted) {
  run.text(type_file(run, index, type, "available_instances"), wanted);
}

void types(Run& run) {
  run.text(type_file(run, 0, "700", "name"), "GRID A100D-2-20C");
  run.text(type_file(run, 0, "700", "device_api"), "vfio-pci");
  run.text(type_file(run, 0, "700", "description"),
           "num_heads=1, frl_config=60, framebuffer=19968M, max_resolution=4096x2160, max_instance=3");
  run.equal("its devices", "0", std::to_string(run.host.list(type_file(run, 0, "700", "devices")).size()));
  run.unreadable(type_file(run, 0, "700", "create"), EACCES);
  run.write(type_file(run, 0, "700", "available_instances"), "1\n", EACCES);
  run.there("sys/class/mdev_bus/" + vf(run, 0));
  run.gone("sys/class/mdev_bus/" + run.roles.sriov_gpu);
}

void create_without_capacity(Run& run) {
  available(run, 0, "700", "0");
  run.write(type_file(run, 0, "700", "create"), kUuid + "\n", ENOSPC);
  run.gone(kDevices + kUuid);
  make_2g(run, 0);
  available(run, 0, "700", "1");
  available(run, 0, "699", "0");
  run.write(type_file(run, 0, "699", "create"), kUuid + "\n", ENOSPC);
}

void create_of_no_uuid(Run& run) {
  make_2g(run, 0);
  const std::string file = type_file(run, 0, "700", "create");
  std::string wrong = kUuid;
  wrong[3] = 'g';
  for (const std::string& text : {std::string("\n"), std::string("abc\n"), wrong + "\n", kUuid.substr(1) + "\n",
                                  kUuid + "12\n", "{" + kUuid + "}\n", " " + kUuid}) {
    run.write(file, text, EINVAL);
  }
  available(run, 0, "700", "1");
}

void create_takes_a_37th_character(Run& run) {
  make_2g(run, 0);
  run.later([&run] { run.write(kDevices + kUuid + "/remove", "1\n"); });
  run.write(type_file(run, 0, "700", "create"), kUuid + "x");
  run.there(kDevices + kUuid);
}

void create_without_newline(Run& run) {
  make_2g(run, 0);
  run.later([&run] { run.write(kDevices + kUuid + "/remove", "1"); });
  run.write(type_file(run, 0, "700", "create"), kUuid);
  run.there(kDevices + kUuid);
}

void create_in_upper_case(Run& run) {
  make_2g(run, 0);
  std::string upper = kUuid;
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  run.later([&run] { run.write(kDevices + kUuid + "/remove", "1\n"); });
  run.write(type_file(run, 0, "700", "create"), upper + "\n");
  run.there(kDevices + kUuid);
  run.gone(kDevices + upper);
}

void create_of_existing(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  create(run, 0);
  run.write(type_file(run, 1, "700", "create"), kUuid + "\n", EEXIST);
  // Before capacity is looked at.
  run.write(type_file(run, 0, "700", "create"), kUuid + "\n", EEXIST);
}

void one_for_a_vf(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  create(run, 0);
  available(run, 0, "700", "0");
  run.write(type_file(run, 0, "700", "create"), kOtherUuid + "\n", ENOSPC);
  run.gone(kDevices + kOtherUuid);
}

void capacity_of_siblings(Run& run) {
  const std::string first = make_2g(run, 0), second = make_2g(run, 2);
  create(run, 0);
  available(run, 1, "700", "1");
  create(run, 1, kOtherUuid);
  available(run, 2, "700", "0");
  run.equal("user of the first GPU instance", vf(run, 0), user_of_gi(run, first));
  run.equal("user of the second", vf(run, 1), user_of_gi(run, second));
  run.write(kDevices + kUuid + "/remove", "1\n");
  available(run, 2, "700", "1");
  available(run, 0, "700", "1");
  available(run, 1, "700", "0");
  run.equal("user of the first after the remove", "-", user_of_gi(run, first));
}

void links_of_a_device(Run& run) {
  const std::string gi = make_2g(run, 0);
  create(run, 0);
  const std::string device = kDevices + kUuid;
  run.equal("mdev_type", "nvidia-700", run.host.link(device + "/mdev_type"));
  run.equal("driver", "nvidia-vgpu-vfio", run.host.link(device + "/driver"));
  run.equal("subsystem", "mdev", run.host.link(device + "/subsystem"));
  run.there(device_path(vf(run, 0)) + "/" + kUuid);
  run.there(type_file(run, 0, "700", "devices/") + kUuid);
  run.there("sys/bus/mdev/drivers/nvidia-vgpu-vfio/" + kUuid);
  const std::string group = run.host.link(device + "/iommu_group");
  run.there("sys/kernel/iommu_groups/" + group + "/devices/" + kUuid);
  run.there("dev/vfio/" + group);
  run.equal("VFIO devices", "1", std::to_string(run.host.list(device + "/vfio-dev").size()));
  run.text(device + "/nvidia/gpu_instance_id", gi);
  run.text(device + "/nvidia/placement_id", "0");
  run.write(device + "/remove", "1\n");
  run.gone(device);
  run.gone(device_path(vf(run, 0)) + "/" + kUuid);
  run.gone("dev/vfio/" + group);
  run.gone("sys/kernel/iommu_groups/" + group);
  run.gone(type_file(run, 0, "700", "devices/") + kUuid);
}

void parameters(Run& run) {
  make_2g(run, 0);
  create(run, 0);
  const std::string file = kDevices + kUuid + "/nvidia/vgpu_params";
  run.text(file, "");
  run.write(file, "frame_rate_limiter=0\n");
  run.text(file, "frame_rate_limiter=0");
  run.write(file, "nonsense\n", EINVAL);
  run.text(file, "frame_rate_limiter=0");
  run.write(file, " \n");
  run.text(file, "");
  run.write(kDevices + kUuid + "/nvidia/gpu_instance_id", "1\n", EACCES);
}

void remove_takes_a_number(Run& run) {
  make_2g(run, 0);
  create(run, 0);
  const std::string remove = kDevices + kUuid + "/remove";
  run.unreadable(remove, EACCES);
  for (const char* text : {"foo\n", "\n", "1 1\n", "-1\n"}) run.write(remove, text, EINVAL);
  run.write(remove, "0\n");
  run.there(kDevices + kUuid);
  run.write(remove, "7\n");
  run.gone(kDevices + kUuid);
  run.write(remove, "1\n", ENOENT);
}

void opened_once(Run& run) {
  make_2g(run, 0);
  create(run, 0);
  const std::string node = "dev/vfio/" + run.host.link(kDevices + kUuid + "/iommu_group");
  const File first = run.host.open(node, O_RDWR);
  run.gives("open", 0, first.error());
  run.gives("second open", EBUSY, run.host.open(node, O_RDWR).error());
}

void remove_waits_for_the_user(Run& run) {
  const std::string gi = make_2g(run, 0);
  create(run, 0);
  const std::string device = kDevices + kUuid, node = "dev/vfio/" + run.host.link(device + "/iommu_group");
  VfioUser user(run, node, kUuid);
  auto remove = Attempt::write(run.host, device + "/remove", "1\n");
  remove.hangs("remove of a device in use");
  // Gone from where everybody looks, and yet it has its GPU instance and its group.
  run.gone(device);
  run.there(device_path(vf(run, 0)) + "/" + kUuid);
  run.gone(device_path(vf(run, 0)) + "/" + kUuid + "/remove");
  run.gone(device_path(vf(run, 0)) + "/" + kUuid + "/mdev_type");
  run.gone(device_path(vf(run, 0)) + "/" + kUuid + "/driver");
  run.gone(device_path(vf(run, 0)) + "/" + kUuid + "/nvidia");
  run.there(device_path(vf(run, 0)) + "/" + kUuid + "/iommu_group");
  run.gone(type_file(run, 0, "700", "devices/") + kUuid);
  run.there(node);
  available(run, 0, "700", "0");
  run.equal("user of the GPU instance", vf(run, 0), user_of_gi(run, gi));
  user.close();
  remove.ends("remove after the close", 0);
  run.gone(device_path(vf(run, 0)) + "/" + kUuid);
  run.gone(node);
  available(run, 0, "700", "1");
}

void create_while_a_remove_waits(Run& run) {
  make_2g(run, 0);
  make_2g(run, 2);
  create(run, 0);
  const std::string device = kDevices + kUuid, node = "dev/vfio/" + run.host.link(device + "/iommu_group");
  VfioUser user(run, node, kUuid);
  auto remove = Attempt::write(run.host, device + "/remove", "1\n");
  remove.hangs("remove of a device in use");
  run.write(type_file(run, 1, "700", "create"), kUuid + "\n", EEXIST);
  run.write(type_file(run, 0, "700", "create"), kOtherUuid + "\n", ENOSPC);
  create(run, 1, kOtherUuid);
  user.close();
  remove.ends("remove after the close", 0);
}

void gone_with_its_vf(Run& run) {
  const std::string gi = make_2g(run, 0);
  create(run, 0);
  run.with_vfs(run.roles.sriov_gpu, 4);
  run.write(gpu_file(run, "sriov_numvfs"), "0\n");
  run.gone(kDevices + kUuid);
  run.equal("user of the GPU instance", "-", user_of_gi(run, gi));
}

void vfs_off_waits_for_the_user(Run& run) {
  make_2g(run, 0);
  create(run, 0);
  run.with_vfs(run.roles.sriov_gpu, 4);
  VfioUser user(run, "dev/vfio/" + run.host.link(kDevices + kUuid + "/iommu_group"), kUuid);
  auto off = Attempt::write(run.host, gpu_file(run, "sriov_numvfs"), "0\n");
  off.hangs("sriov_numvfs=0 while an mdev is in use");
  user.close();
  off.ends("sriov_numvfs=0 after the close", 0);
  run.gone(kDevices + kUuid);
}

void gone_with_the_driver_of_its_vf(Run& run) {
  make_2g(run, 0);
  create(run, 0);
  const std::string function = vf(run, 0);
  run.without_driver(function);
  run.gone(kDevices + kUuid);
  run.gone(device_path(function) + "/mdev_supported_types");
  run.gone("sys/class/mdev_bus/" + function);
  run.probe(function);
  available(run, 0, "700", "1");
}

void busy_gpu_instance(Run& run) {
  const std::string gi = make_2g(run, 0);
  create(run, 0);
  run.write(gpu_file(run, "lab/destroy_gi"), gi + "\n", EBUSY);
  run.write(kDevices + kUuid + "/remove", "1\n");
  run.write(gpu_file(run, "lab/destroy_gi"), gi + "\n");
  available(run, 0, "700", "0");
}

void lowest_gpu_instance_first(Run& run) {
  make_2g(run, 4);
  const std::string low = make_2g(run, 0);
  create(run, 3);
  run.text(kDevices + kUuid + "/nvidia/gpu_instance_id", low);
}

void time_sliced_without_mig(Run& run) {
  available(run, 0, "697", "0");
  run.write(type_file(run, 0, "697", "create"), kUuid + "\n", ENOSPC);
  without_mig(run);
  available(run, 0, "697", "1");
  available(run, 0, "700", "0");
  create(run, 0, kUuid, "697");
  run.unreadable(kDevices + kUuid + "/nvidia/gpu_instance_id", ENXIO);
  available(run, 0, "697", "0");
  available(run, 1, "697", "1");
  run.write(gpu_file(run, "lab/mig_mode"), "1\n", EBUSY);
}

}  // namespace

std::vector<Case> mdev_cases() {
  return {
      {"mdev.types", types},
      {"mdev.create_without_capacity", create_without_capacity},
      {"mdev.create_of_no_uuid", create_of_no_uuid},
      {"mdev.create_takes_a_37th_character", create_takes_a_37th_character},
      {"mdev.create_without_newline", create_without_newline},
      {"mdev.create_in_upper_case", create_in_upper_case},
      {"mdev.create_of_existing", create_of_existing},
      {"mdev.one_for_a_vf", one_for_a_vf},
      {"mdev.capacity_of_siblings", capacity_of_siblings},
      {"mdev.links_of_a_device", links_of_a_device},
      {"mdev.parameters", parameters},
      {"mdev.remove_takes_a_number", remove_takes_a_number},
      {"mdev.opened_once", opened_once},
      {"mdev.remove_waits_for_the_user", remove_waits_for_the_user},
      {"mdev.create_while_a_remove_waits", create_while_a_remove_waits},
      {"mdev.gone_with_its_vf", gone_with_its_vf},
      {"mdev.vfs_off_waits_for_the_user", vfs_off_waits_for_the_user},
      {"mdev.gone_with_the_driver_of_its_vf", gone_with_the_driver_of_its_vf},
      {"mdev.busy_gpu_instance", busy_gpu_instance},
      {"mdev.lowest_gpu_instance_first", lowest_gpu_instance_first},
      {"mdev.time_sliced_without_mig", time_sliced_without_mig},
  };
}

}  // namespace slicebroker::conformance
