#!/bin/bash
# A whole GPU that shares its IOMMU group, to a libvirt guest: the group goes to vfio-pci, the guest gets the GPU alone,
# its companions are held as `unassigned`; then each function has its own driver back.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
start_guest web1
host_state >/run/before
companions=("$GPU_C_AUDIO" "$GPU_C_OTHER")

step "the group is refused as long as a function of it is on a host driver"
run slicebroker explain "gpu=$GPU_C" --for libvirt
expect_status 5
expect "GROUP_NOT_VIABLE"
expect "$GPU_C_AUDIO is on e1000e"

step "named, the companion is taken along: the guest lists the GPU and nothing else of the group"
run slicebroker attach libvirt:web1 "gpu=$GPU_C" --allow-group-member "$GPU_C_AUDIO"
expect_status 0
expect_true "the guest lists 10de:2684" wait_for 30 guest_has web1 10de:2684
expect_true "the guest does not list the companion" guest_has_not web1 8086:10d3
for function in "$GPU_C" "${companions[@]}"; do
    expect_true "$function is on vfio-pci" test "$(driver_of "$function")" == vfio-pci
done
run bash -c 'virsh dumpxml web1 | grep -A 8 "<hostdev"'
expect "<address type='unassigned'/>"

step "a companion can't be had by somebody else meanwhile"
run slicebroker explain "gpu=$GPU_C_OTHER" --for libvirt
expect_not "granted"
run slicebroker show "$GPU_C_AUDIO"
expect "libvirt:web1"

step "detach: each function has the driver back that it had, or none"
run slicebroker detach libvirt:web1 "$GPU_C"
expect_status 0
expect_true "the guest no longer lists it" wait_for 30 guest_has_not web1 10de:2684
expect_same_state /run/before

step "a GPU alone in its group, by its UUID; MIG mode is off for the guest and on again afterwards"
read -r _ mig < <(make_gpu_instance "$GPU_B" 3g.40gb)
host_state >/run/before
gpu_uuid=$(slicebroker -o json show "$GPU_B" | jq -r .function.uuid)
run slicebroker attach libvirt:web1 "gpu=$gpu_uuid"
expect_status 0
expect_true "the guest lists 10de:2331" wait_for 30 guest_has web1 10de:2331
run slicebroker detach libvirt:web1
expect_status 0
expect_same_state /run/before
run slicebroker show "$mig"
expect_status 0

finish
