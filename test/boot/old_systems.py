# SPDX-License-Identifier: GPL-2.0-or-later
"""Old systems, as their makers left them. Their media stand beside the source tree; without them the tests are
skipped."""
from lab.testing import boot_test


@boot_test("netbsd-5.99", "NetBSD 5.99 from a hard disk: its boot blocks, autoconfiguration, g4u's shell")
def netbsd(context):
    # In memory, so that the guest may write.
    context.run(f"cp {context.media('netbsd-5.99')} /tmp/netbsd.img", check=True)
    guest = context.create("netbsd", display=0, memory=96, boot="c", disks=["/tmp/netbsd.img,raw,hda,w"])
    guest.wait_text(r"Kernelized RAIDframe activated", 400)
    guest.picture("autoconfiguration")
    guest.wait_text(r"g4u>", 400)
    guest.picture("shell")
    guest.keep_text("shell")
    with guest.viewer() as viewer:
        viewer.type("disks\n")
    guest.wait_text(r"g4u> disks[\s\S]*wd0", 60)
    guest.keep_text("disks")


def _floppy(context, name, memory, **keys):
    """Boots a floppy disk from drive A, from a copy that the guest may write to."""
    context.run(f"cat {context.media(name)} >/tmp/{name}.img", check=True)
    return context.create(name, display=0, memory=memory, boot="a", disks=[f"/tmp/{name}.img,raw,fda,w"], **keys)


@boot_test("freedos", "FreeDOS from a 720 KB floppy disk: its prompt; `dir` typed over VNC is answered")
def freedos(context):
    guest = _floppy(context, "freedos", 16)
    guest.wait_text(r"A:\\>", 240)
    guest.picture("prompt")
    with guest.viewer() as viewer:
        viewer.type("dir\n")
    guest.wait_text(r"bytes free", 60)
    guest.keep_text("dir")
    guest.picture("dir")


@boot_test("floppinux", "Linux and busybox from a 2.88 MB floppy disk: its shell")
def floppinux(context):
    guest = _floppy(context, "floppinux", 128)
    guest.wait_text(r"^.*# *$", 400)
    guest.picture("shell")
    guest.keep_text("shell")
    with guest.viewer() as viewer:
        viewer.type("echo a'b'c\n")
    guest.wait_text(r"^abc", 60)


@boot_test("openbsd-5.1", "OpenBSD 5.1's install floppy: boot loader, kernel by the MP table, the installer's question")
def openbsd(context):
    guest = _floppy(context, "openbsd-5.1", 256)
    guest.wait_text(r"boot>", 240)
    guest.picture("loader")
    guest.wait_text(r"\(I\)nstall, \(U\)pgrade or \(S\)hell\?", 600)
    guest.picture("installer")
    guest.keep_text("installer")
    with guest.viewer() as viewer:
        viewer.type("s\n")
    guest.wait_text(r"^# ", 60)
    with guest.viewer() as viewer:
        viewer.type("dmesg | grep -i fd; dd if=/dev/rfd0c of=/dev/null bs=18k count=4\n")
    guest.wait_text(r"73728 bytes", 120)
    guest.keep_text("floppy")


@boot_test("plan9", "Plan 9 (9atom) from its CD: its loader's menu takes a key, its kernel finds the CD",
           long=True)  # minutes: loader and kernel poll empty places of the IDE controller a million times
def plan9(context):
    guest = context.create("plan9", display=0, memory=256, boot="d", disks=[f"{context.media('plan9')},,hdc,cdrom"])
    guest.wait_text(r"Selection:", 900)
    guest.picture("menu")
    with guest.viewer() as viewer:
        viewer.type("2\n")
    guest.wait_text(r"root is from .*local!#S/sdD0/data\]", 900)
    guest.keep_text("kernel")
    guest.picture("kernel")
