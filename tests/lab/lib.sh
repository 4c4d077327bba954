# shellcheck shell=bash
# Functions for scenario scripts that run inside the lab's machine. Source this; it sources the names that
# host_setup.sh found: GPU_A (SR-IOV, MIG, vGPU), GPU_B (MIG, no vGPU), GPU_C (shares its IOMMU group with
# GPU_C_AUDIO and GPU_C_OTHER), PLAIN_NIC, PLAIN_BRIDGED.

lab_dir=/lab/repo/tests/lab
pci=/sys/bus/pci/devices
# shellcheck source=/dev/null
[[ ! -e /run/lab.env ]] || source /run/lab.env

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }

# wait_for SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

# put VALUE FILE: one write(2), as sysfs wants it; status 1 and the kernel's error text on stderr where it refuses.
put() { printf '%s\n' "$1" >"$2"; }

assert_equal() { # WHAT EXPECTED FOUND
    [[ $2 == "$3" ]] || fail "$1"$'\n'"  expected: $2"$'\n'"  found:    $3"
}

assert_contains() { # WHAT PART TEXT
    [[ $3 == *"$2"* ]] || fail "$1"$'\n'"  expected to contain: $2"$'\n'"  found: $3"
}

assert_fails() { # WHAT ERROR-TEXT COMMAND...: COMMAND must fail, and say so with this text
    local what=$1 text=$2 found
    shift 2
    if found=$("$@" 2>&1); then fail "$what: succeeded"; fi
    assert_contains "$what" "$text" "$found"
}

# assert_same_state BEFORE-FILE: host_state now is what it was.
assert_same_state() { diff -u --label before --label now "$1" <(host_state) >&2 || fail "the host is not as it was"; }

driver_of() { [[ -e $pci/$1/driver ]] && basename "$(readlink "$pci/$1/driver")" || echo -; }
vf_of() { basename "$(readlink "$pci/$1/virtfn$2")"; } # PF INDEX

# Everything that a broker may change, one fact a line. Few processes: under emulation each costs milliseconds.
host_state() (
    set +e  # what a host lacks is no failure
    cd "$pci" || exit
    stat -c '%N' */driver 2>/dev/null
    grep -sH '' */driver_override */power/control */sriov_numvfs */sriov_drivers_autoprobe */enable \
        */nvidia/current_vgpu_type */nvidia/vgpu_params */nvidia/creatable_vgpu_types \
        */mdev_supported_types/*/available_instances \
        */lab/mig_mode */lab/gpu_instances */lab/compute_instances */lab/vgpus
    stat -c '%N' /sys/bus/mdev/devices/*/mdev_type 2>/dev/null
    true
)

# cut_power inside|outside: at once by a reset, or a moment later as seen from outside. What is not on /lab/disk by then
# is lost; `lab` boots again and runs the command again, with LAB_BOOT one higher.
cut_power() {
    : >/lab/run/cut
    [[ $1 == outside ]] || echo b >/proc/sysrq-trigger
    sleep 60
    fail "the power is still there"
}

# --- the GPU, as nvidia-smi and sriov-manage would be used -------------------------------------------------

mig_mode() { put "$2" "$pci/$1/lab/mig_mode"; } # PF 0|1

# make_gpu_instance PF PROFILE-NAME [START]: with one compute instance over all of it; prints "GI MIG-UUID".
make_gpu_instance() {
    local control=$pci/$1/lab id slices before gi
    read -r id slices < <(awk -v name="$2" '$10 == name { print $1, $3 }' "$control/profiles")
    [[ -n $id ]] || fail "GPU $1 has no profile $2"
    before=$(<"$control/gpu_instances")
    put "$id${3:+ $3}" "$control/create_gi" || return
    gi=$(comm -13 <(sort <<<"$before") <(sort "$control/gpu_instances") | cut -d' ' -f1)
    put "$gi $slices" "$control/create_ci" || return
    awk -v gi="$gi" '$1 == gi { print gi, $5 }' "$control/compute_instances"
}

destroy_gpu_instance() { # PF GI
    local control=$pci/$1/lab gi ci rest
    # rest is there to swallow what we don't need
    # shellcheck disable=SC2034
    while read -r gi ci rest; do
        [[ $gi != "$2" ]] || put "$gi $ci" "$control/destroy_ci" || return
    done <"$control/compute_instances"
    put "$2" "$control/destroy_gi"
}

# enable_vfs PF COUNT: a plain write. What NVIDIA's sriov-manage does besides is in the script of that name.
enable_vfs() { put "$2" "$pci/$1/sriov_numvfs"; }

# --- libvirt and guests --------------------------------------------------------------------------------------

start_libvirt() {
    mkdir -p /etc/libvirt /run/libvirt /var/log/libvirt
    # No cgroups, security labels, sandbox, name spaces or log daemon: there is no systemd here, all of them cost
    # time, and nothing under test depends on them.
    cat >/etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
stdio_handler = "file"
namespaces = []
security_driver = "none"
seccomp_sandbox = 0
remember_owner = 0
cgroup_controllers = []
CONF
    printf 'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0777"\n' >/etc/libvirt/libvirtd.conf
    if [[ -d /lab/run/capabilities ]]; then
        mkdir -p /var/cache/libvirt/qemu
        cp -rT /lab/run/capabilities /var/cache/libvirt/qemu/capabilities
    fi
    libvirtd -d || fail "libvirtd does not start"
    wait_for 60 virsh -q list || { cat /var/log/libvirt/libvirtd.log >&2; fail "libvirtd does not answer"; }
}

# install_hook: libvirt runs hooks without our environment, and sees only the usual directories.
install_hook() {
    ln -s "$(command -v slicebroker)" /usr/bin/slicebroker
    ln -s "$SLICEBROKER_NVML" /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1
    mkdir -p /etc/libvirt/hooks/qemu.d
    cp /lab/repo/broker/hook/50-slicebroker /etc/libvirt/hooks/qemu.d/
}

# define_guest NAME [HOSTDEV-XML]: from guest/domain.xml.
define_guest() {
    sed -e "s/@NAME@/$1/g" -e "s#@HOSTDEV@#${2:-}#" "$lab_dir/guest/domain.xml" >"/run/$1.xml"
    virsh -q define "/run/$1.xml"
}

# start_guest NAME [HOSTDEV-XML]: defines it where it isn't, starts it, waits until it has listed its devices.
start_guest() {
    virsh -q dominfo "$1" >/dev/null 2>&1 || define_guest "$@" || return
    rm -f "/run/$1.console"
    virsh -q start "$1" || return
    wait_guest "$1"
}

wait_guest() {
    wait_for 120 grep -q '^guest-pci 1:' "/run/$1.console" ||
        { tail -n 30 "/run/$1.console" "/var/log/libvirt/qemu/$1.log" >&2; fail "guest $1 does not come up"; }
}

# guest_pci NAME: what the guest lists now, a line each: BDF VENDOR:DEVICE CLASS
guest_pci() {
    grep -a '^guest-pci' "/run/$1.console" | tail -n 1 | tr -d '\r' | tr ' ' '\n' | sed -n 's#^\(.*\)=\(.*\)/\(.*\)$#\1 \2 \3#p'
}

guest_has() { guest_pci "$1" | grep -q " $2 "; }         # NAME VENDOR:DEVICE
guest_has_not() { ! guest_has "$@"; }

# start_ch_stand_in SOCKET LOG: ch_api_server with a VM that was created and booted; its process is $!.
start_ch_stand_in() {
    local call
    ch_api_server "$1" "$2" >/run/ch_api_server.log 2>&1 &
    wait_for 10 test -S "$1" || return
    for call in vm.create vm.boot; do
        curl -sf --unix-socket "$1" -X PUT -H 'Content-Type: application/json' -d '{"payload":{"kernel":"k"}}' \
            "http://localhost/api/v1/$call" || return
    done
}

mdev_xml() { # UUID
    printf "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'><source><address uuid='%s'/></source></hostdev>" "$1"
}

pci_xml() { # BDF
    local domain bus slot function
    IFS=':.' read -r domain bus slot function <<<"$1"
    printf "<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x%s' bus='0x%s' slot='0x%s' function='0x%s'/></source></hostdev>" \
        "$domain" "$bus" "$slot" "$function"
}
