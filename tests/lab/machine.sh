# shellcheck shell=bash
# shellcheck disable=SC2154,SC2054 # variables set by lab; QEMU's arguments have commas
# Boots the lab's machine once, again where it died before its first line, and again where its power was cut. Sourced by
# `lab`.

# Topology, by root port:
#   0x10  a plain network card                        0x13  multifunction: three functions share one IOMMU group
#   0x11  an NVMe controller alone in its group       0x14  an NVMe controller with 4 SR-IOV virtual functions
#   0x12  a PCI bridge with a device behind it: one group of two
#   0x15  another NVMe controller with 4 SR-IOV virtual functions, which stays what it is
machine_arguments() { # ARTIFACTS RUN-DIR; sets $qemu
    local port kernel=$cache/kernel/${kernels[0]} artifacts=$1 run=$2
    local sriov=sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=14,msix_qsize=16
    qemu=(
        # One CPU: with two, one of about 25 guest boots ended in "Oops: int3" inside KVM, as if an emulated CPU had run a
        # breakpoint that the other had put into kernel code for a moment and taken out again. None since, and on a
        # machine of two cores it is no slower.
        qemu-system-x86_64 -accel tcg -machine q35 -cpu max -smp 1 -m "$memory"
        -nodefaults -no-user-config -display none -monitor none -no-reboot
        -kernel "$kernel/vmlinux" -initrd "$artifacts/host.initrd"
        # panic=-1 with -no-reboot ends QEMU at a panic; the rest saves time or noise under emulation.
        -append 'console=ttyS0 loglevel=5 intel_iommu=on mitigations=off nokaslr panic=-1 audit=0 apparmor=0 random.trust_cpu=on no_timer_check cryptomgr.notests init_on_alloc=0 8250.nr_uarts=2'
        -chardev "file,id=kernel,path=$log/kernel.log,append=on" -serial chardev:kernel -chardev stdio,id=terminal,signal=off -serial chardev:terminal
        -device 'intel-iommu,intremap=on,aw-bits=48'
        -drive "if=none,id=root,format=raw,readonly=on,file=$cache/root/$(root_name "${roots[0]}")/root.img"
        -device virtio-blk-pci,drive=root
        -drive "if=none,id=modules,format=raw,readonly=on,file=$kernel/modules.img"
        -device virtio-blk-pci,drive=modules
        # What the machine has written to it is in this machine's page cache, which outlives QEMU: a cut of the power
        # takes what is in its own memory, no more.
        -drive "if=none,id=disk,format=raw,cache=writeback,file=$disk"
        -device virtio-blk-pci,drive=disk
        -virtfs "local,path=$run,security_model=none,mount_tag=run,multidevs=remap"
        -virtfs "local,path=$share,security_model=none,mount_tag=share,multidevs=remap"
        -virtfs "local,path=$repo_dir,security_model=none,mount_tag=repo,multidevs=remap,readonly=on"
        -virtfs "local,path=$artifacts,security_model=none,mount_tag=artifacts,multidevs=remap,readonly=on"
    )
    for port in 0 1 2 3 4 5; do
        qemu+=(-device "pcie-root-port,id=rp$port,chassis=$port,slot=$port,bus=pcie.0,addr=0x1$port")
    done
    qemu+=(
        -device e1000e,bus=rp0
        -drive 'if=none,id=null1,driver=null-co,size=64M' -device nvme,serial=b,bus=rp1,drive=null1
        -device pcie-pci-bridge,id=bridge,bus=rp2 -device edu,bus=bridge,addr=1
        -device e1000e,bus=rp3,addr=0.0,multifunction=on -device e1000e,bus=rp3,addr=0.1 -device pci-testdev,bus=rp3,addr=0.2
        -device nvme-subsys,id=subsys4 -device "nvme,serial=a,bus=rp4,subsys=subsys4,$sriov"
        -device nvme-subsys,id=subsys5 -device "nvme,serial=c,bus=rp5,subsys=subsys5,$sriov"
    )
}

end_machine() {
    kill -KILL "$qemu_pid"
    wait "$qemu_pid" 2>/dev/null || true
    qemu_pid=
}

# Whether the machine's clock has stood still for a minute.
hung() { # RUN-DIR
    [[ -e $1/alive ]] && (($(date +%s) - $(stat -c %Y "$1/alive") > 60))
}

# Whether the command ended half a minute ago: a device whose lock is taken for ever keeps the kernel from powering off.
does_not_end() { # RUN-DIR
    [[ -e $1/status ]] && (($(date +%s) - $(stat -c %Y "$1/status") > 30))
}

# boot_once RUN-DIR: returns when QEMU ended; false where it had to be ended: it did not start, hung, or took too long.
# The machine asks for its power to be cut by the file `cut`.
boot_once() {
    local run=$1 end=$((SECONDS + timeout)) boot_end=$((SECONDS + (timeout < 90 ? timeout : 90))) next_look=0
    rm -f "$run/started" "$run/alive" "$run/status"
    "${qemu[@]}" 2>>"$log/qemu.log" </dev/null &
    qemu_pid=$!
    while kill -0 "$qemu_pid" 2>/dev/null; do
        if [[ -e $run/cut ]]; then
            end_machine
            return
        fi
        if ((SECONDS >= end)) || { ((SECONDS >= boot_end)) && [[ ! -e $run/started ]]; }; then
            end_machine
            return 1
        fi
        if ((SECONDS >= next_look)); then
            next_look=$((SECONDS + 5))
            if does_not_end "$run"; then
                end_machine
                return
            fi
            if hung "$run"; then
                end_machine
                rm -f "$run/started"
                return 1
            fi
        fi
        sleep 0.1
    done
    wait "$qemu_pid" || true
    qemu_pid=
}

# boot batch|interactive RUN-DIR: may set $status.
boot() {
    local mode=$1 run=$2 attempt
    if [[ $mode == interactive ]]; then
        : >"$run/interactive"
        "${qemu[@]}" 2>>"$log/qemu.log" || true
        return
    fi
    # Of a hundred boots on a loaded machine, one died before its first line, and one hung with a guest inside, its
    # clock too: that says nothing about COMMAND. One that still ticks and takes too long is COMMAND's own matter.
    for attempt in 1 2 3; do
        if ! boot_once "$run" && [[ -e $run/started ]]; then status=124; fi
        [[ -e $run/started ]] && break
        ((attempt == 3)) || step "the machine did not come up or hung, trying again"
    done
}

clean_up() {
    [[ -z ${qemu_pid:-} ]] || kill -KILL "$qemu_pid" 2>/dev/null || true
    [[ -z ${scratch:-} ]] || rm -rf "$scratch"
}

kernel_complained() { grep -qE 'Kernel panic|Oops|BUG:|general protection|WARNING: CPU|blocked for more than' "$log/kernel.log"; }

report() { # STATUS
    [[ -e $log/kernel.log ]] && kernel_complained && {
        step "the kernel complained; the end of its log:"
        grep -nE -m1 'Kernel panic|Oops|BUG:|general protection|WARNING: CPU|blocked for more than' "$log/kernel.log" >&2
        tail -n 40 "$log/kernel.log" >&2
    }
    (($1 == 0)) || step "exit status $1, logs in $log"
}

# What libvirt found out about QEMU inside, for the next run on the same kernel and root: it would take it 5 s again.
keep_capabilities() { # FROM TO
    [[ -d $1 ]] || return 0
    mkdir -p "${2%/*}"
    cp -r "$1" "$2.$$"
    rm -rf "$2"
    mv -T "$2.$$" "$2" 2>/dev/null || rm -rf "$2.$$" # another run was quicker
}

run_machine() { # batch|interactive COMMAND...
    local mode=$1 status=125 boot run known disk made_log=
    shift
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/slicebroker-lab.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    run=$scratch/run
    mkdir -p "$run" "$scratch/share"
    if [[ -z $log ]]; then log=$(mktemp -d "${TMPDIR:-/tmp}/slicebroker-lab-log.XXXXXX") made_log=1; fi
    mkdir -p "$log"
    log=$(cd "$log" && pwd)
    share=$(cd "${share:-$scratch/share}" && pwd)
    known=$cache/capabilities/$(basename "$(readlink -f "$cache/kernel/${kernels[0]}")")-$(root_name "${roots[0]}")
    if [[ -d $known ]]; then cp -r "$known" "$run/capabilities"; fi
    rm -f "$log/kernel.log"
    disk=$scratch/disk
    mke2fs -F -q -t ext4 -b 4096 "$disk" 64M >/dev/null
    local -a qemu
    machine_arguments "$cache/artifacts/$(artifacts_name "${kernels[0]}")" "$run"
    for ((boot = 1; ; boot++)); do
        rm -f "$run/cut"
        printf 'export LAB_KERNEL=%q LAB_ROOT=%q LAB_BOOT=%q\nexec' "${kernels[0]}" "${roots[0]}" "$boot" >"$run/command"
        printf ' %q' "$@" >>"$run/command"
        boot "$mode" "$run"
        [[ -e $run/cut ]] || break
    done
    [[ -e $run/dmesg ]] && cp "$run/dmesg" "$log/dmesg"
    keep_capabilities "$run/capabilities" "$known"
    [[ -e $run/status ]] && status=$(<"$run/status")
    report "$status"
    if [[ -n $made_log ]] && ((status == 0)); then rm -rf "$log"; fi
    exit "$status"
}
