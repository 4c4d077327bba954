#!/bin/bash
# The lab tests itself, without slicebroker: lab run [--root R] [--kernel K] -- /lab/repo/tests/lab/scenarios/lab_smoke.sh mdev|vfio
# It does by hand what a broker would, and holds the module to the errors that NVIDIA's driver and the kernel give.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

framework=${1:-mdev}
uuid=6f1c0000-0000-4000-8000-000000000001
hook_uuid=6f1c0000-0000-4000-8000-000000000002

started=$SECONDS
say() { printf '== %3d s  %s\n' $((SECONDS - started)) "$*"; }

# Installed before libvirtd starts, which is when it looks. Makes the mediated device that a domain named hook-* lacks.
install_hook() {
    mkdir -p /etc/libvirt/hooks
    cat >/etc/libvirt/hooks/qemu <<HOOK
#!/bin/bash
echo "\$*" >>/run/hook.log
case \$1/\$2 in
    hook-*/prepare) echo $hook_uuid >/run/hook.type/create ;;
    hook-*/release) echo 1 >/sys/bus/mdev/devices/$hook_uuid/remove ;;
esac
HOOK
    chmod +x /etc/libvirt/hooks/qemu
}

# NVML, as a daemon that holds the GPU: unbinding waits for it, and no signal ends the wait.
check_unbind_waits_for_users() {
    local holder node
    node=/dev/nvidia$(cut -d' ' -f1 "$pci/$GPU_B/lab/gpu")
    bash -c 'exec sleep 600' <"$node" &
    holder=$!
    wait_for 5 test "/proc/$holder/fd/0" -ef "$node" || fail "nobody opened $node"
    put "$GPU_B" /sys/bus/pci/drivers/nvidia/unbind &
    sleep 0.5
    kill -0 $! || fail "unbind did not wait for /dev/nvidiaN to be closed"
    kill $holder
    wait $! || fail "unbind failed"
    assert_equal "driver after unbind" - "$(driver_of "$GPU_B")"
    put "$GPU_B" /sys/bus/pci/drivers/nvidia/bind
}

# As the real one: rebinds the GPU, so that its GPU instances are gone; MIG mode stays, on this model.
check_sriov_manage() {
    make_gpu_instance "$GPU_A" 1g.10gb >/dev/null
    /usr/lib/nvidia/sriov-manage -d "$GPU_A"
    [[ ! -e $pci/$GPU_A/virtfn0 ]] || fail "sriov-manage -d left virtual functions"
    /usr/lib/nvidia/sriov-manage -e ALL
    assert_equal "GPU instances after sriov-manage" "" "$(<"$pci/$GPU_A/lab/gpu_instances")"
}

# A guest with the whole of GPU B, by hand: what passes for a GPU on the host does so behind vfio-pci.
check_whole_gpu() {
    put vfio-pci "$pci/$GPU_B/driver_override"
    put "$GPU_B" "$pci/$GPU_B/driver/unbind"
    put "$GPU_B" /sys/bus/pci/drivers_probe
    assert_equal "driver of $GPU_B" vfio-pci "$(driver_of "$GPU_B")"
    start_guest whole "$(pci_xml "$GPU_B")"
    guest_has whole 10de:2331 || fail "the guest lacks the whole GPU: $(guest_pci whole)"
    virsh -q destroy whole
    put '' "$pci/$GPU_B/driver_override"
    put "$GPU_B" "$pci/$GPU_B/driver/unbind"
    put "$GPU_B" /sys/bus/pci/drivers_probe
}

smoke_mdev() {
    local vf types gi mig removed
    vf=$(vf_of "$GPU_A" 0)
    types=$pci/$vf/mdev_supported_types

    say "capacity"
    assert_equal "nvidia-700 without a GPU instance" 0 "$(<"$types/nvidia-700/available_instances")"
    assert_fails "create without a GPU instance" 'No space left' put $uuid "$types/nvidia-700/create"
    read -r gi mig < <(make_gpu_instance "$GPU_A" 2g.20gb)
    assert_equal "nvidia-700 with one" 1 "$(<"$types/nvidia-700/available_instances")"
    assert_equal "time-sliced type in MIG mode" 0 "$(<"$types/nvidia-697/available_instances")"
    put $uuid "$types/nvidia-700/create"
    assert_equal "GPU instance of the vGPU" "$gi" "$(<"/sys/bus/mdev/devices/$uuid/nvidia/gpu_instance_id")"
    assert_equal "nvidia-700 on the next VF" 0 "$(<"$pci/$(vf_of "$GPU_A" 1)/mdev_supported_types/nvidia-700/available_instances")"
    assert_fails "destroy a GPU instance in use" 'busy' destroy_gpu_instance "$GPU_A" "$gi"
    assert_fails "MIG off while in use" 'busy' mig_mode "$GPU_A" 0
    assert_contains "NVML" "$mig" "$(/lab/artifacts/nvml-list)"

    say "guest"
    start_guest g1
    say "guest up"
    mdev_xml $uuid >/run/hostdev.xml
    virsh event --domain g1 --event device-removed --timeout 120 >/run/removed &
    removed=$!
    virsh -q attach-device g1 /run/hostdev.xml
    wait_for 30 guest_has g1 10de:20b5 || fail "the guest does not see the vGPU"
    say "the guest sees it"
    virsh -q detach-device g1 /run/hostdev.xml
    wait_for 30 guest_has_not g1 10de:20b5 || fail "the guest still sees the vGPU"
    wait $removed || fail "no device-removed event"
    assert_contains "event" hostdev "$(</run/removed)"
    put 1 "/sys/bus/mdev/devices/$uuid/remove"
    virsh -q destroy g1

    say "a hook makes the missing mediated device"
    ln -s "$types/nvidia-700" /run/hook.type
    start_guest hook-made "$(mdev_xml $hook_uuid)"
    guest_has hook-made 10de:20b5 || fail "the guest lacks the device that its hook made"
    virsh -q destroy hook-made
    [[ ! -e /sys/bus/mdev/devices/$hook_uuid ]] || fail "the hook's release did not remove its device"
    assert_fails "start without hook and device" "mediated device '$hook_uuid' not found" start_guest no-hook "$(mdev_xml $hook_uuid)"
    destroy_gpu_instance "$GPU_A" "$gi"
}

# The first line of creatable_vgpu_types is a heading.
creatable() { sed -n '2,$s/ .*//p' "$pci/$1/nvidia/creatable_vgpu_types"; }

smoke_vfio() {
    local vf files gi rest
    vf=$(vf_of "$GPU_A" 0)
    files=$pci/$vf/nvidia

    say "capacity"
    assert_equal "creatable without a GPU instance" "" "$(creatable "$vf")"
    read -r gi rest < <(make_gpu_instance "$GPU_A" 2g.20gb)
    assert_equal "creatable with one" 700 "$(creatable "$vf")"
    assert_fails "unknown type" 'Invalid argument' put 558 "$files/current_vgpu_type"
    assert_fails "type without capacity" 'No space left' put 701 "$files/current_vgpu_type"
    assert_fails "gpu_instance_id without a vGPU" 'No such device or address' cat "$files/gpu_instance_id"
    put 700 "$files/current_vgpu_type"
    assert_equal "current_vgpu_type" 700 "$(<"$files/current_vgpu_type")"
    assert_equal "gpu_instance_id" "$gi" "$(<"$files/gpu_instance_id")"
    assert_equal "creatable on the next VF" "" "$(creatable "$(vf_of "$GPU_A" 1)")"

    say "guest"
    if [[ $(virsh version --daemon | sed -n 's/.*libvirt \([0-9]*\).*/\1/p' | head -n 1) -lt 10 ]]; then
        # Before it knew vendor drivers by their vfio-dev directory, libvirt refused what isn't on vfio-pci.
        assert_fails "libvirt of this age" 'must be manually detached' start_guest g1 "$(pci_xml "$vf")"
    else
        start_guest g1 "$(pci_xml "$vf")"
        guest_has g1 10de:20b5 || fail "the guest lacks the VF: $(guest_pci g1)"
        assert_fails "clear while open" 'busy' put 0 "$files/current_vgpu_type"
        virsh -q destroy g1
    fi
    put 0 "$files/current_vgpu_type"
    assert_equal "driver of the VF" nvidia "$(driver_of "$vf")"
    destroy_gpu_instance "$GPU_A" "$gi"
}

install_hook
"$lab_dir/host_setup.sh" --framework "$framework" --mig --libvirt
# shellcheck source=/dev/null
source /run/lab.env
host_state >/run/before
say "host ready"
check_sriov_manage
"smoke_$framework"
say "unbind waits for users"
check_unbind_waits_for_users
say "whole GPU"
check_whole_gpu
# An unbind takes MIG mode away on this model.
mig_mode "$GPU_B" 1
assert_same_state /run/before
say "the host is as it was: passed"
