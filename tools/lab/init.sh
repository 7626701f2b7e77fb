#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab's control OS, process 1: mounts, loads the few modules the emulated machine needs, starts the network
# and the agent, and then keeps a shell on the serial console.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=vt100
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size=75% tmpfs /tmp
chmod 1777 /tmp /dev/shm
mkdir -p /run/escalus
mount -t cgroup2 cgroup2 /sys/fs/cgroup

while read -r module; do
    insmod "$module" || echo "init: cannot load $module"
done </lib/modules/at-start

hostname lab
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

# Media are virtio disks whose serial number is their name, or ATA disks whose model is: /media/NAME.
for file in /sys/block/vd*/serial /sys/block/sd*/device/model; do
    [ -e "$file" ] || continue
    read -r name <"$file"
    disk=${file#/sys/block/}
    [ -n "$name" ] && ln -s "/dev/${disk%%/*}" "/media/$name"
done

/sbin/agent 7 &
read -r up _ </proc/uptime
echo "escalus-lab: control OS ready after $up s"

while :; do
    setsid cttyhack /bin/sh -l
    echo "(the shell of the control OS ended; here is another)"
    sleep 1
done
