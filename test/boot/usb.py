# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest with USB devices: a disk, and a tablet and a keyboard that a viewer uses."""
import hashlib
import itertools
import re
import time

from lab.testing import boot_test, require, wait_for

TESTS = "/usr/share/escalus-tests"
DISK_BYTES = 8 << 20
ABS, KEY = "0300", "0100"  # event types, little-endian
ABS_X, KEY_A = "0000", "1e00"


def _pattern():
    """What the guest's script `usb` writes."""
    lines = "".join(f"{number:06d}\n" for number in range(1, 200001)).encode()[:(1 << 20) - 8]
    return hashlib.sha256(b"".join(b"%08d" % block + lines for block in range(DISK_BYTES >> 20))).hexdigest()


def _event(what, kind, code, value):
    """How the guest prints it, after the time."""
    return rf"{what}: [0-9a-f]{{32}}{kind}{code}{value.to_bytes(4, 'little').hex()}"


def _usb_linux(context, name, products, **keys):
    disk = context.writable("data0")
    context.run(f"dd if=/dev/zero of=/media/{disk.name} bs=1M count={DISK_BYTES >> 20} conv=fsync", check=True)
    guest = context.create(name, memory=256, display=1, kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux",
                           extra=f"console=ttyS0 quiet escalus.run=usb {context.kernel_words}",
                           usbdevice=["tablet", "keyboard", f"disk:/media/{disk.name}"], **keys)
    said = guest.wait_serial(r"usb: ready", 900)
    for product in ("0627:0001 Escalus USB Tablet", "0627:0001 Escalus USB Keyboard", "46f4:0001 Escalus USB Disk",
                    *products):
        require(f"usb: {product}" in said, f"no {product}:\n{said}")
    require("disk written" in said, f"the disk:\n{said}")
    require(f"disk holds {_pattern()}" in said, f"the guest reads something else than it wrote:\n{said}")
    context.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    with open(disk.path, "rb") as image:
        require(hashlib.sha256(image.read(DISK_BYTES)).hexdigest() == _pattern(), "the host reads something else")
    with guest.viewer() as viewer:
        shot = viewer.screenshot()
        # Each time another place, as a position that does not change is no event.
        for step in itertools.count():
            x, y = shot.width - 1 - step % 2, step % 2
            viewer.pointer(x, y)
            viewer.key("a")
            wanted = [_event("tablet", ABS, ABS_X, x * 32767 // (shot.width - 1)),
                      _event("keyboard", KEY, KEY_A, 1), _event("keyboard", KEY, KEY_A, 0)]
            said = guest.serial()
            if all(re.search(pattern, said) for pattern in wanted):
                break
            require(step < 60, f"no {wanted} in\n{said[-2000:]}")
            time.sleep(1)
    guest.destroy()


@boot_test("usb-linux", "Linux finds tablet, keyboard and disk behind a hub; 8 MiB to the disk; the viewer's pointer and keys")
def usb_linux(context):
    _usb_linux(context, "usb", ["0409:55aa Escalus USB Hub", "1d6b:0001 UHCI Host Controller"])


@boot_test("usb-xhci", "the same with an xHCI controller")
def usb_xhci(context):
    _usb_linux(context, "usb-xhci", ["1d6b:0002 xHCI Host Controller"], usbversion=3)


@boot_test("usb-firmware", "SeaBIOS starts GRUB from a USB disk, and types with a USB keyboard; UHCI and xHCI")
def usb_firmware(context):
    medium = context.media("grub-rescue")
    for version in (1, 3):
        guest = context.create(f"from-usb-{version}", display=1, boot="c", usbversion=version, snapshot=1,
                               usbdevice=["keyboard", f"disk:{medium}"])
        guest.grub_prompt()
        guest.destroy()
        wait_for(f"{guest.name} is gone", lambda guest=guest: guest.state() is None, 60)
