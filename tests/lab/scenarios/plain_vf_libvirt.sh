#!/bin/bash
# A virtual function of a device that is no GPU, enabled by a plain write as any SR-IOV device's are: to a libvirt guest,
# its sibling to Cloud Hypervisor, and back; what must not be had is refused.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
socket=/run/vm1.sock
start_ch_stand_in "$socket" /run/requests.log
vmm=$!
start_guest web1
host_state >/run/without_vfs
enable_vfs "$PLAIN_SRIOV" 2
vf=$(vf_of "$PLAIN_SRIOV" 0) sibling=$(vf_of "$PLAIN_SRIOV" 1)
host_state >/run/before

step "explain: the virtual function can be had, by way of vfio-pci"
run slicebroker explain "vf=$vf" --for libvirt
expect_status 0
expect "bind $vf to vfio-pci"
expect_not "$sibling"
expect_same_state /run/before

step "attach: the guest lists it; its PF and its sibling stay as they are"
run slicebroker attach libvirt:web1 "vf=$vf"
expect_status 0
expect_true "the guest lists 1b36:0010" wait_for 30 guest_has web1 1b36:0010
expect_true "$vf is on vfio-pci" test "$(driver_of "$vf")" == vfio-pci
expect_true "$PLAIN_SRIOV is on nvme" test "$(driver_of "$PLAIN_SRIOV")" == nvme
expect_true "$sibling has no driver" test "$(driver_of "$sibling")" == -
run bash -c 'virsh dumpxml web1 | grep -A 6 "<hostdev"'
expect "managed='no'"
IFS=':.' read -r _ bus slot function <<<"$vf"
expect "bus='0x$bus' slot='0x$slot' function='0x$function'"
run slicebroker list leases
expect "$vf"
expect "attached"

step "somebody else can't have it meanwhile; the answer names who has it"
run slicebroker attach "ch:$socket" "vf=$vf"
expect_status 4
expect "libvirt:web1"
expect "host: untouched"
run slicebroker explain "vf=$vf"
expect_status 4

step "a PF is no virtual function, and a device that is no GPU is none; nothing at an address is not found"
run slicebroker attach libvirt:web1 "vf=$PLAIN_SRIOV"
expect_status 5
expect NOT_A_VF
expect "host: untouched"
run slicebroker attach libvirt:web1 "gpu=$PLAIN_SRIOV"
expect_status 5
expect NOT_A_GPU
run slicebroker attach libvirt:web1 vf=0000:ff:1f.7
expect_status 3

step "the sibling goes to Cloud Hypervisor"
run slicebroker args "vf=$sibling" --for ch
expect_status 0
expect "path=/sys/bus/pci/devices/$sibling/"
run slicebroker attach "ch:$socket" "vf=$sibling"
expect_status 0
run cat /run/requests.log
expect "PUT vm.add-device {\"path\":\"/sys/bus/pci/devices/$sibling/\",\"id\":\"slicebroker-2\"}"
expect_true "$sibling is on vfio-pci" test "$(driver_of "$sibling")" == vfio-pci

step "detach, one after the other: the host is as it was, virtual functions included"
run slicebroker detach libvirt:web1
expect_status 0
expect_true "the guest no longer lists it" wait_for 30 guest_has_not web1 1b36:0010
expect_true "$sibling is still on vfio-pci" test "$(driver_of "$sibling")" == vfio-pci
run slicebroker detach "ch:$socket"
expect_status 0
expect_same_state /run/before
run slicebroker reconcile
expect_status 0
expect "agree"

step "the virtual functions go: nothing of the leases keeps them"
enable_vfs "$PLAIN_SRIOV" 0
expect_same_state /run/without_vfs
kill "$vmm"

finish
