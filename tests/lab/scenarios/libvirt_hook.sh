#!/bin/bash
# A domain whose hostdev names a mediated device that does not exist yet: the installed hook makes it in `prepare` and
# frees it in `release`. A domain that is not ours starts as before.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../steps.sh
source /lab/repo/tests/lab/steps.sh

/lab/repo/tests/lab/host_setup.sh --framework mdev --mig
# shellcheck source=/dev/null
source /run/lab.env
install_hook
modprobe kvm_amd nested=1
start_libvirt
read -r _ mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
host_state >/run/before
define_guest ours >/dev/null
define_guest foreign >/dev/null

step "the domain asks for its slice in its metadata"
request="<metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device selector='$mig'/></slicebroker:request></metadata>"
virsh dumpxml ours --inactive | sed "s#<memory #$request<memory #" >/run/request.xml
run slicebroker xml --domain /run/request.xml --for libvirt@9.0
expect_status 0
expect "<hostdev"
printf '%s\n' "$output" >/run/real.xml
uuid=$(sed -n "s/.*<address uuid='\([^']*\)'.*/\1/p; s/.*<address uuid=\"\([^\"]*\)\".*/\1/p" /run/real.xml | head -n 1)
expect_true "the mediated device does not exist yet" test ! -e "/sys/bus/mdev/devices/$uuid"
expect_same_state /run/before

step "virsh start: the hook makes the device, and the guest has it"
run virsh define /run/real.xml
expect_status 0
run virsh start ours
expect_status 0
wait_guest ours
expect_true "the guest lists 10de:20b5" wait_for 30 guest_has ours 10de:20b5
expect_true "the device is the one that the XML names" test -e "/sys/bus/mdev/devices/$uuid"
run slicebroker list leases
expect "attached"
expect "libvirt:ours"

step "a daemon restart leaves the running guest alone: reconnect never fails"
run slicebroker hook libvirt ours reconnect begin - </dev/null
expect_status 0
expect_true "silent" test -z "$output"
pkill -x libvirtd
wait_for 30 bash -c '! pgrep -x libvirtd'
libvirtd -d
expect_true "the guest still runs" wait_for 60 bash -c 'virsh domstate ours | grep -q running'

step "the guest ends: the hook gives the device back"
run virsh destroy ours
expect_status 0
expect_true "the lease ends" wait_for 30 bash -c '! slicebroker list leases | grep -q libvirt:ours'
expect_same_state /run/before

step "a domain that is not ours starts as before, and the hook is silent and 0 for it"
mv /var/lib/slicebroker /run/ledger-aside
run virsh start foreign
expect_status 0
wait_guest foreign
for operation in "prepare begin -" "start begin -" "started begin -" "stopped end -" "release end -"; do
    # shellcheck disable=SC2086
    run slicebroker hook libvirt foreign $operation < <(virsh dumpxml foreign)
    expect_status 0
    expect_true "silent" test -z "$output"
done
expect_true "it did not even make a ledger" test ! -e /var/lib/slicebroker
run virsh destroy foreign
mv /run/ledger-aside /var/lib/slicebroker

step "a slice that is taken stops the start, and says why"
read -r _ _ < <(make_gpu_instance "$GPU_A" 3g.40gb)
other=$(cat /proc/sys/kernel/random/uuid)
put "$other" "$pci/$(vf_of "$GPU_A" 3)/mdev_supported_types/nvidia-700/create"
host_state >/run/busy
run virsh start ours
expect_status 1
expect "SLICE_IN_USE"
assert_same_state /run/busy
put 1 "/sys/bus/mdev/devices/$other/remove"

finish
