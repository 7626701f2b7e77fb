# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests by direct boot: power off and reboot, disks, two at once."""
import hashlib
import itertools
import re
import time

from lab.testing import Skip, boot_test, require, running_guests, wait_for

TESTS = "/usr/share/escalus-tests"
PATTERN_BYTES = 64 << 20


def _linux(context, name, flavour="linux-cloud", extra="", **more):
    more.setdefault("memory", 256)
    return context.create(name, kernel=f"{TESTS}/{flavour}", ramdisk=f"{TESTS}/initramfs-{flavour}",
                          extra=" ".join(f"console=ttyS0 quiet {extra} {context.kernel_words}".split()), **more)


@boot_test("linux-poweroff", "Debian's cloud kernel: user space, power off by ACPI, `create` returns 0", quick=True,
           also_on=("vmx",), also_long_on=("bochs-svm",))
def poweroff(context):
    guest = _linux(context, "poweroff")
    guest.wait_serial(r"guest: user space reached", 240)
    code = guest.wait_end(90)
    require(code == 0, f"`escalus create` returned {code}:\n{guest.log()}")
    require(guest.state() is None, "the guest is still listed")


@boot_test("interrupts-once",
           "a guest in user mode gets each interrupt once, though the emulator is stopped 15000 times")
def interrupts_once(context):
    if context.shared.target != "svm":
        raise Skip("it is about QEMU's own emulation of AMD-V")
    guest = _linux(context, "once", extra="tsc=reliable escalus.run=spin escalus.then=stay")
    guest.wait_serial(r"spinning", 240)
    context.lab.emulator.command_monitor_often(["stop", "cont"], 15000)
    said = guest.serial()
    require(not re.search(r"BUG:|Oops|not syncing|Call Trace", said), f"the guest's kernel complains:\n{said[-3000:]}")
    require(guest.state() is not None, "the guest is gone")


@boot_test("linux-reboot", "reboot with on_reboot = 'restart': it comes up again; then destroyed")
def reboot(context):
    guest = _linux(context, "reboot", extra="escalus.then=reboot", on_reboot="restart")
    wait_for("the guest has come up twice",
             lambda: guest.serial().count("guest: user space reached") >= 2, 400, pause=2)
    require(guest.state() is not None, "the guest is not listed after its reboot")


@boot_test("linux-lifecycle", "pause stops it, unpause lets it go on; list, stat and dmesg say so")
def lifecycle(context):
    guest = _linux(context, "lifecycle", extra="escalus.run=count escalus.then=stay")
    guest.wait_serial(r"count 2\b", 240)
    context.run(["escalus", "pause", guest.name], check=True)
    require("p" in str(guest.state()["state"]), f"no paused state in {guest.state()}")
    before = guest.serial()
    time.sleep(5)
    require(guest.serial() == before, "a paused guest went on")
    context.run(["escalus", "unpause", guest.name], check=True)
    wait_for("it goes on", lambda: len(guest.serial()) > len(before), 60)
    listed = context.run("escalus list", check=True).text
    head, control_os, line = (row.split() for row in listed.splitlines())
    require(head == ["Name", "ID", "Mem", "VCPUs", "State", "Time(s)"], listed)
    require(control_os[:2] == ["Domain-0", "0"] and control_os[3:5] == ["1", "r-----"], listed)
    require(line[0] == guest.name and int(line[1]) >= 1 and line[2:4] == ["256", "1"], listed)
    require(int(control_os[2]) > 128 and float(control_os[5]) > float(line[5]) > 0, listed)
    counted = context.run(["escalus", "stat", guest.name], check=True).text
    require(counted.strip(), "`escalus stat` is empty")
    require("Escalus" in context.run("escalus dmesg", check=True).text, "`escalus dmesg` is empty")


def _pattern():
    """What the guest's script `write-disk` writes."""
    lines = "".join(f"{number:06d}\n" for number in range(1, 200001)).encode()[:(1 << 20) - 8]
    whole = b"".join(b"%08d" % block + lines for block in range(PATTERN_BYTES >> 20))
    return hashlib.sha256(whole).hexdigest()


def _write_disk(context, name, extra, expected, device="hda", **keys):
    disk = context.writable("data0")
    guest = _linux(context, name, "linux", extra=f"escalus.run=write-disk {extra}",
                   disks=[f"/media/{disk.name},raw,{device},rw"], **keys)
    text = guest.wait_serial(r"disk written", 900)
    require(re.search(expected, text), f"no {expected!r}: the guest's disk does not run as it should:\n{text}")
    require(guest.wait_end(120) == 0, guest.log())
    context.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    inside = context.run(f"head -c {PATTERN_BYTES} /media/{disk.name} | sha256sum", timeout=300).text.split()[0]
    with open(disk.path, "rb") as image:
        outside = hashlib.sha256(image.read(PATTERN_BYTES)).hexdigest()
    require(inside == outside == _pattern(), "what the guest wrote is not what the host reads")


@boot_test("disk-dma", "64 MiB to an IDE disk by DMA; the host reads back the same bytes")
def disk_dma(context):
    _write_disk(context, "disk-dma", "", "transfer mode: XFER_.*DMA")


@boot_test("disk-pio", "64 MiB to an IDE disk by PIO; the host reads back the same bytes")
def disk_pio(context):
    _write_disk(context, "disk-pio", "libata.dma=0", "transfer mode: XFER_.*PIO")


@boot_test("disk-virtio", "64 MiB to a virtio disk; the host reads back the same bytes")
def disk_virtio(context):
    _write_disk(context, "disk-virtio", "escalus.disk=vda", r"driver: \S*virtio\S* .*cache: write back discard: [1-9]",
                "xvda")


@boot_test("disk-ahci", "64 MiB to an AHCI disk by queued commands; the host reads back the same bytes")
def disk_ahci(context):
    _write_disk(context, "disk-ahci", "", r"queue depth: 32", hdtype="ahci")


@boot_test("disk-nvme", "64 MiB to an NVMe disk; the host reads back the same bytes")
def disk_nvme(context):
    _write_disk(context, "disk-nvme", "escalus.disk=nvme0n1",
                r"driver: \S*nvme\S* .*cache: write back discard: [1-9]", "nvme0n1")


def _kill(context, name, extra="", device="hda", **keys):
    disk = context.writable("data1")
    context.run(f"/sbin/mke2fs -q -F -t ext4 /media/{disk.name}", check=True)
    guest = _linux(context, name, "linux", extra=f"escalus.run=write-files escalus.then=stay {extra}",
                   disks=[f"/media/{disk.name},raw,{device},rw"], **keys)
    guest.wait_serial(r"synced 5\b", 400)
    synced = guest.serial().count("synced ")
    pid = context.run(f"cat /run/escalus/{guest.name}/pid", check=True).text.split()[-1]
    context.run(f"kill -9 {pid}", check=True)
    wait_for("`create` has noticed", lambda: guest.result() is not None, 60)
    wait_for("no guest is listed", lambda: guest.state() is None, 60)
    left = running_guests(context.lab)
    require(not left, f"a VM is left: {left}")
    context.run("sync")
    check = context.run(f"/sbin/e2fsck -f -y /media/{disk.name}", timeout=300)
    require(check.code in (0, 1), f"e2fsck: {check}")
    context.run(f"mount -o ro /media/{disk.name} /mnt", check=True)
    try:
        for number in range(1, synced + 1):
            content = context.run(f"cat /mnt/file{number}").text
            require(content == f"content {number}\n" * 2000, f"file{number} was synced, but is damaged")
    finally:
        context.run("umount /mnt")


@boot_test("disk-kill", "kill -9 of the device model while the guest writes: fsck repairs, no VM is left")
def disk_kill(context):
    _kill(context, "disk-kill")


@boot_test("virtio-kill", "the same with a virtio disk")
def virtio_kill(context):
    _kill(context, "virtio-kill", "escalus.disk=vda", "xvda")


@boot_test("ahci-kill", "the same with an AHCI disk and its queue")
def ahci_kill(context):
    _kill(context, "ahci-kill", hdtype="ahci")


@boot_test("nvme-kill", "the same with an NVMe disk")
def nvme_kill(context):
    _kill(context, "nvme-kill", "escalus.disk=nvme0n1", "nvme0n1")


def _image_guest(context, name, disk, device="vda"):
    """A guest that writes 64 MiB to a disk; what it said."""
    guest = _linux(context, name, "linux", extra=f"escalus.run=write-disk escalus.disk={device}", disks=[disk])
    text = guest.wait_serial(r"disk (written|failed)", 900)
    require(guest.wait_end(120) == 0, guest.log())
    return guest, text


@boot_test("disk-qcow2", "64 MiB to a qcow2 image, and through a server by URI; both hold the same bytes")
def disk_qcow2(context):
    context.run("qemu-img create -q -f qcow2 /tmp/disk.qcow2 96M", check=True)
    _, text = _image_guest(context, "disk-qcow2", "/tmp/disk.qcow2,qcow2,xvda,rw")
    require("disk written" in text, text)
    require(context.run("pidof qemu-nbd").code != 0, "qemu-nbd outlived its guest")
    context.run("qemu-img check -q /tmp/disk.qcow2 && qemu-img convert -O raw /tmp/disk.qcow2 /tmp/disk.raw && "
                "rm /tmp/disk.qcow2", check=True, timeout=600)
    digest = context.run(f"head -c {PATTERN_BYTES} /tmp/disk.raw | sha256sum", timeout=300).text.split()[0]
    require(digest == _pattern(), "what the guest wrote is not in the image")
    context.run("rm /tmp/disk.raw; truncate -s 96M /tmp/nbd.raw; qemu-nbd --fork --persistent --format=raw "
                "--pid-file=/tmp/nbd.pid --socket=/tmp/nbd.sock /tmp/nbd.raw", check=True)
    try:
        _, text = _image_guest(context, "disk-nbd", "nbd+unix:///?socket=/tmp/nbd.sock,,xvda,rw")
        require("disk written" in text, text)
        digest = context.run(f"head -c {PATTERN_BYTES} /tmp/nbd.raw | sha256sum", timeout=300).text.split()[0]
        require(digest == _pattern(), "what the guest wrote is not what the server has")
    finally:
        context.run("kill $(cat /tmp/nbd.pid); rm -f /tmp/nbd.raw")


@boot_test("qcow2-kill", "kill -9 of the device model: its qemu-nbd ends, the image is whole, synced files are there")
def qcow2_kill(context):
    context.run("/sbin/mke2fs -q -F -t ext4 /tmp/kill.raw 96M && qemu-img convert -f raw -O qcow2 /tmp/kill.raw "
                "/tmp/kill.qcow2 && rm /tmp/kill.raw", check=True)
    guest = _linux(context, "qcow2-kill", "linux", extra="escalus.run=write-files escalus.then=stay escalus.disk=vda",
                   disks=["/tmp/kill.qcow2,qcow2,xvda,rw"])
    guest.wait_serial(r"synced 5\b", 400)
    synced = guest.serial().count("synced ")
    context.run(f"kill -9 $(tail -n 1 /run/escalus/{guest.name}/pid)", check=True)
    wait_for("`create` has noticed", lambda: guest.result() is not None, 60)
    wait_for("qemu-nbd has ended", lambda: context.run("pidof qemu-nbd").code != 0, 60)
    context.run("qemu-img check -q /tmp/kill.qcow2 && qemu-img convert -O raw /tmp/kill.qcow2 /tmp/kill.raw",
                check=True, timeout=300)
    check = context.run("/sbin/e2fsck -f -y /tmp/kill.raw", timeout=300)
    require(check.code in (0, 1), f"e2fsck: {check}")
    context.run("mount -o ro,loop /tmp/kill.raw /mnt", check=True)
    try:
        for number in range(1, synced + 1):
            content = context.run(f"cat /mnt/file{number}").text
            require(content == f"content {number}\n" * 2000, f"file{number} was synced, but is damaged")
    finally:
        context.run("umount /mnt; rm -f /tmp/kill.*")


@boot_test("disk-snapshot", "64 MiB to a disk in snapshot mode: the guest is content, the image as it was")
def disk_snapshot(context):
    # Room for what is written: the control OS's root holds half of its memory, and much of that is taken.
    context.run("truncate -s 96M /tmp/snapshot.raw; mkdir -p /var/tmp && mount -t tmpfs -o size=100m tmpfs /var/tmp",
                check=True)
    try:
        _, text = _image_guest(context, "disk-snapshot", "/tmp/snapshot.raw,raw,xvda,rw,snapshot")
        require("disk written" in text, text)
        used = context.run("du -k /tmp/snapshot.raw; rm /tmp/snapshot.raw").text.split()[0]
    finally:
        context.run("umount /var/tmp")
    require(used == "0", f"{used} KiB of the image were written")


@boot_test("disk-full", "the image's file system is full: every controller tells its guest, the user hears once",
           long=True)  # six minutes
def disk_full(context):
    for name, device, inside, keys in (("full-ide", "hda", "sda", {}), ("full-ahci", "hda", "sda", {"hdtype": "ahci"}),
                                       ("full-virtio", "xvda", "vda", {}), ("full-nvme", "nvme0n1", "nvme0n1", {})):
        context.run("mkdir -p /tmp/full && mount -t tmpfs -o size=24m tmpfs /tmp/full && "
                    "truncate -s 96M /tmp/full/disk", check=True)
        try:
            guest = _linux(context, name, "linux", extra=f"escalus.run=write-disk escalus.disk={inside}",
                           disks=[f"/tmp/full/disk,raw,{device},rw"], **keys)
            text = guest.wait_serial(r"disk (written|failed)", 900)
            require("disk failed" in text, f"{name}: writes beyond what there is succeeded:\n{text}")
            require(guest.wait_end(120) == 0, guest.log())
            said = guest.log().count("failed: No space left on device")
            require(said == 1, f"{name}: the user was told {said} times:\n{guest.log()}")
        finally:
            context.run("umount /tmp/full")


@boot_test("disk-firmware", "SeaBIOS starts GRUB from an AHCI disk, an AHCI CD-ROM, a virtio and an NVMe disk")
def disk_firmware(context):
    medium = context.media("grub-rescue")
    for name, boot, disk, keys in (("from-ahci", "c", "hda,r", {"hdtype": "ahci"}),
                                   ("from-ahci-cd", "d", "hdc,cdrom", {"hdtype": "ahci"}),
                                   ("from-virtio", "c", "xvda,r", {}), ("from-nvme", "c", "nvme0n1,r", {})):
        guest = context.create(name, display=1, boot=boot, disks=[f"{medium},raw,{disk}"], **keys)
        guest.grub_prompt()
        guest.destroy()
        wait_for(f"{name} is gone", lambda guest=guest: guest.state() is None, 60)


@boot_test("two-guests", "two guests at once, from two device models, and one more on a screen",
           also_long_on=("vmx",))
def two_guests(context):
    first = _linux(context, "one", extra="escalus.run=count escalus.then=stay")
    second = _linux(context, "two", extra="escalus.run=count escalus.then=stay")
    third = context.create("three", display=1, boot="d", disks=[f"{context.media('grub-rescue')},raw,hdc,cdrom"])
    for guest in (first, second):
        guest.wait_serial(r"count 3\b", 500)
    third.grub_prompt()
    ids = [guest.state()["id"] for guest in (first, second, third)]
    require(len(set(ids)) == 3, f"the IDs are not different: {ids}")
    first.destroy()
    wait_for("one is gone", lambda: first.state() is None, 60)
    before = len(second.serial())
    wait_for("the other goes on", lambda: len(second.serial()) > before, 60)


@boot_test("responsive", "the control OS stays responsive while a guest is busy, and loses no time")
def responsive(context):
    guest = _linux(context, "busy", extra="escalus.run=spin escalus.then=stay")
    guest.wait_serial(r"spinning", 240)
    began = time.monotonic()
    for _ in itertools.repeat(None, 10):
        context.run("true", check=True)
    require(time.monotonic() - began < 30, "ten commands took longer than 30 s")
    inside = context.run("read a _ </proc/uptime; sleep 5; read b _ </proc/uptime; echo $a $b").text.split()
    slept = float(inside[1]) - float(inside[0])
    require(4.9 < slept < 8, f"five seconds of sleep took {slept} s of the control OS's time")
