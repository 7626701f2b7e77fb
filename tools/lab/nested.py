# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested-virtualization suite (test/nested) on an emulator: starting it, and judging its report by the table of
known faults of that emulator (test/nested/known)."""
import fnmatch
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import build, emulator, media, paths
from .ui import LabError, say

SOURCES = paths.ROOT / "test" / "nested"
PROGRAM = "release/test/nested/escalus-nested"
SUMMARY = re.compile(r"^# (\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
_RESULT = re.compile(r"^(not ok|ok) (\d+) - (\S+) \((.*)\)(?: # SKIP (.*))?$")
MEMORY = 128  # MiB
BOCHS_BIOS = "file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot"
SEABIOS = "file=/usr/share/seabios/bios.bin, address=0xfffe0000"


def program():
    path = paths.BUILD / PROGRAM
    if not path.is_file():
        raise LabError(f"the build has no nested-virtualization suite ({path})")
    return path


def iso():
    """escalus-nested.iso, the product."""
    return build.preset("release", ["nested-iso"]) / "test/nested/escalus-nested.iso"


def cd(name, lines):
    """A CD whose GRUB executes these lines to start the suite at once."""
    menu = "set timeout=0\nset gfxpayload=text\nmenuentry nested {\n" + "\n".join(lines) + "\n}\n"
    return media.grub_iso(name, menu, {"boot/escalus-nested": program()})


def _version(command, pattern):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
    except OSError:
        return None
    found = re.search(pattern, done.stdout)
    return found[1] if found else None


@dataclass
class Qemu:
    """QEMU with its own emulation of the CPU, or with KVM. Multiboot kernels are started directly."""
    cpu: str = "EPYC,+svm,+npt"
    accelerator: str = "tcg"
    firmware: tuple = ()  # UEFI: its code and the file of its variables

    def platform(self):
        version = _version(["qemu-system-x86_64", "--version"], r"version (\d+\.\d+)")
        return version and f"qemu-{self.accelerator}-{version}"

    def command(self, folder, words, image, memory):
        start = emulator.cd(image, self.firmware) if image else ["-kernel", str(program()), "-append", words]
        return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "pc", "-accel", self.accelerator,
                "-cpu", self.cpu, "-m", str(memory), "-display", "none", "-vga", "std", "-no-reboot",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                "-chardev", f"socket,id=com1,path={folder / 'com1.sock'},server=on,wait=off,"
                            f"logfile={folder / 'serial.log'}", "-serial", "chardev:com1",
                "-monitor", f"unix:{folder / 'qemu.sock'},server=on,wait=off", *start]


@dataclass
class Bochs:
    """Bochs, which boots from a CD only. Its CPU panics about states that it goes on from: they are reported."""
    model: str = "ryzen"
    bios: str = BOCHS_BIOS
    cpus: int = 1

    def platform(self):
        version = _version(["bochs", "--help"], r"Bochs x86 Emulator (\d+\.\d+)")
        return version and f"bochs-{self.model}-{version}"

    def command(self, folder, words, image, memory):
        if image is None:
            # GRUB's multiboot2 command crashes on the BIOS of Bochs.
            image = cd(f"nested-{folder.name}.iso", [f"multiboot /boot/escalus-nested {words}"])
        (folder / "bochsrc").write_text("\n".join([
            "config_interface: textconfig", 'display_library: rfb, options="timeout=0"',
            f"romimage: {self.bios}",
            "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest",
            f"memory: guest={memory}, host={memory}", "boot: cdrom",
            f'ata0-master: type=cdrom, path="{image}", status=inserted',
            f"cpu: model={self.model}, count={self.cpus}, ips=50000000, reset_on_triple_fault=0",
            "clock: sync=none, time0=utc", f'com1: enabled=1, mode=file, dev="{folder / "serial.log"}"',
            f'log: "{folder / "bochs.log"}"', "panic: action=fatal, cpu0=report", "error: action=report",
            "info: action=ignore", "debug: action=ignore", "sound: driver=dummy"]) + "\n")
        (folder / "commands").write_text("c\n")
        return ["bochs", "-q", "-f", str(folder / "bochsrc"), "-rc", str(folder / "commands")]


class Run:
    """A running suite. Use as a context manager."""

    def __init__(self, machine, folder, words="run=all", image=None, memory=MEMORY, timeout=300):
        self.folder = paths.ensure(Path(folder))
        self.serial = self.folder / "serial.log"
        self.serial.unlink(missing_ok=True)
        self.deadline = time.monotonic() + timeout
        # `timeout` ends the emulator even if this process cannot.
        command = ["timeout", "-k", "5", str(timeout), *machine.command(self.folder, words, image, memory)]
        (self.folder / "command").write_text(" \\\n  ".join(command) + "\n")
        with open(self.folder / "emulator.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def text(self):
        return self.serial.read_text(errors="replace").replace("\r", "") if self.serial.exists() else ""

    def wait_for(self, pattern):
        """Until the serial port says `pattern`; all of its text."""
        expression = re.compile(pattern, re.MULTILINE)
        while not expression.search(self.text()):
            ended = self.process.poll() is not None
            if (ended and not expression.search(self.text())) or time.monotonic() > self.deadline:
                raise AssertionError(f"no {pattern!r} on the serial port; the emulator "
                                     f"{'ended' if ended else 'still runs'}; it said:\n{self.text()[-1500:]}\n"
                                     + (self.folder / "emulator.log").read_text(errors="replace")[-500:])
            time.sleep(0.2)
        return self.text()

    def wait_end(self):
        """Until the emulator ends by itself; its exit status."""
        try:
            return self.process.wait(max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the emulator does not end; the suite said:\n{self.text()[-1500:]}") from None


@dataclass
class Known:
    """A table of known faults: lines `GROUP/CHECK  evidence`; the name may be a pattern. `!` before it: the fault ends
    the emulator, so the check must be left out."""
    faults: dict = field(default_factory=dict)  # pattern -> evidence
    fatal: dict = field(default_factory=dict)   # name -> evidence

    @classmethod
    def of(cls, platform):
        table = cls()
        path = SOURCES / "known" / platform
        for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, evidence = line.partition("  ")
            if not evidence.strip():
                raise LabError(f"{path}:{number}: a known fault needs a line of evidence, after two spaces")
            (table.fatal if name.startswith("!") else table.faults)[name.lstrip("!")] = evidence.strip()
        return table

    def of_group(self, group):
        """Those of one group's checks."""
        return Known(*({name: why for name, why in table.items() if name.startswith(f"{group}/")}
                       for table in (self.faults, self.fatal)))

    def words(self):
        return f" without={','.join(self.fatal)}" if self.fatal else ""


def results(text):
    """{name: (ok, reason it was skipped for or None, explanation)} of a report in TAP; AssertionError if it is not whole."""
    plan = re.search(r"^1\.\.(\d+)$", text, re.MULTILINE)
    if not plan:
        raise AssertionError(f"no report:\n{text[-1500:]}")
    found, notes = {}, []
    for line in text.splitlines():
        match = _RESULT.match(line)
        if match:
            if match[3] in found:
                raise AssertionError(f"two checks are named {match[3]}")
            found[match[3]] = (match[1] == "ok", match[5], "\n".join([*notes, line]))
            notes = []
        elif line.startswith("#   "):
            notes.append(line)
    if len(found) != int(plan[1]) or not SUMMARY.search(text):
        last = list(found)[-1] if found else "none"
        raise AssertionError(f"the report ends early, after {len(found)} of {plan[1]} checks; the last was {last}")
    return found


def judge(text, known):
    """Fails unless all that failed is known; what is known and passes is said."""
    found = results(text)
    failed = {name for name, (ok, _, _) in found.items() if not ok}
    expected = set()
    for pattern in known.faults:
        matches = set(fnmatch.filter(found, pattern))
        if not matches:
            raise AssertionError(f"the table of known faults names {pattern}, which is no check")
        expected |= matches
    healed = sorted(name for name in expected - failed if found[name][1] is None)
    for name in healed:
        say(f"        {name} passes: it can go from the table of known faults")
    left_out = {name for name, (_, reason, _) in found.items() if reason == "left out by without="}
    if left_out != set(known.fatal):
        raise AssertionError(f"left out: {sorted(left_out)}, to be left out: {sorted(known.fatal)}")
    unknown = sorted(failed - expected)
    if unknown:
        raise AssertionError(f"{len(unknown)} of {len(found)} checks failed, and are no known faults:\n"
                             + "\n".join(found[name][2] for name in unknown[:40]))
    skipped = sum(reason is not None for _, reason, _ in found.values())
    return f"{len(found) - len(failed) - skipped} of {len(found)} passed, {len(failed)} known faults, {skipped} skipped"
