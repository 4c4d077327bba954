// SPDX-License-Identifier: Apache-2.0
// What the model does, in the language of model_host.h. Where a kernel's errno is not obvious the case says whose it
// is.
#include <gtest/gtest.h>

#include "tests/simhost/kernel_tests/model_host.h"

namespace slicebroker::simhost {
namespace {

struct Case {
  const char* name;
  const char* host;
  const char* lines;
};

class Model : public testing::TestWithParam<Case> {};

TEST_P(Model, DoesAsLinuxDoes) {
  ModelHost host(GetParam().host);
  EXPECT_EQ(host.run(GetParam().lines), "");
}

std::string name_of(const testing::TestParamInfo<Case>& test) {
  return test.param.name;
}

// --- binding, IOMMU groups, VFIO: GPU B of the lab is 02:00.0, its GeForce 05:00.0 with two companions ---------------

const Case kBinding[] = {
    {"UnknownAddress", "lab", R"(
      write sys/bus/pci/drivers_probe 0000:99:00.0 = ENODEV
      write sys/bus/pci/drivers/nvidia/bind 0000:99:00.0 = ENODEV
      write sys/bus/pci/drivers/nvidia/unbind 0000:99:00.0 = ENODEV)"},
    {"BindWhatIsBound", "lab", R"(
      write sys/bus/pci/drivers/nvidia/bind 0000:02:00.0 = EBUSY
      write sys/bus/pci/drivers/vfio-pci/bind 0000:02:00.0 = ENODEV
      write sys/bus/pci/drivers_probe 0000:02:00.0 = 0
      write sys/bus/pci/drivers/vfio-pci/unbind 0000:02:00.0 = ENODEV)"},
    {"OverrideAndProbe", "lab", R"(
      write pci/0000:02:00.0/driver_override vfio-pci\n = 0
      read pci/0000:02:00.0/driver_override = vfio-pci
      write pci/0000:02:00.0/driver/unbind 0000:02:00.0\n = 0
      absent dev/nvidia0
      absent pci/0000:02:00.0/lab
      write sys/bus/pci/drivers_probe 0000:02:00.0 = 0
      link pci/0000:02:00.0/driver = vfio-pci
      exists pci/0000:02:00.0/vfio-dev/vfio0
      exists dev/vfio/7
      exists sys/class/vfio/7
      write pci/0000:02:00.0/driver_override \n = 0
      read pci/0000:02:00.0/driver_override = (null)
      write pci/0000:02:00.0/driver/unbind 0000:02:00.0 = 0
      absent dev/vfio/7
      absent pci/0000:02:00.0/vfio-dev
      write sys/bus/pci/drivers/nvidia/bind 0000:02:00.0 = 0
      exists dev/nvidia0)"},
    {"OverrideToWhatIsNotThere", "lab", R"(
      write pci/0000:02:00.0/driver_override missing = 0
      write pci/0000:02:00.0/driver/unbind 0000:02:00.0 = 0
      write sys/bus/pci/drivers_probe 0000:02:00.0 = 0
      link pci/0000:02:00.0/driver = absent
      write pci/0000:02:00.0/driver_override (null) = 0
      write sys/bus/pci/drivers_probe 0000:02:00.0 = 0
      link pci/0000:02:00.0/driver = absent)"},
    {"NewIdTakesWhatHasNoDriver", "lab", R"(
      write sys/bus/pci/drivers/vfio-pci/new_id 1b36 = EINVAL
      write sys/bus/pci/drivers/nvidia/new_id 10de\s2331 = EINVAL
      write sys/bus/pci/drivers/vfio-pci/new_id 1b36 0005 = 0
      link pci/0000:05:00.2/driver = vfio-pci
      write sys/bus/pci/drivers/vfio-pci/new_id 1b36 0005 = 0
      write sys/bus/pci/drivers/vfio-pci/remove_id 1b36 0006 = ENODEV)"},
    {"WithoutIommu", "iommu-off", R"(
      absent pci/0000:41:00.0/iommu_group
      write pci/0000:41:00.0/driver_override vfio-pci = 0
      write pci/0000:41:00.0/driver/unbind 0000:41:00.0 = 0
      write sys/bus/pci/drivers_probe 0000:41:00.0 = 0
      link pci/0000:41:00.0/driver = absent
      write sys/bus/pci/drivers/vfio-pci/bind 0000:41:00.0 = EINVAL)"},
    {"GroupIsOpenedOnce", "lab", R"(
      command bind 0000:02:00.0 vfio-pci = ok
      open /dev/vfio/7 = 0
      open /dev/vfio/7 = EBUSY
      close /dev/vfio/7
      open /dev/vfio/7 = 0)"},
    {"UnbindWaitsForVfio", "lab", R"(
      command bind 0000:02:00.0 vfio-pci = ok
      open /dev/vfio/7 = 0
      wait pci/0000:02:00.0/driver/unbind 0000:02:00.0 /dev/vfio/7
      absent pci/0000:02:00.0/vfio-dev)"},
    {"CompanionOfAGroupInUse", "geforce-workstation", R"(
      close /dev/nvidia0
      command bind 0000:01:00.0 vfio-pci = ok
      command bind 0000:01:00.1 none = ok
      command bind 0000:01:00.2 none = ok
      command bind 0000:01:00.3 none = ok
      open /dev/vfio/2 = 0
      write sys/bus/pci/drivers/snd_hda_intel/bind 0000:01:00.1 = EBUSY
      write sys/bus/pci/drivers_probe 0000:01:00.1 = EINVAL
      close /dev/vfio/2
      write sys/bus/pci/drivers_probe 0000:01:00.1 = 0
      link pci/0000:01:00.1/driver = snd_hda_intel)"},
    {"GroupThatIsNotViableCanBeOpened", "geforce-workstation", R"(
      close /dev/nvidia0
      command bind 0000:01:00.0 vfio-pci = ok
      open /dev/vfio/2 = 0
      command bind 0000:01:00.1 none = ok
      write sys/bus/pci/drivers/snd_hda_intel/bind 0000:01:00.1 = 0)"},
    {"NvidiaUnbindWaitsForItsNode", "lab", R"(
      open /dev/nvidia0 = 0
      wait pci/0000:02:00.0/driver/unbind 0000:02:00.0 /dev/nvidia0
      link pci/0000:02:00.0/driver = absent
      open /dev/nvidia0 = ENOENT)"},
    {"UnbindLock", "lab", R"(
      write proc/driver/nvidia/gpus/0000:02:00.0/unbindLock 1 = 0
      read proc/driver/nvidia/gpus/0000:02:00.0/unbindLock = 1
      open /dev/nvidia0 = EBUSY
      write proc/driver/nvidia/gpus/0000:02:00.0/unbindLock 0 = 0
      open /dev/nvidia0 = 0
      write proc/driver/nvidia/gpus/0000:02:00.0/unbindLock 1 = 0
      read proc/driver/nvidia/gpus/0000:02:00.0/unbindLock = 0)"},
    {"VariantDriver", "gh200", R"(
      command bind 0009:01:00.0 nvgrace-gpu-vfio-pci = ok
      link pci/0009:01:00.0/driver = nvgrace-gpu-vfio-pci
      link sys/bus/pci/drivers/nvgrace-gpu-vfio-pci/module = nvgrace_gpu_vfio_pci
      exists dev/vfio/devices/vfio0)"},
    {"Reset", "lab", R"(
      write pci/0000:02:00.0/reset 0 = EINVAL
      write pci/0000:02:00.0/reset 1 = 0
      write pci/0000:02:00.0/reset_method pm = EINVAL
      write pci/0000:02:00.0/reset_method "" = 0
      write pci/0000:02:00.0/reset 1 = ENOTTY
      write pci/0000:02:00.0/reset_method default = 0
      read pci/0000:02:00.0/reset_method = flr
      absent pci/0000:04:01.0/reset)"},
    {"ResetOfABus", "lab", R"(
      read pci/0000:05:00.0/reset_method = pm bus
      read pci/0000:05:00.1/reset_method = pm
      write pci/0000:05:00.0/reset_method bus = EINVAL
      write pci/0000:05:00.0/reset_method default = 0
      read pci/0000:05:00.0/reset_method = pm
      read pci/0000:01:00.0/reset_method = pm bus
      write pci/0000:01:00.0/reset_method bus = 0
      write pci/0000:01:00.0/reset 1 = 0
      absent pci/0000:00:04.0/reset_subordinate)"},
    {"Uevent", "lab", R"(
      read pci/0000:02:00.0/uevent = DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:2331\nPCI_SUBSYS_ID=1AF4:0001\nPCI_SLOT_NAME=0000:02:00.0\nMODALIAS=pci:v000010DEd00002331sv00001AF4sd00000001bc03sc02i00
      read pci/0000:02:00.0/modalias = pci:v000010DEd00002331sv00001AF4sd00000001bc03sc02i00)"},
};
INSTANTIATE_TEST_SUITE_P(Binding, Model, testing::ValuesIn(kBinding), name_of);

// --- SR-IOV and mediated devices: GPU A of the lab is 06:00.0 with VFs .1 to .4
// ---------------------------------------

const Case kSriov[] = {
    {"Numvfs", "lab", R"(
      write pci/0000:06:00.0/sriov_numvfs foo = EINVAL
      write pci/0000:06:00.0/sriov_numvfs 99 = ERANGE
      write pci/0000:06:00.0/sriov_numvfs 3 = EBUSY
      write pci/0000:06:00.0/sriov_numvfs 4 = 0
      write pci/0000:06:00.0/sriov_numvfs 0 = 0
      absent pci/0000:06:00.1
      absent pci/0000:06:00.0/virtfn0
      write pci/0000:06:00.0/sriov_numvfs 2 = 0
      link pci/0000:06:00.0/virtfn1 = 0000:06:00.2
      link pci/0000:06:00.2/physfn = 0000:06:00.0
      link pci/0000:06:00.2/driver = nvidia)"},
    {"PfWithoutSriovConfigure", "lab", R"(
      write pci/0000:06:00.0/sriov_numvfs 0 = 0
      command bind 0000:06:00.0 vfio-pci = ok
      write pci/0000:06:00.0/sriov_numvfs 1 = ENOENT
      command bind 0000:06:00.0 none = ok
      write pci/0000:06:00.0/sriov_numvfs 1 = ENOENT)"},
    {"PfWithVfsOnVfioPci", "lab", R"(
      write pci/0000:06:00.0/driver_override vfio-pci = 0
      command bind 0000:06:00.0 vfio-pci = ok
      link pci/0000:06:00.0/driver = vfio-pci)"},
    {"AutoprobeOff", "intel-flex-vfs", R"(
      link pci/0000:4d:00.1/driver = absent
      write pci/0000:4d:00.1/driver_override vfio-pci = 0
      write sys/bus/pci/drivers_probe 0000:4d:00.1 = 0
      link pci/0000:4d:00.1/driver = vfio-pci
      write pci/0000:4d:00.0/sriov_numvfs 0 = 0
      absent pci/0000:4d:00.1
      write pci/0000:4d:00.0/sriov_drivers_autoprobe maybe = EINVAL)"},
    {"VfsGoWhenNobodyHasThemOpen", "amd-mi300x-vfs", R"(
      wait pci/0000:05:00.0/sriov_numvfs 0 /dev/vfio/3
      absent pci/0000:05:02.0
      read pci/0000:05:00.0/sriov_numvfs = 0)"},
    {"NumvfsByTool", "h200-vendor-vf", R"(
      write pci/0000:3b:00.0/sriov_numvfs 0 = EPERM
      write proc/driver/nvidia/gpus/0000:3b:00.0/unbindLock 1 = 0
      write pci/0000:3b:00.0/sriov_numvfs 0 = 0
      write sys/bus/pci/drivers/nvidia/unbind 0000:3b:00.0 = 0
      write sys/bus/pci/drivers/nvidia/bind 0000:3b:00.0 = 0
      write pci/0000:3b:00.0/sriov_numvfs 20 = 0)"},
    {"NoVfsWithoutVgpuDriver", "mig-bare-metal", R"(
      write pci/0000:65:00.0/sriov_numvfs 1 = EOPNOTSUPP)"},
    {"VfRefusesVfioPci", "h100-vendor-vf", R"(
      write pci/0000:61:00.5/driver_override vfio-pci = 0
      write pci/0000:61:00.5/driver/unbind 0000:61:00.5 = 0
      write sys/bus/pci/drivers/vfio-pci/bind 0000:61:00.5 = EINVAL
      write pci/0000:61:00.5/driver_override \n = 0
      write sys/bus/pci/drivers/nvidia/bind 0000:61:00.5 = ENODEV)"},
};
INSTANTIATE_TEST_SUITE_P(Sriov, Model, testing::ValuesIn(kSriov), name_of);

const Case kMdev[] = {
    {"Create", "lab", R"(
      write pci/0000:06:00.0/lab/create_gi 19 = 0
      read pci/0000:06:00.1/mdev_supported_types/nvidia-699/available_instances = 1
      read pci/0000:06:00.1/mdev_supported_types/nvidia-697/available_instances = 0
      write pci/0000:06:00.1/mdev_supported_types/nvidia-699/create foo = EINVAL
      write pci/0000:06:00.1/mdev_supported_types/nvidia-699/create "" = EINVAL
      write pci/0000:06:00.1/mdev_supported_types/nvidia-699/create 6F1C0000-0000-4000-8000-000000000001\n = 0
      link sys/bus/mdev/devices/6f1c0000-0000-4000-8000-000000000001/mdev_type = nvidia-699
      link sys/bus/mdev/devices/6f1c0000-0000-4000-8000-000000000001/driver = nvidia-vgpu-vfio
      exists sys/bus/mdev/devices/6f1c0000-0000-4000-8000-000000000001/vfio-dev/vfio0
      read sys/bus/mdev/devices/6f1c0000-0000-4000-8000-000000000001/nvidia/gpu_instance_id = 13
      read sys/bus/mdev/devices/6f1c0000-0000-4000-8000-000000000001/iommu_group/name = vfio-noiommu
      write pci/0000:06:00.2/mdev_supported_types/nvidia-699/create 6f1c0000-0000-4000-8000-000000000001 = EEXIST
      write pci/0000:06:00.2/mdev_supported_types/nvidia-699/create 6f1c0000-0000-4000-8000-000000000002 = ENOSPC
      write pci/0000:06:00.0/lab/create_gi 19 = 0
      write pci/0000:06:00.1/mdev_supported_types/nvidia-699/create 6f1c0000-0000-4000-8000-000000000002 = ENOSPC
      write pci/0000:06:00.2/mdev_supported_types/nvidia-699/create 6f1c0000-0000-4000-8000-000000000002 = 0)"},
    {"Remove", "t4-mdev", R"(
      write sys/bus/mdev/devices/33333333-3333-4333-8333-333333333331/remove foo = EINVAL
      write sys/bus/mdev/devices/33333333-3333-4333-8333-333333333331/remove 0 = 0
      exists sys/bus/mdev/devices/33333333-3333-4333-8333-333333333331
      write sys/bus/mdev/devices/33333333-3333-4333-8333-333333333331/remove 1 = 0
      absent sys/bus/mdev/devices/33333333-3333-4333-8333-333333333331
      absent dev/vfio/2)"},
    {"RemoveWaitsForItsUser", "t4-mdev", R"(
      wait sys/bus/mdev/devices/33333333-3333-4333-8333-333333333332/remove 1 /dev/vfio/3
      absent sys/bus/mdev/devices/33333333-3333-4333-8333-333333333332)"},
    {"SeveralOnAPfOfOneSize", "t4-mdev", R"(
      read pci/0000:3b:00.0/mdev_supported_types/nvidia-231/available_instances = 6
      read pci/0000:3b:00.0/mdev_supported_types/nvidia-230/available_instances = 0
      read pci/0000:d8:00.0/mdev_supported_types/nvidia-230/available_instances = 16
      write pci/0000:3b:00.0/mdev_supported_types/nvidia-230/create 6f1c0000-0000-4000-8000-000000000001 = ENOSPC)"},
    {"GvtgSharesOneAperture", "intel-gvt-g", R"(
      read pci/0000:00:02.0/mdev_supported_types/i915-GVTg_V5_1/available_instances = 0
      read pci/0000:00:02.0/mdev_supported_types/i915-GVTg_V5_2/available_instances = 1
      read pci/0000:00:02.0/mdev_supported_types/i915-GVTg_V5_8/available_instances = 6
      read pci/0000:00:02.0/mdev_supported_types/i915-GVTg_V5_4/description = low_gm_size: 128MB\nhigh_gm_size: 512MB...)"},
    {"GoesWithItsVf", "a100-mdev", R"(
      wait pci/0000:41:00.0/sriov_numvfs 0 /dev/vfio/19
      absent sys/bus/mdev/devices/11111111-1111-4111-8111-111111111111
      absent sys/class/mdev_bus/0000:41:00.4)"},
};
INSTANTIATE_TEST_SUITE_P(Mdev, Model, testing::ValuesIn(kMdev), name_of);

// --- NVIDIA -----------------------------------------------------------------------------------------------------

const Case kNvidia[] = {
    {"VendorVf", "lab-vfio", R"(
      write pci/0000:06:00.0/lab/create_gi 14 = 0
      read pci/0000:06:00.1/nvidia/creatable_vgpu_types = ID    : vGPU Name\n700   : GRID A100D-2-20C
      read pci/0000:06:00.1/nvidia/gpu_instance_id = errno ENXIO
      read pci/0000:06:00.1/nvidia/placement_id = errno ENXIO
      write pci/0000:06:00.1/nvidia/current_vgpu_type x = EINVAL
      write pci/0000:06:00.1/nvidia/current_vgpu_type 558 = EINVAL
      write pci/0000:06:00.1/nvidia/current_vgpu_type 701 = ENOSPC
      write pci/0000:06:00.1/nvidia/current_vgpu_type 700 = 0
      read pci/0000:06:00.1/nvidia/current_vgpu_type = 700
      read pci/0000:06:00.1/nvidia/gpu_instance_id = 5
      read pci/0000:06:00.2/nvidia/creatable_vgpu_types = ID    : vGPU Name
      open /dev/vfio/13 = 0
      write pci/0000:06:00.1/nvidia/current_vgpu_type 0 = EBUSY
      close /dev/vfio/13
      write pci/0000:06:00.1/nvidia/current_vgpu_type 0 = 0
      read pci/0000:06:00.1/nvidia/current_vgpu_type = 0)"},
    {"SpentVf", "lab-vfio", R"(
      write pci/0000:06:00.1/driver/unbind 0000:06:00.1 = 0
      write sys/bus/pci/drivers/nvidia/bind 0000:06:00.1 = ENODEV
      write pci/0000:06:00.0/sriov_numvfs 0 = 0
      write pci/0000:06:00.0/sriov_numvfs 4 = 0
      link pci/0000:06:00.1/driver = nvidia)"},
    {"TypesInColumns", "h200-vendor-vf", R"(
      read pci/0000:19:00.6/nvidia/creatable_vgpu_types = NVIDIA H200X-8C         1212)"},
    {"Params", "lab-vfio", R"(
      write pci/0000:06:00.1/nvidia/vgpu_params nonsense = EINVAL
      write pci/0000:06:00.1/nvidia/vgpu_params frame_rate_limiter=0\n = 0
      read pci/0000:06:00.1/nvidia/vgpu_params = frame_rate_limiter=0
      write pci/0000:06:00.1/nvidia/vgpu_params \n = 0
      read pci/0000:06:00.1/nvidia/vgpu_params = )"},
    {"GpuInstances", "lab", R"(
      write pci/0000:02:00.0/lab/create_gi x = EINVAL
      write pci/0000:02:00.0/lab/create_gi 99 = EINVAL
      write pci/0000:02:00.0/lab/create_gi 14 1 = EINVAL
      write pci/0000:02:00.0/lab/create_gi 9 0 = 0
      write pci/0000:02:00.0/lab/create_gi 14 0 = ENOSPC
      write pci/0000:02:00.0/lab/create_gi 14 = 0
      write pci/0000:02:00.0/lab/create_gi 19 = 0
      read pci/0000:02:00.0/lab/gpu_instances = 1 9 0 4 -\n5 14 4 2 -\n13 19 6 1 -
      write pci/0000:02:00.0/lab/create_gi 0 = ENOSPC
      write pci/0000:02:00.0/lab/create_ci 1 4 = EINVAL
      write pci/0000:02:00.0/lab/create_ci 9 1 = ENOENT
      write pci/0000:02:00.0/lab/create_ci 1 2 = 0
      write pci/0000:02:00.0/lab/create_ci 1 2 = ENOSPC
      write pci/0000:02:00.0/lab/create_ci 1 1 = 0
      write pci/0000:02:00.0/lab/destroy_gi 1 = EBUSY
      write pci/0000:02:00.0/lab/mig_mode 0 = EBUSY
      write pci/0000:02:00.0/lab/destroy_ci 1 0 = 0
      write pci/0000:02:00.0/lab/destroy_ci 1 1 = 0
      write pci/0000:02:00.0/lab/destroy_ci 1 1 = ENOENT
      write pci/0000:02:00.0/lab/destroy_gi 1 = 0
      write pci/0000:02:00.0/lab/destroy_gi 1 = ENOENT)"},
    {"MigModeAndWhoRemembersIt", "lab", R"(
      write pci/0000:06:00.0/lab/mig_mode 0 = EBUSY
      write pci/0000:05:00.0/lab/mig_mode 1 = EOPNOTSUPP
      write pci/0000:06:00.0/lab/create_gi 19 = 0
      write sys/bus/pci/drivers/nvidia/unbind 0000:06:00.0 = 0
      absent pci/0000:06:00.1
      write sys/bus/pci/drivers/nvidia/bind 0000:06:00.0 = 0
      read pci/0000:06:00.0/lab/mig_mode = 1
      read pci/0000:06:00.0/lab/gpu_instances = 
      write sys/bus/pci/drivers/nvidia/unbind 0000:02:00.0 = 0
      write sys/bus/pci/drivers/nvidia/bind 0000:02:00.0 = 0
      read pci/0000:02:00.0/lab/mig_mode = 0
      write pci/0000:02:00.0/lab/create_gi 19 = EOPNOTSUPP)"},
    {"VgpuTakesTheLowestGpuInstance", "h100-vendor-vf", R"(
      read pci/0000:61:00.4/nvidia/gpu_instance_id = 7
      write pci/0000:61:00.5/nvidia/current_vgpu_type 826 = 0
      read pci/0000:61:00.5/nvidia/gpu_instance_id = 8
      command destroy-gi 0000:61:00.0 8 = Device or resource busy
      write pci/0000:61:00.0/lab/mig_mode 0 = EBUSY)"},
    {"SeveralVgpusOnOneGpuInstance", "rtx-pro-6000", R"(
      read pci/0000:c8:00.5/nvidia/gpu_instance_id = 5
      read pci/0000:c8:00.5/nvidia/placement_id = 1
      read pci/0000:c8:00.0/lab/gpu_instances = 1 35 0 2 -\n5 47 2 1 0000:c8:00.4,0000:c8:00.5\n6 47 3 1 -
      write pci/0000:c8:00.6/nvidia/current_vgpu_type 1561 = 0
      read pci/0000:c8:00.6/nvidia/gpu_instance_id = 6
      write pci/0000:c8:00.7/nvidia/current_vgpu_type 1561 = ENOSPC
      write pci/0000:c8:00.7/nvidia/current_vgpu_type 1558 = 0
      write pci/0000:c8:01.0/nvidia/current_vgpu_type 1558 = 0
      write pci/0000:c8:01.1/nvidia/current_vgpu_type 1558 = ENOSPC)"},
    {"OneSizeUnlessHeterogeneous", "l40s", R"(
      write pci/0000:27:00.6/nvidia/current_vgpu_type 1150 = ENOSPC
      write pci/0000:27:00.6/nvidia/current_vgpu_type 1153 = 0
      write pci/0000:27:00.0/lab/vgpu_heterogeneous 1 = EBUSY
      write pci/0000:a3:00.6/nvidia/current_vgpu_type 1156 = ENOSPC
      write pci/0000:a3:00.6/nvidia/current_vgpu_type 1154 = 0
      write pci/0000:a3:00.7/nvidia/current_vgpu_type 1154 = ENOSPC)"},
    {"LostGpu", "mig-bare-metal", R"(
      command gpu 0000:65:00.0 lost = ok
      read pci/0000:65:00.0/lab/gpu = errno ENODEV
      open /dev/nvidia1 = EIO
      command gpu 0000:65:00.0 returns = ok
      read pci/0000:65:00.0/lab/mig_mode = 1
      command gpu 0000:99:00.0 lost = there is no PCI function
      command gpu 0000:65:00.0 melts = 'lost' or 'returns' is expected)"},
    {"FilesOfTheAdministrator", "t4-mdev", R"(
      command file etc/driverctl.d/pci-0000:3b:00.0 vfio-pci = ok
      read etc/driverctl.d/pci-0000:3b:00.0 = vfio-pci
      command file etc/driverctl.d/pci-0000:3b:00.0   nvidia  a = ok
      read etc/driverctl.d/pci-0000:3b:00.0 = vfio-pci\nnvidia  a
      command no-file etc/driverctl.d/pci-0000:3b:00.0 = ok
      absent etc/driverctl.d/pci-0000:3b:00.0
      command no-file etc/driverctl.d/pci-0000:3b:00.0 = there is no file
      command file sys/made up = is not below etc/ or run/
      command file etc/../sys/made up = is not below etc/ or run/)"},
    {"DriverUnload", "hgx-8xh100", R"(
      command driver nvidia unload = somebody uses it
      command driver nvidia-nvswitch unload = ok
      exists sys/module/nvidia
      command driver nvidia-nvswitch load = ok
      link pci/0000:07:00.0/driver = nvidia-nvswitch)"},
};
INSTANTIATE_TEST_SUITE_P(Nvidia, Model, testing::ValuesIn(kNvidia), name_of);

// A slice has the same UUID whenever it is made anew, and no other slice has it.
TEST(Mig, UuidsFollowFromThePlace) {
  ModelHost host("lab");
  const auto uuids = [&] {
    EXPECT_EQ(host.run("write pci/0000:02:00.0/lab/create_gi 9 0\nwrite pci/0000:02:00.0/lab/create_gi 9 4\n"
                       "write pci/0000:02:00.0/lab/create_ci 1 3\nwrite pci/0000:02:00.0/lab/create_ci 2 3\n"),
              "");
    return *host.tree().find("sys/devices/pci0000:00/0000:00:11.0/0000:02:00.0/lab/compute_instances")->file.show();
  };
  const auto first = uuids();
  const auto line = first.find('\n');
  EXPECT_NE(first.substr(line - 36, 36), first.substr(first.size() - 37, 36));
  EXPECT_EQ(host.run("command destroy-gi 0000:02:00.0 1 = ok\ncommand destroy-gi 0000:02:00.0 2 = ok\n"), "");
  EXPECT_EQ(uuids(), first);
}

// An Ampere card keeps its mode over a reboot, a Hopper card does not.
TEST(Mig, ModeOutlivesARebootOnAmpere) {
  Tree tree, next;
  const std::string description = "nvidia 1\n0000:01:00.0 a100-40\n0000:02:00.0 h100-80\n";
  const auto kernel = ModelHost::boot_text(description, tree);
  ASSERT_TRUE(kernel);
  ASSERT_TRUE((*kernel)->command("mig 0000:01:00.0 on") && (*kernel)->command("mig 0000:02:00.0 on"));
  const auto rebooted = ModelHost::boot_text((*kernel)->after_reboot(description), next);
  ASSERT_TRUE(rebooted);
  EXPECT_EQ(*next.find("sys/devices/pci0000:01/0000:01:00.0/lab/mig_mode")->file.show(), "1\n");
  EXPECT_EQ(*next.find("sys/devices/pci0000:02/0000:02:00.0/lab/mig_mode")->file.show(), "0\n");
}

}  // namespace
}  // namespace slicebroker::simhost
