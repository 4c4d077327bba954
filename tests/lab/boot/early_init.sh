#!/bin/sh
# First process of the lab's machine, in busybox: mounts everything, then hands over to boot/init.sh in the root image.
# All that a systemd would set up and somebody here needs is done in this script, since starting a dynamically linked
# program for each step costs five times as much under emulation.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
# Each line of the list is a module file, in the order in which they must be loaded.
while read -r module; do $b insmod "$module"; done </modules/order

$b mkdir -p /image /scratch /new
$b mount -t ext4 -o ro /dev/vda /image
$b mount -t tmpfs -o size=75% tmpfs /scratch
$b mkdir /scratch/upper /scratch/work
$b mount -t overlay -o lowerdir=/image,upperdir=/scratch/upper,workdir=/scratch/work overlay /new
$b mkdir -p /new/lib/modules /new/lab/disk /new/lab/run /new/lab/share /new/lab/repo /new/lab/artifacts
$b mount -t ext4 -o ro /dev/vdb /new/lib/modules
$b mount -t ext4 /dev/vdc /new/lab/disk

# The tree and the artifacts do not change during a run, so they may be cached; the other two are shared live.
nine=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o $nine run /new/lab/run
$b mount -t 9p -o $nine share /new/lab/share
$b mount -t 9p -o $nine,ro,cache=loose repo /new/lab/repo
$b mount -t 9p -o $nine,ro,cache=loose artifacts /new/lab/artifacts

$b mkdir -p /dev/pts /dev/shm
$b ln -s /proc/self/fd /dev/fd
$b ln -s fd/0 /dev/stdin
$b ln -s fd/1 /dev/stdout
$b ln -s fd/2 /dev/stderr
$b mount -t devpts -o gid=5,mode=620 devpts /dev/pts
$b mount -t tmpfs -o mode=1777 tmpfs /dev/shm
$b mount -t tmpfs -o mode=755 tmpfs /new/run
$b mount -t tmpfs -o mode=1777 tmpfs /new/tmp
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b mkdir -p /new/run/lock
$b hostname lab
$b ifconfig lo 127.0.0.1
$b cp /init.sh /new/lab/init.sh

for dir in proc sys dev; do $b mount -o move /$dir /new/$dir; done
exec $b switch_root /new /bin/bash /lab/init.sh
