#!/bin/bash
# The power goes, with the ledger on a disk that keeps what was synced to it: when a guest has its device, and in the
# middle of taking one and of giving it back. At the next boot the lease is there as it was said to be, and void; what
# it was about can be had again. Each boot of the machine runs this once: first what the cut before has left, then the
# next cut.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

export SLICEBROKER_STATE=/lab/disk/state
socket=/run/vm1.sock
promise=/lab/share/promise # what the ledger has to say at the next boot; this folder is no part of the machine

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig
# shellcheck source=/dev/null
source /run/lab.env
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
start_ch_stand_in "$socket" /run/requests.log
attach=(slicebroker -v attach "ch:$socket" "gpu=$GPU_A") detach=(slicebroker -v detach "ch:$socket")
host_state >/run/before

lease_state() { slicebroker -o json list leases | jq -r '.leases[0].state // "none"'; }

done_well() {
    run "$@"
    expect_status 0
}

# What the cut has left, by way of reconcile or of the next attach; either must do.
recover() { # reconcile|attach
    local found
    found=$(lease_state)
    step "boot $LAB_BOOT: the ledger promised '$(<"$promise")' and has '$found'; $1 settles it"
    grep -qw -- "$found" "$promise" || unexpected "a lease is $found"
    assert_same_state /run/before
    if [[ $1 == reconcile ]]; then
        done_well slicebroker reconcile
        [[ $found == none ]] || expect "the host was booted since"
        expect_true "no lease is left" test "$(lease_state)" == none
        expect_same_state /run/before
    fi
    done_well "${attach[@]}"
    done_well "${detach[@]}"
    expect_same_state /run/before
    done_well slicebroker reconcile
    expect "agree"
    run slicebroker quarantine list
    expect_true "no device is quarantined" test "$(wc -l <<<"$output")" == 1
    done_well slicebroker ledger check
    done_well slicebroker audit verify
}

# cut_when_said TEXT COMMAND...: runs COMMAND and cuts the power when it says TEXT, which is when that is committed.
cut_when_said() {
    local text=$1 line
    shift
    while read -r line; do
        [[ $line != *"$text"* ]] || cut_power inside
    done < <("$@" 2>&1)
    unexpected "$* did not say: $text"
}

# cut_at N SYSCALL COMMAND...: the power goes when the process of COMMAND is about to make its N-th SYSCALL.
cut_at() {
    local n=$1 syscall=$2
    shift 2
    strace -o /dev/null -e "trace=$syscall" -e "inject=$syscall:signal=SIGKILL:when=$n" "$@" >/dev/null 2>&1 || cut_power inside
    unexpected "$* makes no $syscall $n"
}

request_by_hook() {
    define="<domain type='kvm'><name>ours</name><metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device selector='$mig'/></slicebroker:request></metadata><devices/></domain>"
    slicebroker xml --domain <(echo "$define") --for libvirt@9.0 >/run/agreed.xml
    slicebroker hook libvirt ours prepare begin - </run/agreed.xml
}

promised() { printf '%s\n' "$*" >"$promise"; }

if ((LAB_BOOT > 1)); then
    if ((LAB_BOOT % 2)); then recover attach; else recover reconcile; fi
fi

case $LAB_BOOT in
    1)
        step "the power goes when a guest has the whole GPU"
        done_well "${attach[@]}"
        promised attached
        cut_power outside
        ;;
    2)
        step "the power goes between the hook's prepare and the guest's start"
        request_by_hook
        promised prepared
        cut_power inside
        ;;
    3)
        step "the power goes while the first step is being done"
        promised preparing
        cut_when_said ": started" "${attach[@]}"
        ;;
    4)
        step "the power goes when a bind is done"
        promised preparing
        cut_when_said "vfio-pci: done" "${attach[@]}"
        ;;
    5)
        step "the power goes before the intent is synced"
        promised none or preparing
        cut_at 2 fdatasync "${attach[@]}"
        ;;
    6)
        step "the power goes when a step is committed and not yet synced"
        promised preparing
        cut_at 5 fdatasync "${attach[@]}"
        ;;
    7)
        step "the power goes when the first step of giving back is undone"
        done_well "${attach[@]}"
        promised releasing
        cut_when_said ": undone" "${detach[@]}"
        ;;
    8)
        step "the power goes before the last sync of detach"
        done_well "${attach[@]}"
        promised releasing or none
        syncs=$(grep -c 'fdatasync(' <(strace -e trace=fdatasync "${detach[@]}" 2>&1))
        done_well "${attach[@]}"
        cut_at "$syncs" fdatasync "${detach[@]}"
        ;;
    *)
        finish_step
        printf '\ncuts: %s, each settled at the next boot\n' "$((LAB_BOOT - 1))"
        ((LAB_BOOT == 9))
        ;;
esac
