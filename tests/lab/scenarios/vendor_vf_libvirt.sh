#!/bin/bash
# The main job on NVIDIA's vendor VFIO framework: libvirt 11.3 attaches the VF; libvirt 9.0 can't, and is refused before
# anything is written.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework vfio --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
read -r gi mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
start_guest web1
host_state >/run/before
libvirt_major=$(virsh version --daemon | sed -n 's/^Running against daemon: \([0-9]*\)\..*/\1/p')

step "explain: a virtual function could carry the slice, on libvirt 11.3"
run slicebroker explain "$mig" --for libvirt@11.3
expect_status 0
expect "vendor-vf"
expect "assign vGPU type"

step "explain: libvirt 9.0 can't attach it, and the reason says so"
run slicebroker explain "$mig" --for libvirt@9.0 --fallback none
expect_status 5
expect "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT"

step "attach, with this host's libvirt $libvirt_major"
if ((libvirt_major < 11)); then
    run slicebroker attach libvirt:web1 "$mig" --fallback none
    expect_status 5
    expect "COMPAT_VENDOR_VF_NEEDS_NEWER_LIBVIRT"
    expect "host: untouched"
    expect_same_state /run/before
else
    run slicebroker attach libvirt:web1 "$mig" --fallback none
    expect_status 0
    expect_true "the guest lists 10de:20b5" wait_for 30 guest_has web1 10de:20b5
    vf=$(slicebroker -o json list leases | jq -r '.leases[0].device')
    expect_true "VF $vf is on nvidia" test "$(driver_of "$vf")" == nvidia
    expect_true "the driver gave the GPU instance that was asked for" \
        test "$(<"$pci/$vf/nvidia/gpu_instance_id")" == "$gi"
    run bash -c 'virsh dumpxml web1 | grep -A 9 "<hostdev"'
    expect "managed='no'"
    run slicebroker list leases
    expect "attached"

    run slicebroker detach libvirt:web1
    expect_status 0
    expect_true "the guest no longer lists it" wait_for 30 guest_has_not web1 10de:20b5
    expect_same_state /run/before
fi

finish
