#!/bin/busybox sh
# shellcheck shell=dash
# The whole of the guest: says on its serial console which PCI devices it has, whenever that changes, as
#   guest-pci N: BDF=VENDOR:DEVICE/CLASS ...
# with N counting up. Hotplug itself is the kernel's work.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec >/dev/ttyS0 2>&1

n=0
before=
while :; do
    now=
    for dir in /sys/bus/pci/devices/*; do
        # A device may vanish between the listing and the reads.
        { read -r vendor <"$dir/vendor" && read -r device <"$dir/device" && read -r class <"$dir/class"; } 2>/dev/null || continue
        now="$now ${dir##*/}=${vendor#0x}:${device#0x}/${class#0x}"
    done
    if [ "$now" != "$before" ]; then
        n=$((n + 1))
        echo "guest-pci $n:$now"
        before=$now
    fi
    usleep 200000
done
