# SPDX-License-Identifier: GPL-2.0-or-later
"""Media that are changed while the guest runs."""
import subprocess
import tempfile
from pathlib import Path

from lab.testing import boot_test, require

TESTS = "/usr/share/escalus-tests"


def _data_cd(context, name):
    """A small CD image in the control OS with one file, NAME.txt."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        Path(tree, f"{name}.txt").write_text(f"this is the {name} CD\n")
        image = Path(folder, "cd.iso")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", name, "-r", "-o", image, tree], check=True,
                       capture_output=True)
        context.lab.channel.put(image.read_bytes(), f"/tmp/{name}.iso")
    return f"/tmp/{name}.iso"


def _change_cd(context, name, **keys):
    first, second = _data_cd(context, "first"), _data_cd(context, "second")
    guest = context.create(name, kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux", memory=256,
                           extra=f"console=tty0 console=ttyS0 quiet escalus.run=change-cd {context.kernel_words}",
                           disks=[f"{first},,hdc,cdrom"], **keys)
    def go_on():
        context.run(["escalus", "send-key", name, "--text", r"\n"], check=True)

    def refuses(*command):
        refused = context.run(["escalus", *command])
        require(refused.code == 1 and "locked" in refused.error_text, f"{command} of a locked drive: {refused}")

    def medium():
        return context.run(["escalus", "block-list", name], check=True).text.splitlines()[1].split()[2]

    guest.wait_serial(r"contents: first.txt", 400)
    guest.wait_serial(r"cd: mounted", 60)
    refuses("cd-insert", name, second)  # the guest has locked the drive
    require(medium() == first, "the CD is not there any more")
    go_on()
    guest.wait_serial(r"cd: unmounted", 60)
    context.run(["escalus", "cd-insert", name, "hdc", second], check=True)
    go_on()
    guest.wait_serial(r"contents: second.txt", 120)
    guest.wait_serial(r"cd: mounted-second", 60)
    refuses("cd-eject", name)
    go_on()
    # The guest opens the tray by itself, and the medium that the user wanted is taken from it.
    guest.wait_serial(r"cd: ejected", 60)
    require(medium() == "-", "the guest has opened the tray, and the CD is still there")
    go_on()
    guest.wait_serial(r"mount without a medium: [1-9]", 60)
    guest.wait_serial(r"cd: empty", 60)
    context.run(["escalus", "cd-insert", name, first], check=True)
    go_on()
    guest.wait_serial(r"again: first.txt", 120)
    require(guest.wait_end(120) == 0, guest.log())


@boot_test("change-cd", "a Linux guest sees the CD that `cd-insert` puts in, locks the drive, ejects by itself (IDE)")
def change_cd(context):
    _change_cd(context, "change-cd")


@boot_test("change-cd-ahci", "the same with the CD-ROM drive on AHCI")
def change_cd_ahci(context):
    _change_cd(context, "change-cd-ahci", hdtype="ahci")


@boot_test("change-bad", "media that cannot be inserted: each with its reason, and nothing changed")
def change_bad(context):
    first = _data_cd(context, "first")
    guest = context.create("change-bad", kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux", memory=256,
                           extra="console=ttyS0 escalus.then=stay", disks=[f"{first},,hdc,cdrom", ",,fda"])
    context.run("truncate -s 5000 /tmp/odd.img; truncate -s 2949120 /tmp/big.img; : >/tmp/empty.img", check=True)
    for command, reason in ((["cd-insert", guest.name, "/tmp/none.iso"], "No such file"),
                            (["cd-insert", guest.name, "/tmp"], "is a directory"),
                            (["cd-insert", guest.name, "/tmp/empty.img"], "is empty"),
                            (["cd-insert", guest.name, "hdd", first], "no CD-ROM drive hdd; it has hdc"),
                            (["cd-insert", "nobody", first], "nobody"),
                            (["floppy-insert", guest.name, "/tmp/odd.img", "-r"], "is no floppy disk"),
                            (["floppy-insert", guest.name, "/tmp/big.img"], "does not fit into this drive"),
                            (["floppy-eject", guest.name, "fdb"], "no floppy drive fdb; it has fda")):
        done = context.run(["escalus", *command])
        require(done.code == 1 and reason in done.error_text, f"{command}: {done}")
    listed = context.run(["escalus", "block-list", guest.name], check=True).text
    require([line.split() for line in listed.splitlines()[1:]] == [["fda", "floppy", "-"], ["hdc", "cdrom", first]],
            listed)


@boot_test("change-floppy", "a Linux guest sees by the change line that the floppy disk is another, none, "
           "write-protected; it writes to one")
def change_floppy(context):
    for number in ("first", "second", "third", "fourth"):
        context.lab.channel.put(f"{number:8}".encode() + bytes(1440 * 1024 - 8), f"/tmp/{number}.img")
    name = "change-floppy"
    guest = context.create(name, kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux", memory=256,
                           extra=f"console=tty0 console=ttyS0 quiet escalus.run={name} {context.kernel_words}",
                           disks=["/tmp/first.img,raw,fda,w"])

    def change(*command):
        context.run(["escalus", *command], check=True)
        context.run(["escalus", "send-key", name, "--text", r"\n"], check=True)

    guest.wait_serial(r"disk: first", 400)
    guest.wait_serial(r"floppy: one", 60)
    change("floppy-insert", name, "/tmp/second.img")
    guest.wait_serial(r"disk: second", 120)
    guest.wait_serial(r"floppy: two", 60)
    change("floppy-eject", name, "fda")
    guest.wait_serial(r"without a disk: [1-9]", 120)
    guest.wait_serial(r"floppy: three", 60)
    change("floppy-insert", "-r", name, "fda", "/tmp/third.img")
    guest.wait_serial(r"disk: third", 120)
    guest.wait_serial(r"write-protected: [1-9]", 120)
    guest.wait_serial(r"floppy: four", 60)
    change("floppy-insert", name, "/tmp/fourth.img")
    guest.wait_serial(r"written: fourth-w", 120)
    require(guest.wait_end(120) == 0, guest.log())
    require(context.run("head -c 8 /tmp/third.img; head -c 8 /tmp/fourth.img", check=True).text == "third   fourth-w",
            "what is in the images is not what was written")
