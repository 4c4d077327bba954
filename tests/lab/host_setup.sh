#!/bin/bash
# Inside the lab's machine: loads VFIO and the lab's module, finds the devices of the topology (see machine.sh),
# gives each the driver it would have on a host in use, and leaves their names in /run/lab.env.
#
# host_setup.sh [--framework mdev|vfio] [--vfs N] [--mig] [--udev] [--libvirt] [--module-option NAME=VALUE]
#   --vfs N     enable N virtual functions of GPU A (default 4)
#   --mig       MIG mode on, on GPU A and GPU B, before the VFs (it can't be turned on later without a reset)
#   --udev      start systemd-udevd, for what listens to its events
#   --libvirt   nested KVM and libvirtd
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

framework=mdev vfs=4 mig='' udev='' libvirt=''
options=()
while (($#)); do
    case $1 in
        --framework) framework=$2; shift ;;
        --vfs) vfs=$2; shift ;;
        --module-option) options+=("$2"); shift ;;
        --mig) mig=1 ;;
        --udev) udev=1 ;;
        --libvirt) libvirt=1 ;;
        *) fail "host_setup.sh: unknown option $1" ;;
    esac
    shift
done

# behind PORT FUNCTION: the address of a function on the bus below a root port. Bus numbers differ with the kernel.
behind() {
    local found=("$pci/0000:00:$1.0"/0000:*:00."$2")
    [[ -e ${found[0]} ]] || fail "no device behind root port $1"
    basename "${found[0]}"
}

gpu_a=$(behind 14 0) gpu_b=$(behind 11 0) gpu_c=$(behind 13 0)
# The bridge's secondary bus has the device at slot 1.
bridged=("$pci/0000:00:12.0"/0000:*/0000:*:01.0)
cat >/run/lab.env <<ENV
GPU_A=$gpu_a
GPU_B=$gpu_b
GPU_C=$gpu_c
GPU_C_AUDIO=$(behind 13 1)
GPU_C_OTHER=$(behind 13 2)
PLAIN_NIC=$(behind 10 0)
PLAIN_BRIDGED=${bridged[0]##*/}
PLAIN_SRIOV=$(behind 15 0)
export SLICEBROKER_NVML=/lab/artifacts/libnvidia-ml.so.1
ENV

if [[ $udev ]]; then /lib/systemd/systemd-udevd --daemon; fi
modprobe -a vfio vfio_iommu_type1 vfio-pci mdev
# Before e1000e and nvme, so that those never see the functions that pose as GPUs.
insmod /lab/artifacts/nvidia.ko lab=1 framework="$framework" gpus="$gpu_a=a100,$gpu_b=h100,$gpu_c=rtx4090" "${options[@]}"
modprobe -a e1000e nvme
mkdir -p /usr/lib/nvidia
ln -sf "$lab_dir/sriov-manage" /usr/lib/nvidia/sriov-manage

if [[ $mig ]]; then
    mig_mode "$gpu_a" 1
    mig_mode "$gpu_b" 1
fi
if ((vfs)); then enable_vfs "$gpu_a" "$vfs"; fi
if [[ $libvirt ]]; then
    modprobe kvm_amd nested=1
    start_libvirt
fi
