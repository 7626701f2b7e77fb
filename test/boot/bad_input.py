# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: a clear message, a non-zero exit, and nothing left behind."""
from lab import machine
from lab.testing import boot_test, require, running_guests

GUESTS = "/usr/share/escalus-tests/guests"
RESCUE = "/media/grub-rescue,raw,hdc,cdrom"


@boot_test("bad-media", "medium missing, empty, a directory, not bootable: said clearly, nothing left behind")
def bad_media(context):
    context.run("touch /tmp/empty.iso; mkdir -p /tmp/folder; head -c 1000000 /dev/zero >/tmp/blank.iso")

    def domain(name, disk):
        return context.domain(name, disks=[disk])

    context.refused("missing", domain("missing", "/tmp/nothing.iso,raw,hdc,cdrom"), "/tmp/nothing.iso")
    context.refused("empty", domain("empty", "/tmp/empty.iso,raw,hdc,cdrom"), "/tmp/empty.iso", "empty")
    context.refused("directory", domain("directory", "/tmp/folder,raw,hdc,cdrom"), "/tmp/folder", "directory")
    context.refused("blank", domain("blank", "/tmp/blank.iso,raw,hdc,cdrom"), "/tmp/blank.iso", "not bootable")


@boot_test("bad-read", "a medium that gives read errors, or may not be read: said clearly, nothing left behind")
def bad_read(context):
    # A process's memory opens as a file, and gives I/O errors where nothing is mapped: at address 0.
    text = context.domain("broken", disks=["/proc/self/mem,raw,hda,r"])
    context.refused("broken", text, "/proc/self/mem", "cannot be read", "Input/output error")
    context.run("cp /media/grub-rescue /tmp/private.iso && chmod 600 /tmp/private.iso", check=True)
    text = context.domain("private", disks=["/tmp/private.iso,raw,hdc,cdrom"])
    context.lab.channel.put(text.encode(), "/tmp/private.cfg")
    done = context.run("su user -c 'escalus create /tmp/private.cfg'")
    require(done.code == 1 and "/tmp/private.iso" in done.error_text and "Permission denied" in done.error_text, str(done))
    require(not context.run("rm /tmp/private.iso; ls /run/escalus").text, "something is left")


@boot_test("dev-mem-refused", "`create` where the kernel refuses /dev/mem says so", own_machine=True)
def dev_mem_refused(context):
    with context.shared.machine(name="no-dev-mem", media=[], pool=256) as lab:
        lab.channel.put(f"name = 'x'\nkernel = '{GUESTS}/modules'\nvnc = 0\n".encode(), "/tmp/x.cfg")
        lab.run("mount -t securityfs none /sys/kernel/security && echo integrity >/sys/kernel/security/lockdown", check=True)
        locked = lab.run("escalus create /tmp/x.cfg")
        lab.run("rm /dev/mem", check=True)
        absent = lab.run("escalus create /tmp/x.cfg")
        (context.artefacts / "said.txt").write_text(f"{locked}\n{absent}")
        require(locked.code == 1 and "/dev/mem" in locked.error_text and "lockdown" in locked.error_text, str(locked))
        require("as root" not in locked.error_text, f"this was run as root: {locked}")
        require(absent.code == 1 and "CONFIG_DEVMEM" in absent.error_text, str(absent))
        require(not lab.run("ls /run/escalus").text and not running_guests(lab), "something is left")


@boot_test("abi-mismatch", "a program of another ABI version than the monitor's says so")
def abi_mismatch(context):
    context.lab.channel.put(f"name = 'x'\nkernel = '{GUESTS}/modules'\nvnc = 0\n".encode(), "/tmp/x.cfg")
    for line in ("create /tmp/x.cfg", "create -d /tmp/x.cfg", "dmesg"):
        done = context.run(f"escalus_next_abi {line}")
        require(done.code == 1 and "the monitor speaks version" in done.error_text
                and "Install both from one build" in done.error_text, f"{line}: {done}")
    require(not context.run("ls /run/escalus").text and not running_guests(context.lab), "something is left")


@boot_test("bad-domain-file", "domain files with mistakes: file, line, column, the line with a caret")
def bad_domain_file(context):
    context.refused("syntax", "name = 'x'\nmemory = = 5\n", "syntax.cfg:2:", "memory = = 5", "^")
    context.refused("negative", "name = 'x'\nmemory = -5\n", "negative.cfg:2:", "-5", "^")
    context.refused("absurd", "name = 'x'\nmemory = 99999999999\n", "absurd.cfg:2:")
    context.refused("type", "name = 'x'\nmemory = ['a']\n", "type.cfg:2:")
    context.refused("nofile", "name = 'x'\nkernel = '/nothing/here'\n", "/nothing/here")
    context.lab.channel.put(b"name = 'x'\nmemroy = 64\n", "/tmp/unknown.cfg")
    done = context.run("escalus create -n /tmp/unknown.cfg")
    require(done.code == 0 and "memory" in done.error_text and "memroy" in done.error_text,
            f"an unknown key is a warning with the nearest known key: {done}")


@boot_test("bad-resources", "more memory than the pool has, VNC port taken, name taken, firmware missing")
def bad_resources(context):
    context.refused("much", context.domain("much", memory=65536, disks=[RESCUE]), "MiB", "free")
    context.run("(nc -l -p 5903 </dev/null >/dev/null 2>&1 &) ; sleep 1")
    context.refused("port", context.domain("port", disks=[RESCUE], display=3), "5903")
    context.run("killall nc")
    context.refused("firmware", context.domain("firmware", disks=[RESCUE], bios_path_override="/no/bios.bin"),
                    "/no/bios.bin")
    guest = context.create("twice", display=0, disks=[RESCUE], boot="d")
    again = context.run("escalus create /tmp/twice.cfg")
    require(again.code != 0 and "twice" in again.text + again.error_text, f"the same name again: {again}")
    require(guest.state() is not None, "the first guest is gone")


@boot_test("not-root", "`create` without the right to open /dev/mem says so")
def not_root(context):
    text = context.domain("notroot", disks=[RESCUE])
    context.lab.channel.put(text.encode(), "/tmp/notroot.cfg")
    done = context.run("su user -c 'escalus create /tmp/notroot.cfg'")
    (context.artefacts / "said.txt").write_text(str(done))
    said = done.text + done.error_text
    require(done.code not in (0, 132, 134, 139), f"exit code {done.code}: {said}")
    require("root" in said or "/dev/mem" in said or "ermission" in said, f"the message does not say why:\n{said}")


@boot_test("no-monitor", "without a monitor underneath, `create` says how to get one", own_machine=True)
def no_monitor(context):
    parts = machine.Parts(context.shared.parts.kernel, context.shared.parts.initrd, None)
    with context.shared.machine(parts=parts, name="no-monitor") as lab:
        lab.channel.put(context.domain("x", disks=[RESCUE]).encode(), "/tmp/x.cfg")
        done = lab.run("escalus create /tmp/x.cfg")
        said = done.text + done.error_text
        (context.artefacts / "said.txt").write_text(said)
        require(done.code not in (0, 132, 134, 139), f"exit code {done.code}: {said}")
        require("monitor" in said.lower(), f"the message does not name the monitor:\n{said}")
        require(lab.run("hostile_hypercalls 10").code == 2, "something answers hypercalls without a monitor")
