#!/bin/bash
# What can't be done is refused with its reason and its exit status, and the host is left untouched.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
read -r gi_a mig_a < <(make_gpu_instance "$GPU_A" 2g.20gb)
read -r _ mig_b < <(make_gpu_instance "$GPU_B" 1g.10gb)
start_guest web1
host_state >/run/before

refused() { # STATUS TEXT... of the output of the last run
    expect_status "$1"
    shift
    local text
    for text in "$@" "host: untouched"; do expect "$text"; done
    expect_same_state /run/before
}

step "a function of the IOMMU group is on a host driver"
run slicebroker attach libvirt:web1 "gpu=$GPU_C"
refused 5 GROUP_NOT_VIABLE "$GPU_C_AUDIO" e1000e --allow-group-member

step "a process has the GPU open: it is named with its pid"
sleep 600 <"/dev/nvidia$(sed -n 's/^Device Minor:[[:space:]]*//p' "/proc/driver/nvidia/gpus/$GPU_B/information")" &
holder=$!
run slicebroker attach libvirt:web1 "gpu=$GPU_B"
refused 4 HELD_BY_PROCESS "pid $holder (sleep)"
kill "$holder"; wait "$holder" || true

step "a process has the VFIO node of a mediated device open"
uuid=$(cat /proc/sys/kernel/random/uuid)
put "$uuid" "$pci/$(vf_of "$GPU_A" 0)/mdev_supported_types/nvidia-700/create"
host_state >/run/before
group=$(basename "$(readlink "/sys/bus/mdev/devices/$uuid/iommu_group")")
sleep 600 <>"/dev/vfio/$group" &
holder=$!
run slicebroker attach libvirt:web1 "mdev=$uuid"
refused 4 HELD_BY_PROCESS "pid $holder (sleep)"
kill "$holder"; wait "$holder" || true

step "the only GPU instance of the profile is taken: by what is named"
run slicebroker attach libvirt:web1 profile=2g.20gb
refused 4 GPU_INSTANCES_TAKEN "$uuid"

step "the slice is used by a vGPU that slicebroker did not make"
run slicebroker attach libvirt:web1 "$mig_a"
refused 4 SLICE_IN_USE "$uuid"
put 1 "/sys/bus/mdev/devices/$uuid/remove"
host_state >/run/before

step "a profile without a GPU instance"
run slicebroker attach libvirt:web1 profile=7g.80gb
refused 5 NO_GPU_INSTANCE "nvidia-smi mig -i $GPU_A -cgi 7g.80gb -C"

step "an unknown type is an error, never something else; the known ones are named"
run slicebroker attach libvirt:web1 type=nvidia-9999
refused 3 "GRID A100D-2-20C"

step "an unknown MIG UUID"
run slicebroker attach libvirt:web1 MIG-00000000-0000-0000-0000-000000000000
refused 3 "$mig_a"

step "a MIG slice that no virtual function can carry, without fallback"
run slicebroker attach libvirt:web1 "$mig_b" --fallback none
refused 5 VGPU_DRIVER_ABSENT

step "an address that is no GPU, and one that is nothing"
run slicebroker attach libvirt:web1 "gpu=$PLAIN_NIC"
refused 5 NOT_A_GPU
run slicebroker attach libvirt:web1 gpu=0000:ff:1f.7
refused 3 "no such PCI function"

step "a VM that does not exist, and one that does not run"
run slicebroker attach libvirt:nobody "$mig_a"
refused 3
define_guest asleep >/dev/null
run slicebroker attach libvirt:asleep "$mig_a"
refused 5 VM_NOT_RUNNING

step "a typo is refused before anything is looked at"
run slicebroker attach libvirt:web1 MIG-6f1c
expect_status 2
run slicebroker attach libvirt:web1 gpus="$GPU_A"
expect_status 2
run slicebroker -o json attach libvirt:web1 prfile=1g.10gb
expect_status 2
expect '"reason": "BAD_SELECTOR"'
expect_same_state /run/before

step "the driver gives another GPU instance than the one asked for: undone and refused"
read -r gi_2 mig_2 < <(make_gpu_instance "$GPU_A" 2g.20gb)
host_state >/run/before
# The lab's driver takes the instance of the lowest number.
((gi_2 > gi_a)) || mig_2=$mig_a
run slicebroker attach libvirt:web1 "$mig_2"
expect_status 5
expect GPU_INSTANCE_MISMATCH
expect "host: restored"
expect_same_state /run/before

finish
