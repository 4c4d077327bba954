#!/bin/bash
# kill -9 of the VMM while its guest has a device: the lease ends with it, by libvirt's hook or by reconcile, and the host
# is as it was.
# vmm_killed.sh DIRECTORY-OF-THE-PROGRAM mdev|vfio
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework "$2" --mig
# shellcheck source=/dev/null
source /run/lab.env
modprobe kvm_amd nested=1
start_libvirt
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
enable_vfs "$PLAIN_SRIOV" 1
host_state >/run/before

kill_vmm() { # DOMAIN
    kill -KILL "$(pgrep -f "qemu-system.*guest=$1")"
    wait_for 60 bash -c "virsh domstate $1 | grep -q 'shut off'" || unexpected "libvirt does not see that $1 has ended"
}

# A dry run sees it, reconcile settles it, and then there is nothing to do.
expect_ended() {
    run slicebroker reconcile --dry-run
    expect_status 8
    expect "its guest no longer has the device"
    run slicebroker reconcile
    expect_status 0
    expect_same_state /run/before
    run slicebroker reconcile
    expect_status 0
    expect "agree"
}

step "kill -9 of QEMU: a slice, a whole GPU with its group and a virtual function come back by reconcile"
for selector in "$mig --fallback none" "gpu=$GPU_C --allow-group-member $GPU_C_AUDIO" "vf=$(vf_of "$PLAIN_SRIOV" 0)"; do
    start_guest web1
    # shellcheck disable=SC2086
    run slicebroker attach libvirt:web1 $selector
    expect_status 0
    kill_vmm web1
    expect_ended
done

step "kill -9 of Cloud Hypervisor: a whole GPU with its VFs and its MIG layout"
socket=/run/vm1.sock
start_ch_stand_in "$socket" /run/requests.log
vmm=$!
run slicebroker attach "ch:$socket" "gpu=$GPU_A"
expect_status 0
kill -KILL "$vmm"
wait "$vmm" 2>/dev/null || true
expect_ended

step "kill -9 of QEMU with the hook in place: the lease ends without anybody's doing"
install_hook
pkill -x libvirtd
wait_for 30 bash -c '! pgrep -x libvirtd'
libvirtd -d
wait_for 60 virsh -q list
define_guest ours >/dev/null
request="<metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device selector='$mig'/></slicebroker:request></metadata>"
virsh dumpxml ours --inactive | sed "s#<memory #$request<memory #" >/run/request.xml
slicebroker xml --domain /run/request.xml --for libvirt >/run/agreed.xml
run virsh define /run/agreed.xml
expect_status 0
run virsh start ours
expect_status 0
wait_guest ours
run slicebroker list leases
expect attached
kill_vmm ours
expect_true "the lease ends" wait_for 60 bash -c '! slicebroker list leases | grep -q libvirt:ours'
expect_same_state /run/before
run slicebroker reconcile
expect_status 0
expect "agree"

finish
