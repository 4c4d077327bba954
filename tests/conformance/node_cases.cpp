// SPDX-License-Identifier: Apache-2.0
// /dev/nvidiaN and /proc/driver/nvidia: who has a GPU open, and what that keeps from happening.
#include <fcntl.h>

#include <cerrno>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

// Of the GPU alone in its group.
std::string proc_file(const Run& run, const std::string& name) {
  return "proc/driver/nvidia/gpus/" + run.roles.mig_gpu + "/" + name;
}

std::string node(const Run& run) {
  const std::string line = run.host.line(device_path(run.roles.mig_gpu) + "/lab/gpu");
  return "dev/nvidia" + line.substr(0, line.find(' '));
}

// An unbind takes MIG mode away on this board.
void keep_mig_mode(Run& run) {
  run.later([&run] { run.write(device_path(run.roles.mig_gpu) + "/lab/mig_mode", "1\n"); });
}

void information(Run& run) {
  const std::string text = run.host.read(proc_file(run, "information")).text;
  const std::string gpu = run.host.line(device_path(run.roles.mig_gpu) + "/lab/gpu");
  const std::string uuid = gpu.substr(gpu.find(' ') + 1, 40), minor = gpu.substr(0, gpu.find(' '));
  const std::vector<std::string> lines = {"Model: \t\t NVIDIA H100 PCIe\n", "GPU UUID: \t " + uuid + "\n",
                                          "Bus Location: \t " + run.roles.mig_gpu + "\n",
                                          "Device Minor: \t " + minor + "\n"};
  for (const std::string& line : lines) {
    if (text.find(line) == std::string::npos) throw Mismatch("information: wanted " + line + ", saw " + text);
  }
}

void opened_by_many(Run& run) {
  const File first = run.host.open(node(run), O_RDWR), second = run.host.open(node(run), O_RDONLY);
  run.gives("open", 0, first.error());
  run.gives("second open", 0, second.error());
}

void comes_and_goes_with_the_driver(Run& run) {
  const std::string path = node(run);
  keep_mig_mode(run);
  run.without_driver(run.roles.mig_gpu);
  run.gone(path);
  run.gone(proc_file(run, "information"));
  run.gives("open", ENOENT, run.host.open(path, O_RDONLY).error());
  run.probe(run.roles.mig_gpu);
  run.there(path);
  run.there(proc_file(run, "information"));
}

void unbind_waits_for_the_user(Run& run) {
  const std::string path = node(run), driver = device_path(run.roles.mig_gpu) + "/driver";
  keep_mig_mode(run);
  run.later([&run] { run.probe(run.roles.mig_gpu); });
  File user = run.host.open(path, O_RDONLY);
  run.gives("open", 0, user.error());
  auto unbind = Attempt::write(run.host, driver + "/unbind", run.roles.mig_gpu + "\n");
  unbind.hangs("unbind of a GPU in use");
  run.gone(driver);
  run.there(path);
  run.gives("open while the unbind waits", ENODEV, run.host.open(path, O_RDONLY).error());
  user.close();
  unbind.ends("unbind after the close", 0);
  run.gone(path);
}

void unbind_lock(Run& run) {
  const std::string lock = proc_file(run, "unbindLock");
  run.text(lock, "0");
  run.later([&run, lock] { run.write(lock, "0\n"); });
  run.write(lock, "1\n");
  run.text(lock, "1");
  run.gives("open while locked", EBUSY, run.host.open(node(run), O_RDONLY).error());
  run.write(lock, "maybe\n", EINVAL);
  run.text(lock, "1");
  run.write(lock, "0\n");
  run.text(lock, "0");
  run.gives("open afterwards", 0, run.host.open(node(run), O_RDONLY).error());
}

// The write succeeds all the same: who wants the lock has to read it back.
void unbind_lock_of_a_gpu_in_use(Run& run) {
  const std::string lock = proc_file(run, "unbindLock");
  run.later([&run, lock] { run.write(lock, "0\n"); });
  const File user = run.host.open(node(run), O_RDONLY);
  run.write(lock, "1\n");
  run.text(lock, "0");
}

void whole_gpu_to_vfio_pci(Run& run) {
  const std::string path = node(run);
  keep_mig_mode(run);
  run.on_vfio_pci(run.roles.mig_gpu);
  run.gone(path);
  run.there(run.group_node(run.roles.mig_gpu));
  run.gone(device_path(run.roles.mig_gpu) + "/lab");
  run.text(device_path(run.roles.mig_gpu) + "/vendor", "0x10de");
}

void gpu_with_vfs_to_vfio_pci(Run& run) {
  run.with_vfs(run.roles.sriov_gpu, 0);
  run.on_vfio_pci(run.roles.sriov_gpu);
  run.write(device_path(run.roles.sriov_gpu) + "/sriov_numvfs", "4\n", ENOENT);
}

}  // namespace

std::vector<Case> node_cases() {
  return {
      {"node.information", information},
      {"node.opened_by_many", opened_by_many},
      {"node.comes_and_goes_with_the_driver", comes_and_goes_with_the_driver},
      {"node.unbind_waits_for_the_user", unbind_waits_for_the_user},
      {"node.unbind_lock", unbind_lock},
      {"node.unbind_lock_of_a_gpu_in_use", unbind_lock_of_a_gpu_in_use},
      {"node.whole_gpu_to_vfio_pci", whole_gpu_to_vfio_pci},
      {"node.gpu_with_vfs_to_vfio_pci", gpu_with_vfs_to_vfio_pci},
  };
}

}  // namespace slicebroker::conformance
