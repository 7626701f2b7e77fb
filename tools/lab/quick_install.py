# SPDX-License-Identifier: GPL-2.0-or-later
"""A CD that installs a small Linux: it partitions the disk, makes a file system, copies a system into it, installs
GRUB with Debian's own tools, and reboots. What it installed then starts from the disk and says what it finds there.

Kernel, busybox, GRUB, sfdisk and mke2fs are Debian's. The installed system is started through the same initramfs,
which is told by `root=` that there is one."""
import subprocess
from pathlib import Path

from . import initramfs, media, packages, paths
from .ui import LabError

GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "configfile", "echo", "ext2", "linux", "minicmd", "normal", "part_msdos", "search",
                "search_fs_uuid", "search_label", "test")
GRUB_PARTS = ("boot.img", "diskboot.img", "kernel.img", "lzma_decompress.img", "modinfo.sh", "moddep.lst",
              "command.lst", "crypto.lst", "fs.lst", "partmap.lst", "parttool.lst", "terminal.lst", "video.lst")
TOOLS = ("/sbin/sfdisk", "/sbin/mke2fs", "/usr/sbin/grub-install")
KERNEL_MODULES = ("ata_piix", "ahci", "virtio_pci", "virtio_blk", "nvme", "sd_mod", "sr_mod", "isofs",
                  "crc32c_generic", "ext4")
WORDS = "console=ttyS0 quiet panic=-1"

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
word() { for w in $(cat /proc/cmdline); do case $w in "$1"=*) echo "${w#*=}";; esac; done; }
fail() { echo "install: FAILED: $1"; poweroff -f; sleep 60; }
await() { i=0; while [ ! -b "$1" ]; do i=$((i+1)); [ $i -gt 600 ] && fail "no $1"; sleep 0.1; done; }
while read -r module; do insmod "$module"; done </lib/modules/at-start
read -r up _ </proc/uptime
root=$(word root)
if [ -n "$root" ]; then
  i=0
  until device=$(findfs "$root"); do i=$((i+1)); [ $i -gt 600 ] && fail "no $root"; sleep 0.1; done
  mount -t ext4 -o ro "$device" /mnt || fail "mount of $device"
  exec switch_root /mnt /sbin/init "$device"
fi
echo "install: started after $up s"
for disk in vda nvme0n1 sda; do
  [ -b /dev/$disk ] && break
done
await /dev/$disk
await /dev/sr0
echo "install: onto $disk, $(nproc) processors, $(readlink -f /sys/block/$disk)"
echo 'label: dos
start=2048, type=83, bootable' | /sbin/sfdisk -q /dev/$disk || fail sfdisk
case $disk in *[0-9]) part=/dev/${disk}p1;; *) part=/dev/${disk}1;; esac
await $part
/sbin/mke2fs -q -t ext4 -L installed $part || fail mke2fs
mount -t ext4 $part /mnt || fail mount
mount -t iso9660 -o ro /dev/sr0 /media || fail "mount of the CD"
mkdir -p /mnt/boot/grub /mnt/bin /mnt/sbin /mnt/etc /mnt/dev /mnt/proc /mnt/sys
cp /media/vmlinuz /media/initrd /mnt/boot || fail cp
cp -a /bin/. /mnt/bin || fail cp
cp /installed-init /mnt/sbin/init || fail cp
(cd /mnt && md5sum boot/* bin/busybox sbin/init 2>/dev/null >etc/sums)
head -c 64 /dev/urandom | md5sum | cut -c1-32 >/mnt/etc/mark
grub-install --target=i386-pc --boot-directory=/mnt/boot --fonts= --locales= --themes= /dev/$disk || fail grub-install
cat >/mnt/boot/grub/grub.cfg <<END
set timeout=0
search --label --set=root installed
linux /boot/vmlinuz root=LABEL=installed """ + WORDS + """
initrd /boot/initrd
boot
END
echo "install: mark $(cat /mnt/etc/mark), $(wc -l </mnt/etc/sums) files"
umount /mnt || fail umount
read -r up _ </proc/uptime
echo "install: done after $up s"
reboot -f
"""

INSTALLED_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
read -r up _ </proc/uptime
echo "installed: started from $1 after $up s, $(nproc) processors, mark $(cat /etc/mark)"
cd / && md5sum -c etc/sums
echo "installed: $(md5sum -c etc/sums 2>/dev/null | grep -c OK) files are as they were written"
poweroff -f
"""


def grub_modules():
    """The modules of GRUB that are wanted, and those they need."""
    needs = {}
    for line in (GRUB / "moddep.lst").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    found, todo = set(), list(GRUB_MODULES)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += needs.get(name, [])
    return sorted(found)


def _initramfs():
    _, folder, version = packages.kernel("generic")
    archive = initramfs.base(folder, version, KERNEL_MODULES)
    archive.file("init", INIT.encode(), 0o755)
    archive.file("installed-init", INSTALLED_INIT.encode(), 0o755)
    for program in TOOLS:
        if not Path(program).exists():
            raise LabError(f"there is no {program}; which packages are needed is in tools/lab/packages.py")
        initramfs.add_program(archive, program, strip=True)
    for name in (*GRUB_PARTS, *(f"{module}.mod" for module in grub_modules())):
        archive.copy_resolved(GRUB / name, f"usr/lib/grub/i386-pc/{name}")
    plain = initramfs.write(archive, "quick-install")
    packed = plain.with_suffix(".zst")
    if not packed.exists():
        partial = packed.with_suffix(".partial")
        subprocess.run(["zstd", "-q", "-f", "-10", plain, "-o", partial], check=True)
        partial.rename(packed)
    return packed


def iso():
    """The CD."""
    paths.ensure(paths.MEDIA)
    menu = f"""set timeout=0
linux /vmlinuz {WORDS}
initrd /initrd
boot
"""
    return media.grub_iso("quick-install.iso", menu, {"vmlinuz": packages.kernel("generic")[0], "initrd": _initramfs()})
