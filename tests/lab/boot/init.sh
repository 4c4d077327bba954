#!/bin/bash
# Process 1 of the lab's machine once all is mounted: runs /lab/run/command, stores its exit status, powers off.
# There is no systemd on purpose: it would cost more time than everything else together.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-linux}

# `lab` looks at this clock: a machine whose clock stands still has hung, whatever the command does.
while echo "$SECONDS" >/lab/run/alive; do sleep 2; done &

: >/lab/run/started
cd /lab/share || exit
if [[ -e /lab/run/interactive ]]; then
    stty -F /dev/ttyS1 sane
    setsid -c bash /lab/run/command <>/dev/ttyS1 >&0 2>&1
else
    stty -F /dev/ttyS1 raw -echo
    setsid bash /lab/run/command </dev/null >/dev/ttyS1 2>&1
fi
echo $? >/lab/run/status
dmesg >/lab/run/dmesg

# What libvirt found out about QEMU takes it 5 s, so `lab` keeps it for the next run; libvirt itself checks whether it
# still holds.
if [[ -d /var/cache/libvirt/qemu/capabilities ]]; then cp -rT /var/cache/libvirt/qemu/capabilities /lab/run/capabilities; fi
sync
exec busybox poweroff -f
