#!/bin/bash
# kill -9 of the broker at each of its ledger commits and at each write that it hands to a child: reconcile brings the
# host back as it was, or finishes what the guest already has. And the VMM's own end: the lease ends with it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
start_guest web1
socket=/run/vm1.sock
start_ch_stand_in "$socket" /run/requests.log
host_state >/run/before

lease_state() { slicebroker -o json list leases | jq -r '.leases[0].state // "none"'; }

# killed N SYSCALL COMMAND...: runs COMMAND and kills it with SIGKILL at its N-th SYSCALL; fails when there is no N-th.
killed() {
    local n=$1 syscall=$2 status=0
    shift 2
    (strace -f -o /dev/null -e "trace=$syscall" -e "inject=$syscall:signal=SIGKILL:when=$n" "$@") >/run/killed.log 2>&1 ||
        status=$?
    # strace ends as the command did.
    ((status == 137)) || ((status == 0)) || { cat /run/killed.log >&2; unexpected "$* ends with $status"; }
    ((status == 137))
}

# settle WHAT: after a kill, reconcile must leave nothing half done, and a second one must find nothing.
settle() {
    local before after
    before=$(lease_state)
    slicebroker reconcile >/run/reconcile.log 2>&1 || true
    after=$(lease_state)
    [[ $after == none || $after == attached ]] || { cat /run/reconcile.log >&2; unexpected "$1: the lease is $after"; }
    [[ $after == attached ]] || assert_same_state /run/before
    slicebroker reconcile >/run/reconcile.log 2>&1 || { cat /run/reconcile.log >&2; unexpected "$1: a second reconcile finds drift"; }
    printf '   killed at %-22s lease %s, after reconcile %s\n' "$1:" "$before" "$after"
    cuts=$((cuts + 1))
}

# sweep STRIDE VM SELECTOR: cuts attach at every STRIDE-th commit and at every child, then detach.
sweep() {
    local stride=$1 vm=$2 selector=$3 syscall n
    cuts=0
    for syscall in fdatasync clone; do
        for ((n = 1; ; n += stride)); do
            killed "$n" "$syscall" slicebroker attach "$vm" "$selector" || break
            settle "attach, $syscall $n"
            [[ $(lease_state) == none ]] || slicebroker detach "$vm" >/dev/null 2>&1
        done
        for ((n = 1; ; n += stride)); do
            [[ $(lease_state) == attached ]] || slicebroker attach "$vm" "$selector" >/dev/null 2>&1
            killed "$n" "$syscall" slicebroker detach "$vm" || break
            settle "detach, $syscall $n"
        done
        assert_same_state /run/before
    done
    expect_true "$cuts cuts, and nothing was left half done" test "$cuts" -ge 8
}

step "kill -9 between the lease and the attach, and everywhere else: a mediated device for a libvirt guest"
sweep 1 libvirt:web1 "$mig"

step "the same for the whole GPU, with its VFs and its MIG layout, for Cloud Hypervisor"
sweep 3 "ch:$socket" "gpu=$GPU_A"

step "the guest is destroyed while it has the device: the lease ends with it"
run slicebroker attach libvirt:web1 "$mig"
expect_status 0
run virsh destroy web1
run slicebroker reconcile --dry-run
expect_status 8
expect "its guest no longer has the device"
run slicebroker reconcile
expect_status 0
expect_same_state /run/before

finish
