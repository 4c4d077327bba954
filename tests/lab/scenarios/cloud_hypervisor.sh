#!/bin/bash
# A MIG slice asked for on Cloud Hypervisor: refused as a slice, granted as the whole GPU, and afterwards every function
# has its driver, its VFs and its MIG layout back. A real cloud-hypervisor runs where the shared folder has one (see
# run_with_cloud_hypervisor); else a server stands in that follows its published OpenAPI file.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

cloud_hypervisor=''
[[ ! -x /lab/share/cloud-hypervisor ]] || cloud_hypervisor=/lab/share/cloud-hypervisor
socket=/run/vm1.sock

start_real_vm() {
    modprobe kvm_amd nested=1
    "$cloud_hypervisor" --api-socket "path=$socket" --cpus boot=1 --memory size=256M \
        --kernel /lab/artifacts/guest.vmlinux --initramfs /lab/artifacts/guest.initrd \
        --cmdline "console=ttyS0 quiet mitigations=off no_timer_check" --serial file=/run/vm1.console --console off \
        --seccomp false >/run/vm1.log 2>&1 &
    vmm=$!
    wait_guest vm1
}

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig
# shellcheck source=/dev/null
source /run/lab.env
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
read -r _ _ < <(make_gpu_instance "$GPU_A" 1g.10gb)
if [[ $cloud_hypervisor ]]; then
    printf 'cloud-hypervisor: the real one, %s\n' "$("$cloud_hypervisor" --version)"
    start_real_vm
else
    printf 'cloud-hypervisor: none on PATH; a server that follows its OpenAPI file stands in\n'
    start_ch_stand_in "$socket" /run/requests.log
    vmm=$!
fi
host_state >/run/before

step "explain: the slice can't reach a Cloud Hypervisor guest"
run slicebroker explain "$mig" --for ch --fallback none
expect_status 5
expect COMPAT_VGPU_NEEDS_QEMU

step "attach as a slice: refused before anything is written"
run slicebroker attach "ch:$socket" "$mig" --fallback none
expect_status 5
expect COMPAT_VGPU_NEEDS_QEMU
expect "host: untouched"
expect_same_state /run/before

step "the fallback is the whole GPU, and the plan says what that takes"
run slicebroker explain "$mig" --for ch
expect_status 0
expect "bind $GPU_A to vfio-pci"
run slicebroker args "$mig" --for ch
expect_status 0
expect "path=/sys/bus/pci/devices/$GPU_A/"

step "attach: the group is on vfio-pci and the VMM has the GPU"
run slicebroker attach "ch:$socket" "$mig"
expect_status 0
expect_true "$GPU_A is on vfio-pci" test "$(driver_of "$GPU_A")" == vfio-pci
expect_true "its VFs are off" test "$(<"$pci/$GPU_A/sriov_numvfs")" == 0
run slicebroker list leases
expect attached
if [[ $cloud_hypervisor ]]; then
    run curl -s --unix-socket "$socket" http://localhost/api/v1/vm.info
    expect "\"path\":\"/sys/bus/pci/devices/$GPU_A/\""
    guest_address=$(slicebroker -o json list leases | jq -r '.leases[0].guest_address')
    expect_true "the guest lists a function at $guest_address" wait_for 60 bash -c "tail -n 5 /run/vm1.console | grep -aq '$guest_address='"
else
    run cat /run/requests.log
    expect "PUT vm.add-device {\"path\":\"/sys/bus/pci/devices/$GPU_A/\",\"id\":\"slicebroker-1\"}"
fi

step "a slice of that GPU is out of reach now, and the answer names who has it"
run slicebroker explain "gpu=$GPU_A"
expect_status 4
expect "ch:$socket"

step "detach: every function has its driver back, the VFs and the MIG layout too"
run slicebroker detach "ch:$socket"
expect_status 0
expect "host: restored"
expect_same_state /run/before
run slicebroker show "$mig"
expect_status 0

step "the VMM is gone while the GPU is attached: reconcile gives it back"
run slicebroker attach "ch:$socket" "gpu=$GPU_A"
expect_status 0
kill -KILL "$vmm"
wait "$vmm" 2>/dev/null || true
run slicebroker reconcile --dry-run
expect_status 8
run slicebroker reconcile
expect_status 0
expect_same_state /run/before
run slicebroker reconcile
expect_status 0
expect "agree"

finish
