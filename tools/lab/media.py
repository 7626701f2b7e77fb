# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot media: what a file that was named is, and the ISOs that the lab makes itself. An ISO is made again only
when what it is made of changed."""
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import initramfs, packages, paths
from .ui import LabError, run_logged

FLOPPY_SIZES = {kib * 1024 for kib in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880)}
INSTALLER = "debian-installer-12-netboot-amd64"


@dataclass
class Kind:
    device: str  # of the guest's disk key
    boot: str
    what: str

    @property
    def writable(self):
        return self.device in ("hda", "fda")


def recognise(path):
    """What a medium is; LabError with the reason when no guest could boot from it."""
    path = Path(path)
    if not path.exists():
        raise LabError(f"{path}: no such file")
    if path.is_dir():
        raise LabError(f"{path} is a directory; a medium is a file with the image of a CD or disk")
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(512)
            file.seek(0x8000)
            descriptors = file.read(2 * 2048)
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from None
    if size == 0:
        raise LabError(f"{path} is empty")
    boot_signature = first[510:512] == b"\x55\xaa"
    if descriptors[1:6] == b"CD001":
        if descriptors[2048:2048 + 30] == b"\0CD001\1EL TORITO SPECIFICATION":
            return Kind("hdc:cdrom", "d", "CD image")
        if not boot_signature:
            raise LabError(f"{path} is not bootable: a CD image without an El Torito boot record")
    if not boot_signature:
        raise LabError(f"{path} is not bootable: it is no CD image, and its first sector does not end with the "
                       "boot signature 55 AA")
    if size in FLOPPY_SIZES:
        return Kind("fda", "a", "floppy image")
    return Kind("hda", "c", "disk image")


def recognise_disk(path):
    """Only what a disk's file must be; whether a guest can boot from it is its own affair."""
    if not os.path.exists(path):
        raise LabError(f"{path}: no such file")
    if os.path.isdir(path):
        raise LabError(f"{path} is a directory; a disk is a file or block device")
    if not os.access(path, os.R_OK):
        raise LabError(f"{path} cannot be read: permission denied")


def made(name, inputs, make):
    """The file build/lab/media/NAME, made by make(path) unless the inputs are those it was made of."""
    target = paths.ensure(paths.MEDIA) / name
    stamp = target.with_suffix(target.suffix + ".made-of")
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            status = item.stat()
            item = f"{item} {status.st_size} {status.st_mtime_ns}"
        digest.update(json.dumps(str(item)).encode())
    if target.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return target
    partial = target.with_name(f".{os.getpid()}-{name}")
    make(partial)
    partial.rename(target)
    stamp.write_text(digest.hexdigest())
    return target


def _place(source, target):
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def make_grub_iso(target, menu, files, platforms=("i386-pc",)):
    """Makes an ISO with GRUB. `menu` is its grub.cfg; `files` maps names on the CD to files here."""
    tree = paths.ensure(target.parent / f".tree-{os.getpid()}-{target.name}")
    try:
        paths.ensure(tree / "boot/grub")
        (tree / "boot/grub/grub.cfg").write_text(menu)
        for inside, source in files.items():
            place = tree / inside
            paths.ensure(place.parent)
            _place(Path(source).resolve(), place)
        command = ["grub-mkrescue", "-o", target, "--locales=", "--themes=", "--fonts=unicode"]
        if len(platforms) == 1:
            command += ["-d", f"/usr/lib/grub/{platforms[0]}"]
        run_logged([*command, tree], f"grub-mkrescue-{target.name}", what="making the ISO")
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return target


def grub_iso(name, menu, files, platforms=("i386-pc",)):
    """The same, made anew only when what it is made of has changed."""
    return made(name, [menu, platforms, *[Path(source) for source in files.values()], *files],
                lambda target: make_grub_iso(target, menu, files, platforms))


def installer(graphical=True):
    """Debian's installer, graphical or text, as a CD."""
    images = packages.unpacked(INSTALLER) / "usr/lib/debian-installer/images/12/amd64"
    flavour = "gtk" if graphical else "text"
    folder = images / flavour / "debian-installer/amd64"
    # The text installer stays in the text mode of the VGA: without its own video driver.
    title, mode, words = (("graphical", "800x600x32", "") if graphical
                          else ("text", "text", "vga=normal nomodeset fb=false "))
    menu = f"""set timeout=1
menuentry "Debian 12 installer, {title}" {{
  set gfxpayload={mode}
  linux /install/vmlinuz {words}--- quiet
  initrd /install/initrd.gz
}}
"""
    return grub_iso(f"debian-installer-{flavour}.iso", menu,
                    {"install/vmlinuz": folder / "linux", "install/initrd.gz": folder / "initrd.gz"})


GUEST_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
word() { for w in $(cat /proc/cmdline); do case $w in "$1"=*) echo "${w#*=}";; esac; done; }
dma=$(word libata.dma)
while read -r module; do
  case $module in
    */libata.ko) insmod "$module" ${dma:+dma=$dma};;
    *) insmod "$module";;
  esac
done </lib/modules/at-start
read -r up _ </proc/uptime
echo "guest: user space reached after $up s"
script=$(word escalus.run)
disk=$(word escalus.disk)
export disk=${disk:-sda} server=$(word escalus.server)
[ -n "$script" ] && sh "/scripts/$script"
case $(word escalus.then) in
  reboot) reboot -f;;
  stay) while :; do sleep 3600; done;;
  shell) while :; do setsid cttyhack sh; done;;
  *) poweroff -f;;
esac
"""


# Run in the guest by `escalus.run=NAME` on its command line.
GUEST_SCRIPTS = {
    "count": "i=1; while [ $i -le 3 ]; do echo count $i; i=$((i+1)); sleep 1; done\n"
             "(while :; do i=$((i+1)); echo count $i; sleep 1; done) &\n",
    # The kernel counts a button's events once its driver has asked for them.
    "power-button": """echo waiting for the power button
while :; do
  read -r count _ </sys/firmware/acpi/interrupts/ff_pwr_btn
  [ "$count" -gt 0 ] && break
  sleep 0.5
done
echo power button seen
""",
    # Every processor computes the same sum, alone on itself, all at once.
    "processors": """echo "processors: $(nproc) of $(grep -c ^processor /proc/cpuinfo)"
packages=$(cat /sys/devices/system/cpu/cpu*/topology/physical_package_id | sort -u | wc -l)
cores=$(cat /sys/devices/system/cpu/cpu*/topology/core_id | sort -u | wc -l)
echo "packages: $packages, cores: $cores"
for cpu in $(seq 0 $(($(nproc) - 1))); do
  taskset $(printf %x $((1 << cpu))) sh -c 'head -c 3000000 /dev/zero | sha256sum >/tmp/sum'$cpu &
done
wait
for sum in /tmp/sum*; do read -r value _ <$sum; echo "loaded: $value"; done
grep -E 'LOC|RES|CAL' /proc/interrupts
dmesg | grep -E 'BUG|Oops|soft lockup|Call Trace|rcu.*stall|apic.*timeout|do_boot_cpu failed'
echo "trouble: $(dmesg | grep -cE 'BUG|Oops|soft lockup|Call Trace|rcu.*stall|apic.*timeout|do_boot_cpu failed')"
echo processors: done
""",
    # What tells the time.
    "clocks": r"""dmesg | sed -n 's/^\[[^]]*\] //; /Hypervisor detected/p; /kvm-clock/p; /x2apic/p; /tsc: Detected/p'
echo "clocks: $(cat /sys/devices/system/clocksource/clocksource0/available_clocksource)"
echo "seconds: $(date +%s)"
echo clocks: done
""",
    # A variable of the firmware's: what an earlier start left, and 1 when there was none.
    "firmware-variable": """mount -t efivarfs efivarfs /sys/firmware/efi/efivars || { echo "variable: no efivarfs"; exit; }
v=/sys/firmware/efi/efivars/EscalusMark-a3c5f8e2-7d14-4b6f-9e0b-5d2c1f7a8b90
old=0
[ -f $v ] && old=$(tail -c +5 $v | tr -d '\\0')
if [ "$old" = 0 ]; then printf '\\007\\000\\000\\0001' >$v; fi  # a second one could not: what is there is immutable
echo "variable: it was $old"
ls -d /sys/firmware/acpi/tables/FACP /sys/firmware/dmi/tables/DMI
""",
    "spin": "echo spinning; (while :; do :; done) &\n",
    # 64 blocks of 1 MiB, each its number (8 digits) and then lines of numbers.
    "write-disk": """while [ ! -b /dev/$disk ]; do sleep 0.2; done
echo "driver: $(readlink -f /sys/block/$disk) queue depth: $(cat /sys/block/$disk/device/queue_depth 2>/dev/null) \\
  cache: $(cat /sys/block/$disk/queue/write_cache) discard: $(cat /sys/block/$disk/queue/discard_max_bytes)"
echo "transfer mode: $(cat /sys/class/ata_device/*/xfer_mode)"
seq -w 1 200000 >/tmp/base
head -c 1048568 /tmp/base >/tmp/block
i=0; while [ $i -lt 64 ]; do printf '%08d' $i; cat /tmp/block; i=$((i+1)); done | \\
  dd of=/dev/$disk bs=1M iflag=fullblock conv=fsync && echo disk written || echo disk failed
""",
    # DHCP, 32 MiB by HTTP, and then it answers to whoever asks.
    "network": """for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && break; sleep 0.2; done
echo "card: $(basename "$(readlink -f /sys/class/net/eth0/device/driver)") $(cat /sys/class/net/eth0/address)"
mkdir -p /usr/share/udhcpc
cat >/tmp/lease <<'LEASE'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/${mask:-24} dev $interface
[ -n "$router" ] && ip route add default via $router
echo "lease: $ip from $serverid"
LEASE
chmod 755 /tmp/lease
ip link set lo up
ip link set eth0 up
udhcpc -f -q -n -t 20 -i eth0 -s /tmp/lease
for i in 1 2 3; do
  if wget -q -O /tmp/fetched http://${server:-10.0.2.2}/data; then
    set -- $(sha256sum /tmp/fetched); echo "fetched: $1 $(wc -c </tmp/fetched)"; break
  fi
done
ping -c 2 -W 20 ${server:-10.0.2.2} && echo "ping: answered"
grep -E 'virtio|eth0' /proc/interrupts
mkdir -p /tmp/page; cat /proc/sys/kernel/ostype >/tmp/page/ostype; httpd -p 80 -h /tmp/page
echo network: done
while :; do
  link=$(cat /sys/class/net/eth0/carrier)
  [ "$link" = "$before" ] || echo "carrier: $link"
  before=$link
  sleep 1
done
""",
    # What is found, 8 MiB written to a USB disk and read back, then the events of tablet and keyboard.
    "usb": """for m in uhci-hcd xhci-pci usb-storage sd_mod usbhid hid-generic evdev; do modprobe $m; done
for i in $(seq 300); do
  [ -b /dev/$disk ] && grep -q Tablet /proc/bus/input/devices && grep -q 'USB Keyboard' /proc/bus/input/devices && break
  sleep 0.5
done
for d in /sys/bus/usb/devices/*; do
  [ -f $d/product ] && echo "usb: $(cat $d/idVendor):$(cat $d/idProduct) $(cat $d/product)"
done
echo "driver: $(readlink -f /sys/block/$disk)"
echo "size: $(cat /sys/block/$disk/size)"
seq -w 1 200000 >/tmp/base
head -c 1048568 /tmp/base >/tmp/block
read -r before _ </proc/uptime
i=0; while [ $i -lt 8 ]; do printf '%08d' $i; cat /tmp/block; i=$((i+1)); done | \\
  dd of=/dev/$disk bs=1M iflag=fullblock conv=fsync && echo disk written || echo disk failed
read -r after _ </proc/uptime
echo "written from $before to $after s"
echo 3 >/proc/sys/vm/drop_caches
set -- $(head -c 8388608 /dev/$disk | sha256sum); echo "disk holds $1"
for e in /sys/class/input/event*; do
  name=$(cat $e/device/name)
  echo "input: $name"
  case $name in *Tablet*) what=tablet;; *USB\\ Keyboard*) what=keyboard;; *) continue;; esac
  while :; do echo "$what: $(dd bs=24 count=1 2>/dev/null | hexdump -v -e '24/1 "%02x"')"; done </dev/input/${e##*/} &
done
grep -i hci /proc/interrupts
echo usb: ready
sleep 600
""",
    # Waits for Enter between its steps: the test changes the medium then.
    "change-cd": """while [ ! -b /dev/sr0 ]; do sleep 0.2; done
step() { echo "cd: $1"; read -r line </dev/tty1; }
contents() { mount -t iso9660 -o ro /dev/sr0 /mnt && ls /mnt | tr '\\n' ' '; }
echo "contents: $(contents)"
step mounted
umount /mnt
step unmounted
echo "contents: $(contents)"
step mounted-second
echo 1 >/proc/sys/dev/cdrom/autoeject
umount /mnt
echo 0 >/proc/sys/dev/cdrom/autoeject
step ejected
mount -t iso9660 -o ro /dev/sr0 /mnt
echo "mount without a medium: $?"
step empty
echo "again: $(contents)"
umount /mnt
""",
    # The open descriptor keeps what was read in memory until the drive says that the disk was changed.
    "change-floppy": """modprobe floppy
while [ ! -b /dev/fd0 ]; do sleep 0.2; done
step() { echo "floppy: $1"; read -r line </dev/tty1; }
start() { head -c 8 /dev/fd0; }
exec 3</dev/fd0
echo "disk: $(start)"
step one
echo "disk: $(start)"
exec 3<&-
step two
start || echo "without a disk: $?"
step three
echo "disk: $(start)"
echo third-w | dd of=/dev/fd0 bs=512 count=1 conv=sync,fsync || echo "write-protected: $?"
step four
echo fourth-w | dd of=/dev/fd0 bs=512 count=1 conv=sync,fsync && echo "written: $(start)"
""",
    "write-files": """while [ ! -b /dev/$disk ]; do sleep 0.2; done
mount -t ext4 /dev/$disk /mnt || exit
i=1
while [ $i -le 500 ]; do
  j=0; while [ $j -lt 2000 ]; do echo content $i; j=$((j+1)); done >/mnt/file$i
  sync; echo synced $i; i=$((i+1))
done
""",
}


def old_system(name):
    """An image of the folder of old systems (see paths.GUESTS)."""
    path = paths.GUESTS / name
    if not path.is_file():
        raise LabError(f"{path} is not there")
    return path


def guest_kernel():
    """Debian's generic kernel: unlike the cloud one it has drivers for IDE."""
    return packages.kernel("generic")


def guest_initramfs(scripts=None, modules=(), flavour="generic",
                    padding=0, on_demand=(), programs=()):
    """A small Linux system for guests: says on the console that it is up, runs the script that the kernel's
    command line names (escalus.run=NAME), then powers off, reboots or stays (escalus.then=)."""
    _, folder, version = packages.kernel(flavour)
    archive = initramfs.base(folder, version, modules, on_demand)
    archive.file("init", GUEST_INIT.encode(), 0o755)
    for name, text in (scripts or {}).items():
        archive.file(f"scripts/{name}", text.encode(), 0o755)
    for program in programs:
        archive.copy(program, f"bin/{program.name}")
    if padding:
        # What an installer's initramfs is mostly made of: bytes that nobody reads during boot.
        archive.file("usr/share/padding", hashlib.sha256(b"padding").digest() * (padding // 32))
    return initramfs.write(archive, f"guest-{flavour}" + ("-padded" if padding else ""))


def small_linux_iso(command_line="console=ttyS0 quiet", flavour="cloud"):
    """GRUB, Debian's kernel and an initramfs of about 20 MB: the ISO of the benchmark and of quick tests."""
    kernel = packages.kernel(flavour)[0]
    initrd = guest_initramfs(modules=(), flavour=flavour, padding=18 << 20)
    menu = f"""set timeout=0
menuentry "small Linux" {{
  linux /vmlinuz {command_line}
  initrd /initrd.cpio
}}
"""
    return grub_iso(f"small-linux-{flavour}.iso", menu, {"vmlinuz": kernel, "initrd.cpio": initrd})


def uefi_linux_iso():
    """GRUB for UEFI, Debian's kernel and the guests' initramfs: a CD, and a disk too."""
    initrd = guest_initramfs(GUEST_SCRIPTS, ("button", "efivarfs"), "cloud")
    menu = """set timeout=0
menuentry "Linux" {
  linux /vmlinuz console=ttyS0 quiet escalus.run=firmware-variable
  initrd /initrd.cpio
}
"""
    return grub_iso("uefi-linux.iso", menu, {"vmlinuz": packages.kernel("cloud")[0], "initrd.cpio": initrd},
                    ("x86_64-efi",))


def from_package(package, inside):
    """A file of a Debian package that is unpacked into the cache."""
    path = packages.unpacked(package) / inside
    if not path.is_file():
        raise LabError(f"the package {package} has no file {inside}")
    return path
