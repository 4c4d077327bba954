// SPDX-License-Identifier: Apache-2.0
// Virtual functions: sriov_numvfs and what comes and goes with it. On the device with SR-IOV that is no GPU, and on the
// GPU where its driver has a say.
#include <fcntl.h>

#include <cerrno>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

std::string plain(const Run& run, const std::string& name) {
  return device_path(run.roles.sriov_plain) + "/" + name;
}
std::string gpu(const Run& run, const std::string& name) {
  return device_path(run.roles.sriov_gpu) + "/" + name;
}

// Without a driver: nvme tries and gives up on these functions, on 6.1 some time after the write.
std::vector<std::string> idle_vfs(Run& run, int count) {
  const std::string file = plain(run, "sriov_drivers_autoprobe");
  run.later([&run, file] { run.write(file, "1\n"); });
  run.write(file, "0\n");
  return run.with_vfs(run.roles.sriov_plain, count);
}

void to_vfio_pci(Run& run, const std::string& vf) {
  run.override(vf, "vfio-pci");
  run.probe(vf);
  run.driver(vf, "vfio-pci");
}

void come_and_go(Run& run) {
  const auto vfs = idle_vfs(run, 2);
  run.text(plain(run, "sriov_numvfs"), "2");
  for (const std::string& vf : vfs) {
    run.equal("physfn of " + vf, run.roles.sriov_plain, run.host.link(device_path(vf) + "/physfn"));
    run.equal("members of its group", "1",
              std::to_string(run.host.list(device_path(vf) + "/iommu_group/devices").size()));
    run.gone(device_path(vf) + "/sriov_numvfs");
  }
  run.gone(plain(run, "virtfn2"));
  const std::string group = run.group_of(vfs[0]);
  run.write(plain(run, "sriov_numvfs"), "0\n");
  run.text(plain(run, "sriov_numvfs"), "0");
  for (const std::string& vf : vfs) run.gone(device_path(vf));
  run.gone(plain(run, "virtfn0"));
  run.gone("sys/kernel/iommu_groups/" + group);
}

void same_addresses_again(Run& run) {
  const auto first = idle_vfs(run, 2);
  run.write(plain(run, "sriov_numvfs"), "0\n");
  const auto second = run.with_vfs(run.roles.sriov_plain, 2);
  run.equal("address of the first", first[0], second[0]);
  run.equal("address of the second", first[1], second[1]);
}

void no_change_from_a_number(Run& run) {
  idle_vfs(run, 2);
  run.write(plain(run, "sriov_numvfs"), "1\n", EBUSY);
  run.write(plain(run, "sriov_numvfs"), "3\n", EBUSY);
  run.write(plain(run, "sriov_numvfs"), "2\n");
  run.text(plain(run, "sriov_numvfs"), "2");
}

void not_a_number_of_vfs(Run& run) {
  const std::string file = plain(run, "sriov_numvfs");
  const int total = std::stoi(run.host.line(plain(run, "sriov_totalvfs")));
  run.write(file, std::to_string(total + 1) + "\n", ERANGE);
  for (const char* text : {"two\n", "\n", "-1\n", "65536\n", "2 3\n", "2 \n", " 2\n"}) run.write(file, text, EINVAL);
  run.text(file, "0");
}

void numbers_that_are(Run& run) {
  const std::string file = plain(run, "sriov_numvfs");
  run.write(file, "0\n");
  idle_vfs(run, 1);
  run.write(file, "0");
  run.write(file, "0x2\n");
  run.text(file, "2");
}

void autoprobe_off(Run& run) {
  const std::string file = plain(run, "sriov_drivers_autoprobe");
  run.text(file, "1");
  run.later([&run, file] { run.write(file, "1\n"); });
  run.write(file, "0\n");
  run.text(file, "0");
  run.write(file, "maybe\n", EINVAL);
  run.text(file, "0");
  for (const std::string& vf : run.with_vfs(run.roles.sriov_plain, 2)) run.driver(vf, "");
}

void gpu_autoprobe_off(Run& run) {
  const std::string file = gpu(run, "sriov_drivers_autoprobe");
  run.with_vfs(run.roles.sriov_gpu, 0);
  run.later([&run, file] { run.write(file, "1\n"); });
  run.write(file, "0\n");
  run.later([&run] { run.write(gpu(run, "sriov_numvfs"), "0\n"); });
  run.write(gpu(run, "sriov_numvfs"), "2\n");
  for (const std::string& vf : virtual_functions(run.host, run.roles.sriov_gpu)) {
    run.driver(vf, "");
    run.gone(device_path(vf) + "/mdev_supported_types");
    run.gone(device_path(vf) + "/nvidia");
  }
}

void pf_on_vfio_pci(Run& run) {
  run.on_vfio_pci(run.roles.sriov_plain);
  run.write(plain(run, "sriov_numvfs"), "1\n", ENOENT);
  run.write(plain(run, "sriov_numvfs"), "99\n", ERANGE);
  run.write(plain(run, "sriov_numvfs"), "0\n");
}

void pf_without_driver(Run& run) {
  run.without_driver(run.roles.sriov_plain);
  run.write(plain(run, "sriov_numvfs"), "1\n", ENOENT);
  run.write(plain(run, "sriov_numvfs"), "0\n");
}

// drivers/nvme leaves them; so does every driver that doesn't take them away itself.
void vfs_outlive_their_driver(Run& run) {
  const auto vfs = idle_vfs(run, 2);
  run.without_driver(run.roles.sriov_plain);
  for (const std::string& vf : vfs) run.there(device_path(vf));
  run.text(plain(run, "sriov_numvfs"), "2");
  run.write(plain(run, "sriov_numvfs"), "0\n", ENOENT);
  run.there(device_path(vfs[0]));
}

void off_takes_vf_from_vfio(Run& run) {
  const auto vfs = idle_vfs(run, 2);
  to_vfio_pci(run, vfs[0]);
  const std::string node = run.group_node(vfs[0]);
  run.there(node);
  run.write(plain(run, "sriov_numvfs"), "0\n");
  run.gone(node);
  run.gone(driver_path("vfio-pci") + "/" + vfs[0]);
}

void override_is_gone_with_its_vf(Run& run) {
  const auto vfs = idle_vfs(run, 1);
  run.override(vfs[0], "vfio-pci");
  run.write(plain(run, "sriov_numvfs"), "0\n");
  run.write(plain(run, "sriov_numvfs"), "1\n");
  run.text(device_path(vfs[0]) + "/driver_override", "(null)");
}

void off_waits_for_a_user(Run& run) {
  const auto vfs = idle_vfs(run, 2);
  to_vfio_pci(run, vfs[0]);
  VfioUser user(run, run.group_node(vfs[0]), vfs[0]);
  auto off = Attempt::write(run.host, plain(run, "sriov_numvfs"), "0\n");
  off.hangs("sriov_numvfs=0 while a VF is in use");
  auto read = Attempt::read(run.host, plain(run, "sriov_numvfs"));
  read.hangs("read of sriov_numvfs while a write waits");
  run.there(device_path(vfs[0]));
  user.close();
  off.ends("sriov_numvfs=0 after the close", 0);
  read.ends("read of sriov_numvfs after the close", 0);
  run.gone(device_path(vfs[0]));
}

void gpu_vfs_come_with_the_driver(Run& run) {
  for (const std::string& vf : run.with_vfs(run.roles.sriov_gpu, 4)) {
    run.driver(vf, run.host.link(gpu(run, "driver")));
    run.equal("vendor of a VF", run.host.line(gpu(run, "vendor")), run.host.line(device_path(vf) + "/vendor"));
    run.equal("device of a VF", run.host.line(gpu(run, "device")), run.host.line(device_path(vf) + "/device"));
    run.equal("class of a VF", run.host.line(gpu(run, "class")), run.host.line(device_path(vf) + "/class"));
  }
}

void gpu_vfs_go_with_the_driver(Run& run) {
  const auto vfs = virtual_functions(run.host, run.roles.sriov_gpu);
  const std::string before = run.host.line(gpu(run, "sriov_numvfs"));
  run.later([&run, before] { run.write(gpu(run, "sriov_numvfs"), before + "\n"); });
  run.without_driver(run.roles.sriov_gpu);
  for (const std::string& vf : vfs) run.gone(device_path(vf));
  run.text(gpu(run, "sriov_numvfs"), "0");
  run.probe(run.roles.sriov_gpu);
  run.text(gpu(run, "sriov_numvfs"), "0");
}

void gpu_instances_outlive_the_vfs(Run& run) {
  run.later([&run] { run.write(gpu(run, "lab/destroy_gi"), "5\n"); });
  run.write(gpu(run, "lab/create_gi"), "14 4\n");
  const std::string before = run.host.line(gpu(run, "lab/gpu_instances"));
  run.write(gpu(run, "sriov_numvfs"), "0\n");
  run.text(gpu(run, "lab/gpu_instances"), before);
  run.write(gpu(run, "sriov_numvfs"), "4\n");
  run.text(gpu(run, "lab/gpu_instances"), before);
}

}  // namespace

std::vector<Case> sriov_cases() {
  return {
      {"sriov.come_and_go", come_and_go},
      {"sriov.same_addresses_again", same_addresses_again},
      {"sriov.no_change_from_a_number", no_change_from_a_number},
      {"sriov.not_a_number_of_vfs", not_a_number_of_vfs},
      {"sriov.numbers_that_are", numbers_that_are},
      {"sriov.autoprobe_off", autoprobe_off},
      {"sriov.gpu_autoprobe_off", gpu_autoprobe_off},
      {"sriov.pf_on_vfio_pci", pf_on_vfio_pci},
      {"sriov.pf_without_driver", pf_without_driver},
      {"sriov.vfs_outlive_their_driver", vfs_outlive_their_driver},
      {"sriov.off_takes_vf_from_vfio", off_takes_vf_from_vfio},
      {"sriov.override_is_gone_with_its_vf", override_is_gone_with_its_vf},
      {"sriov.off_waits_for_a_user", off_waits_for_a_user},
      {"sriov.gpu_vfs_come_with_the_driver", gpu_vfs_come_with_the_driver},
      {"sriov.gpu_vfs_go_with_the_driver", gpu_vfs_go_with_the_driver},
      {"sriov.gpu_instances_outlive_the_vfs", gpu_instances_outlive_the_vfs},
  };
}

}  // namespace slicebroker::conformance
