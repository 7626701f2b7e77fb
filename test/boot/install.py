# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole installation, as every run of the tests can afford it: a CD's system partitions a disk, makes a file
system, copies a system and installs GRUB; the machine restarts from the disk and finds what was installed
(tools/lab/quick_install.py)."""
import re

from lab.testing import boot_test, require


def _install(context, name, vcpus, device="hda", **keys):
    cd = context.media("quick-install")
    disk = f"/media/{context.writable('data0').name}"
    context.run(f"dd if=/dev/zero of={disk} bs=1M count=2 conv=fsync", check=True)  # no boot record, no partitions
    # The CD boots as long as there is nothing on the disk.
    guest = context.create(name, memory=256, boot="cd", on_reboot="restart", vcpus=vcpus,
                           disks=[f"{disk},raw,{device},rw", f"{cd},raw,hdc,cdrom"], **keys)
    failed = r"|install: FAILED.*|not syncing.*"
    text = guest.wait_serial(r"install: onto .*" + failed, 600)
    text = guest.wait_serial(r"install: done" + failed, 900)
    require("FAILED" not in text, text)
    onto = re.search(r"install: onto (\w+), (\d+) processors, (\S+)", text)
    written = re.search(r"install: mark (\w+), (\d+) files", text)
    require(onto and written, text)
    require(int(onto[2]) == vcpus, f"{onto[2]} processors instead of {vcpus}:\n{text}")
    text = guest.wait_serial(r"installed: \d+ files are" + failed, 900)
    started = re.search(r"installed: started from /dev/(\w+?)p?1 after .*, (\d+) processors, mark (\w+)", text)
    require(started, text)
    require(started[1] == onto[1] and int(started[2]) == vcpus, text)
    require(started[3] == written[1], f"another mark than was written:\n{text}")
    intact = re.search(r"installed: (\d+) files are as they were written", text)
    require(intact and intact[1] == written[2], f"not every file is what was written:\n{text}")
    require(guest.wait_end(180) == 0, guest.log())
    return onto[3]


# Every controller and both numbers of processors in the daily run; the other combinations take as long again.
DAILY = {("ide", 1), ("ahci", 2), ("virtio", 1), ("nvme", 2)}


def _register(kind, what, vcpus, where, **keys):
    name = f"install-{kind}-{vcpus}"

    @boot_test(name, f"installs a small Linux on {what} and starts it from there, {vcpus} vCPU{'s'[:vcpus - 1]}",
               long=(kind, vcpus) not in DAILY)
    def body(context):
        path = _install(context, name, vcpus, **keys)
        require(re.search(where, path), f"the disk is at another place: {path}")


for _vcpus in (1, 2):
    _register("ide", "an IDE disk", _vcpus, r"/ata\d+/")
    _register("ahci", "an AHCI disk", _vcpus, r"/ata\d+/", hdtype="ahci")
    _register("virtio", "a virtio disk", _vcpus, r"/virtio\d+/", device="vda")
    _register("nvme", "an NVMe disk", _vcpus, r"/nvme/nvme\d+/", device="nvme0n1")
