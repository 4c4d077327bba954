#!/bin/bash
# The main job on the mdev framework: a MIG UUID becomes a PCI device of a running libvirt guest, and the host comes
# back exactly as it was.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
read -r gi mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
start_guest web1
start_guest web2
host_state >/run/before

step "the GPU is divided: one MIG slice, which has a UUID and no PCI address"
run slicebroker list gpus
expect "$GPU_A"
run slicebroker list slices
expect "$mig"

step "explain: the slice can reach a libvirt guest as a mediated device"
run slicebroker explain "$mig" --for libvirt@9.0
expect_status 0
expect "granted"
expect "mdev"

step "a dry run prints the plan and changes nothing"
run slicebroker attach libvirt:web1 "$mig" --dry-run
expect_status 0
expect "create mdev"
expect_same_state /run/before

step "attach: the guest's PCI bus shows an NVIDIA device"
expect_true "the guest has no 10de device yet" guest_has_not web1 10de:20b5
run slicebroker attach libvirt:web1 "$mig"
expect_status 0
expect_true "the guest lists 10de:20b5" wait_for 30 guest_has web1 10de:20b5
printf '   %s\n' "$(guest_pci web1 | grep 10de)"

step "the ledger names the holder, and libvirt has the hostdev"
run slicebroker list leases
expect "attached"
expect "libvirt:web1"
run slicebroker -o json list leases
uuid=$(jq -r '.leases[0].device' <<<"$output")
run bash -c 'virsh dumpxml web1 | grep -A 9 "<hostdev"'
expect "$uuid"
expect_true "the driver gave the GPU instance that was asked for" \
    test "$(<"/sys/bus/mdev/devices/$uuid/nvidia/gpu_instance_id")" == "$gi"

step "a second VM is told who holds the slice"
run slicebroker attach libvirt:web2 "$mig"
expect_status 4
expect "libvirt:web1"
expect "host: untouched"

step "detach: the device is gone from the guest and from the host"
run slicebroker detach libvirt:web1
expect_status 0
expect_true "the guest no longer lists it" wait_for 30 guest_has_not web1 10de:20b5
run slicebroker list leases
expect_not "web1"
expect_same_state /run/before

step "a second detach finds no lease"
run slicebroker detach libvirt:web1
expect_status 3

finish
