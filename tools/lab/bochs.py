# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine emulated by Bochs: slower than QEMU, but with Intel's VT-x, and a second opinion on AMD-V.

Bochs has no loader for Multiboot kernels, so the monitor comes from a disk with one (disk_loader.py); no virtio, so media are
ATA disks; and its network card is the e1000, for which the control OS needs Debian's generic kernel."""
import os
import shutil
import time

from . import disk_loader, emulator, media, paths
from .process import EmulatorProcess
from .ui import LabError

MODELS = {"vmx": "corei7_skylake_x", "bochs-svm": "ryzen"}
SLOWNESS = 8  # in comparison with QEMU
START_TIMEOUT = 1200, 7200  # seconds until the control OS is up: of the emulator's processor time, and on the wall
KERNEL = "generic"
MODULES = ["e1000", "ata_piix", "sd_mod", "isofs", "crc32c_generic", "ext4"]
IPS = 100_000_000
# The time stamp counter's rate is `ips`, whatever CPUID says. Known values also save measuring: a quarter of a second of
# it is 25 million instructions. SeaBIOS's tables tell of a controller for PCI hot-plug that Bochs has not: the kernel would
# take the network card for unplugged. Without a monitor underneath it would sleep by MWAIT so deeply that Bochs' local
# APIC wakes nobody. Nor does the timer of MWAITX in time, by which it delays on a Ryzen: hence mwait_is_nop, below.
COMMAND_LINE = (f"tsc_early_khz={IPS // 1000} lpj={IPS // 500} tsc=reliable nokaslr mitigations=off "
                "audit=0 cryptomgr.notests acpiphp.disable=1 idle=halt")
# On its Ryzen XRSTORS refuses ("Reserved header3 state") what XSAVES left, at one switch of tasks or another once a guest runs:
# the kernel then drops the program's vector registers, and the device model goes astray.
WORDS_OF = {"bochs-svm": "noxsaves"}
GUEST_WORDS = f"tsc_early_khz={IPS // 1000} lpj={IPS // 500} mitigations=off"
BIOS = "/usr/share/seabios/bios.bin"
BIOS_OF_SEVERAL = "/usr/share/bochs/BIOS-bochs-latest"  # SeaBIOS finds one CPU only here
FIRST_VNC_PORT = 5950  # Bochs shows its own screen on the first free port from 5900 to 5949
SECTOR = 512
CYLINDERS_MAX = 262143
CONNECTORS = ("ata0-slave", "ata1-master", "ata1-slave")  # ata0-master is what it boots from
DISPLAY = 'display_library: rfb, options="timeout=0"'


def geometry(size):
    """(cylinders, heads, sectors a track) whose product is the medium's size exactly: what does not fit is lost."""
    sectors = size // SECTOR
    for heads in range(16, 0, -1):
        for per_track in range(63, 0, -1):
            cylinders, rest = divmod(sectors, heads * per_track)
            if rest == 0 and 0 < cylinders <= CYLINDERS_MAX:
                return cylinders, heads, per_track
    raise LabError(f"no disk geometry has {sectors} sectors; pad the image to a multiple of 1 MiB")


def _disk(connector, medium):
    cylinders, heads, per_track = geometry(medium.path.stat().st_size)
    mode = "flat" if medium.writable else "volatile"
    return (f'{connector}: type=disk, path="{medium.path}", mode={mode}, cylinders={cylinders}, heads={heads}, '
            f'spt={per_track}, model="{medium.name}"')


def boot_medium(folder, boot):
    """What starts `boot`, a machine.KernelBoot, as lines of a bochsrc: without a monitor a CD with GRUB."""
    if boot.monitor:
        disk = disk_loader.make(folder / "boot.img", boot.monitor, boot.monitor_options,
                                [(boot.kernel, boot.command_line), (boot.initrd, "")])
        return [_disk("ata0-master", emulator.Medium("boot", disk)), "boot: disk"]
    menu = ("set timeout=0\nset gfxpayload=text\nmenuentry lab {\n"
            f"linux /kernel {boot.command_line}\ninitrd /initrd\n}}\n")
    iso = media.make_grub_iso(folder / "boot.iso", menu, {"kernel": boot.kernel, "initrd": boot.initrd})
    return [f'ata0-master: type=cdrom, path="{iso}", status=inserted', "boot: cdrom"]


def configuration(machine, boot_lines):
    folder = machine.folder
    if len(machine.media) > len(CONNECTORS):
        raise LabError(f"a machine of Bochs takes {len(CONNECTORS)} media, and this one has {len(machine.media)}")
    lines = [
        DISPLAY, "config_interface: textconfig",
        f"romimage: file={BIOS if machine.cpus == 1 else BIOS_OF_SEVERAL}, address=0xfffe0000",
        "vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin",
        f"cpu: model={machine.cpu or MODELS[machine.target]}, count={machine.cpus}, ips={IPS}, reset_on_triple_fault=1, "
        "mwait_is_nop=1",
        f"memory: guest={machine.memory}, host={machine.memory}",
        "pci: enabled=1, chipset=i440fx, slot1=e1000",
        f'e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp, script="{folder / "slirp.conf"}"',
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
        *boot_lines,
        *(_disk(connector, medium) for connector, medium in zip(CONNECTORS, machine.media)),
        f"clock: sync={machine.clock}, time0=utc",
        f'com1: enabled=1, mode=file, dev="{folder / "console.log"}"',
        f'com2: enabled=1, mode=file, dev="{folder / "monitor.log"}"',
        "sound: driver=dummy, waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
        f'log: "{folder / "bochs.log"}"',
        "panic: action=fatal", "error: action=report", "info: action=report", "debug: action=ignore",
    ]
    return "\n".join(lines) + "\n"


class Bochs(EmulatorProcess):
    def __init__(self, machine, boot):
        if not shutil.which("bochs"):
            raise LabError("bochs is missing (Debian package bochs)")
        folder = paths.ensure(machine.folder)
        (folder / "slirp.conf").write_text("# slirp config\n" + "".join(
            f"hostfwd = tcp:127.0.0.1:{host}-10.0.2.15:{inside}\n" for host, inside in machine.forwards.items()))
        (folder / "bochsrc").write_text(configuration(machine, boot_medium(folder, boot)))
        (folder / "commands").write_text("c\n")
        self.began = time.monotonic()
        super().__init__(folder, ["bochs-bin", "-q", "-f", str(folder / "bochsrc"), "-rc", str(folder / "commands")])

    def processor_seconds(self):
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def out_of_time(self):
        """A sentence when the control OS should have been up long ago; else None."""
        used, passed = self.processor_seconds(), time.monotonic() - self.began
        if used > START_TIMEOUT[0] or passed > START_TIMEOUT[1]:
            return f"after {used:.0f} s of Bochs' processor time, {passed:.0f} s in all"
        return None

    def instructions(self):
        """How far it is, as its log tells; 0 when it does not say."""
        try:
            with open(self.folder / "bochs.log", "rb") as log:
                log.seek(max(0, log.seek(0, 2) - 400))
                lines = log.read().split(b"\n")
            return int(lines[-2][:lines[-2].index(b"[") - 1])
        except (OSError, ValueError, IndexError):
            return 0

    def explain(self):
        text = super().explain()
        log = self.folder / "bochs.log"
        if log.exists():
            text += "\n--- Bochs:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        return text
