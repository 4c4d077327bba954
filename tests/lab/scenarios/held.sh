#!/bin/bash
# Somebody has a device open when it is to change hands. Where that can be seen, it is refused by name. Where it can't,
# `remove` and `unbind` wait in the kernel, in a state that no signal ends: the broker answers all the same, serves every
# other device meanwhile, and settles this one when the kernel has let go.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

socket=/run/vm1.sock
/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
read -r _ mig_2 < <(make_gpu_instance "$GPU_A" 3g.40gb)
make_gpu_instance "$GPU_B" 1g.10gb >/dev/null
enable_vfs "$PLAIN_SRIOV" 2
vf=$(vf_of "$PLAIN_SRIOV" 0) vf_2=$(vf_of "$PLAIN_SRIOV" 1)
start_ch_stand_in "$socket" /run/requests.log
# Who is left at the end would keep the machine from powering off.
trap "kill \$(jobs -p) 2>/dev/null" EXIT
start_guest web1
host_state >/run/before
deadline=8 # of one change; generous, as everything is emulated
export SLICEBROKER_DEADLINE=$deadline

group_of() { basename "$(readlink "$1/iommu_group")"; } # DEVICE-DIR

# hold HOW DEVICE-DIR: a process that has it open; its process is $holder.
hold() {
    rm -f /run/holder.log
    "$lab_dir/hold_vfio" "$1" "$(group_of "$2")" "$(basename "$2")" >/run/holder.log 2>&1 &
    holder=$!
    wait_for 20 grep -qx open /run/holder.log || { cat /run/holder.log >&2; unexpected "the holder does not come up"; }
}

let_go() {
    kill "$holder"
    wait "$holder" || true
}

# in_unit NAME: puts the holder where systemd would have put a service.
in_unit() {
    mkdir -p "/sys/fs/cgroup/system.slice/$1"
    echo "$holder" >"/sys/fs/cgroup/system.slice/$1/cgroup.procs"
}

kill_vmm_of_web1() {
    local vmm
    vmm=$(pgrep -f 'qemu-system.*guest=web1')
    kill -KILL "$vmm"
    wait_for 60 bash -c 'virsh domstate web1 | grep -q "shut off"'
}

# The last run left a lease, a process and a quarantine behind. Sets $stuck.
expect_left_behind() { # DEVICE
    expect_status 6
    expect WEDGED
    expect "host: changed"
    expect_true "it answered long before the kernel did" test $((SECONDS - began)) -lt 90
    run slicebroker list leases
    expect "was left waiting in the kernel"
    stuck=$(sed -n 's/.*process \([0-9]*\) was left waiting in the kernel.*/\1/p' <<<"$output")
    expect_true "process $stuck waits, and no signal ends it" grep -q '^State:.*D (disk sleep)' "/proc/$stuck/status"
    run slicebroker quarantine list
    expect "$1"
    expect WEDGED
}

# attach_somewhere SELECTOR: to a VM that can take it; sets $vm.
attach_somewhere() {
    vm=ch:$socket
    [[ $1 != MIG-* ]] || vm=libvirt:web2
    run slicebroker attach "$vm" "$1" --fallback none
}

# Who asks for something else is served, though a device of this host does not answer.
expect_others_served() { # SELECTOR...
    local selector
    for selector; do
        attach_somewhere "$selector"
        expect_status 0
        run slicebroker detach "$vm" "$selector"
        expect_status 0
    done
}

# The stuck one can't be settled, nor given back by its owner, and nobody gets it.
expect_out_of_reach() { # OWNER SELECTOR
    run slicebroker reconcile
    expect_status 8
    expect "process $stuck is still waiting in the kernel"
    run slicebroker detach "$1"
    expect_status 6
    expect "process $stuck is still waiting in the kernel"
    expect "host: untouched"
    attach_somewhere "$2"
    [[ $status == [456] ]] || unexpected "it is not refused: $status"
    expect "host: untouched"
}

expect_settled() {
    expect_true "the kernel has let go of it" wait_for 30 test ! -e "/proc/$stuck"
    run slicebroker reconcile
    expect_status 0
    expect_same_state /run/before
    run slicebroker quarantine list
    expect_true "no device is quarantined" test "$(wc -l <<<"$output")" == 1
    run slicebroker reconcile
    expect_status 0
    expect "agree"
}

start_guest web2

step "remove of a mediated device, while a process has it open: refused, with its pid, command and unit"
run slicebroker attach libvirt:web1 "$mig"
expect_status 0
mdev=$(slicebroker -o json list leases | jq -r '.leases[0].device')
kill_vmm_of_web1
hold seen "/sys/bus/mdev/devices/$mdev"
in_unit hold.service
run slicebroker detach libvirt:web1 --timeout 2
expect_status 4
expect HELD_BY_PROCESS
expect "pid $holder (hold_vfio, hold.service)"
expect_true "the device is there" test -e "/sys/bus/mdev/devices/$mdev"
let_go

step "the same with a process that can't be seen: the remove waits, and the broker does not"
hold unseen "/sys/bus/mdev/devices/$mdev"
began=$SECONDS
run slicebroker detach libvirt:web1
expect_left_behind "$mdev"

step "meanwhile others are served, another slice of the same GPU too"
expect_others_served "$mig_2" "vf=$vf"
# The mediated device itself is gone from /sys/bus/mdev/devices already, and its GPU instance is still taken.
expect_out_of_reach libvirt:web1 "$mig"

step "the holder ends, and with it the remove: reconcile settles the lease"
let_go
expect_settled

step "unbind of a GPU, while a process has it open: refused by name"
minor=$(sed -n 's/^Device Minor:[[:space:]]*//p' "/proc/driver/nvidia/gpus/$GPU_B/information")
# shellcheck disable=SC2217 # to have it open is all it is for
sleep 6000 <"/dev/nvidia$minor" &
holder=$!
in_unit dcgm.service
run slicebroker attach "ch:$socket" "gpu=$GPU_B"
expect_status 4
expect "pid $holder (sleep, dcgm.service)"
expect "host: untouched"
expect_same_state /run/before
let_go

step "the same with a process that can't be seen: the unbind waits, and the broker does not"
# What /proc names is not below /dev.
cp -a "/dev/nvidia$minor" /run/hidden
# shellcheck disable=SC2217
sleep 6000 </run/hidden &
holder=$!
began=$SECONDS
run slicebroker attach "ch:$socket" "gpu=$GPU_B"
expect_left_behind "$GPU_B"

step "meanwhile others are served, though who reads of this GPU may have to wait as well"
expect_others_served "$mig_2" "vf=$vf"
expect_out_of_reach "ch:$socket" "gpu=$GPU_B"
run slicebroker list gpus
expect_status 0

step "the holder ends, and with it the unbind: the GPU has its driver and its MIG layout back"
let_go
expect_settled

step "unbind from vfio-pci, with a process that can't be seen"
start_ch_stand_in /run/vm2.sock /run/requests2.log
vmm=$!
run slicebroker attach ch:/run/vm2.sock "vf=$vf"
expect_status 0
kill -KILL "$vmm"
wait "$vmm" 2>/dev/null || true
hold unseen "$pci/$vf"
began=$SECONDS
run slicebroker detach ch:/run/vm2.sock
expect_left_behind "$vf"

step "meanwhile others are served, its sibling too"
expect_others_served "vf=$vf_2" "gpu=$GPU_B"
expect_out_of_reach ch:/run/vm2.sock "vf=$vf"

step "the holder ends, and with it the unbind"
let_go
expect_settled

finish
