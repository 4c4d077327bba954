#!/bin/bash
# kill -9 of the broker wherever something has just become so: at each commit of its ledger, before and after each child
# that looks at or changes the host, and while that works. Then reconcile brings the host back as it was, or keeps what
# the guest already has; a second one finds nothing and changes nothing.
# crash.sh DIRECTORY-OF-THE-PROGRAM mdev|hook|vendor-vf|gpu|group|vf [EVERY]: at every commit, and at each EVERY-th of the
# others (1: at all of them).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

subject=$2
every=${3:-1}
socket=/run/vm1.sock
words=(/dev/null /dev/null) # what the two commands get on their stdin
framework=mdev
[[ $subject != vendor-vf ]] || framework=vfio

/lab/repo/tests/lab/host_setup.sh --framework "$framework" --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
if [[ $subject == gpu || $subject == vf ]]; then
    start_ch_stand_in "$socket" /run/requests.log
    owner=ch:$socket
else
    owner=libvirt:web1
fi

# What takes a lease and what gives it back, and what must be there for it: sets $take and $give.
prepare_subject() {
    local mig
    give=(slicebroker detach "$owner")
    case $subject in
        mdev | vendor-vf)
            read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
            take=(slicebroker attach "$owner" "$mig" --fallback none)
            ;;
        hook) # the guest never starts: a prepared lease, and its release
            read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
            define_guest web1 "" >/dev/null
            virsh dumpxml web1 --inactive | sed "s#<memory #<metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device selector='$mig'/></slicebroker:request></metadata>&#" >/run/request.xml
            slicebroker xml --domain /run/request.xml --for libvirt >/run/agreed.xml
            words=(/run/agreed.xml /run/agreed.xml)
            take=(slicebroker hook libvirt web1 prepare begin -)
            give=(slicebroker hook libvirt web1 release end -)
            ;;
        gpu) # with its VFs and its MIG layout
            make_gpu_instance "$GPU_A" 2g.20gb >/dev/null
            take=(slicebroker attach "$owner" "gpu=$GPU_A")
            ;;
        group) take=(slicebroker attach "$owner" "gpu=$GPU_C" --allow-group-member "$GPU_C_AUDIO") ;;
        vf)
            enable_vfs "$PLAIN_SRIOV" 2
            take=(slicebroker attach "$owner" "vf=$(vf_of "$PLAIN_SRIOV" 0)")
            ;;
        *) fail "crash.sh: unknown subject $subject" ;;
    esac
    [[ $owner != libvirt:* || $subject == hook ]] || start_guest web1
}
prepare_subject
host_state >/run/before

lease_state() { slicebroker -o json list leases | jq -r '.leases[0].state // "none"'; }

# killed N SYSCALL STDIN COMMAND...: runs COMMAND and kills it with SIGKILL at the N-th SYSCALL of its own process, not
# of its children; fails when there is no N-th.
killed() {
    local n=$1 syscall=$2 input=$3 status
    shift 3
    # strace ends as the command did, and a shell of its own keeps bash's word about that out of the output.
    status=$(
        strace -o /dev/null -e "trace=$syscall" -e "inject=$syscall:signal=SIGKILL:when=$n" "$@" \
            <"$input" >/run/killed.log 2>&1
        echo $?
    ) 2>/dev/null
    ((status == 137)) || ((status == 0)) || { cat /run/killed.log >&2; unexpected "$* ends with $status"; }
    ((status == 137))
}

# settle WHAT: after a kill, reconcile leaves nothing half done, and a second one finds nothing.
settle() {
    local before after
    before=$(lease_state)
    # A child that was killed while it was in the kernel ends when that lets it.
    wait_for 20 slicebroker reconcile || { slicebroker reconcile >&2; unexpected "$1: reconcile can't settle it"; }
    after=$(lease_state)
    case $after in
        none) assert_same_state /run/before ;;
        attached) ;;
        prepared) [[ $subject == hook ]] || unexpected "$1: the lease is $after" ;; # its guest may be about to start
        *) unexpected "$1: the lease is $after" ;;
    esac
    host_state >/run/settled
    run_quietly slicebroker reconcile
    [[ $output == *agree* ]] || unexpected "$1: a second reconcile finds: $output"
    assert_same_state /run/settled
    printf '   killed at %-20s lease %s, after reconcile %s\n' "$1:" "$before" "$after"
    cuts=$((cuts + 1))
    seen[$before]=1
}

run_quietly() {
    output=$("$@" 2>&1) || unexpected "$* ends with $?: $output"
}

step "kill -9 at each step of taking it and of giving it back: $subject"
declare -A seen=()
cuts=0
# fdatasync: a commit is written and not yet confirmed. clone, wait4: before a child begins, and when it has done its
# work and nobody has recorded that. poll: while it works, at one of its moments or another, so not at every one.
for syscall in fdatasync clone wait4 poll; do
    case $syscall in
        fdatasync) stride=1 ;;
        poll) stride=$((4 * every)) ;;
        *) stride=$every ;;
    esac
    for ((n = stride; ; n += stride)); do
        killed "$n" "$syscall" "${words[0]}" "${take[@]}" || break
        settle "take, $syscall $n"
        [[ $(lease_state) == none ]] || run_quietly "${give[@]}" <"${words[1]}"
        assert_same_state /run/before
    done
    for ((n = stride; ; n += stride)); do
        [[ $(lease_state) != none ]] || run_quietly "${take[@]}" <"${words[0]}"
        killed "$n" "$syscall" "${words[1]}" "${give[@]}" || break
        settle "give, $syscall $n"
    done
    assert_same_state /run/before
done
expect_true "$cuts cuts, and nothing was left half done" test "$cuts" -ge $((every == 1 ? 20 : 10))
for state in none preparing releasing; do
    expect_true "some of them found a lease that was $state" test "${seen[$state]:-}"
done
run slicebroker ledger check
expect_status 0
run slicebroker audit verify
expect_status 0

finish
