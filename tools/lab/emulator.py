# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated machine that Escalus runs on: QEMU command lines for each target, and the process."""
import fcntl
import os
import re
import shutil
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

from . import paths
from .process import EmulatorProcess
from .ui import LabError

KVM_GET_SUPPORTED_CPUID = 0xC008AE05
AGENT_PORT = 7


def nested_kvm():
    """Whether /dev/kvm offers a guest AMD-V, the only back end that the monitor has."""
    try:
        with open("/dev/kvm", "r+b", buffering=0) as device:
            entries = 256
            buffer = bytearray(struct.pack("II", entries, 0) + bytes(40 * entries))
            fcntl.ioctl(device, KVM_GET_SUPPORTED_CPUID, buffer)
    except OSError:
        return False
    count = struct.unpack_from("I", buffer)[0]
    for index in range(count):
        function, _, _, _, _, ecx, _ = struct.unpack_from("7I", buffer, 8 + 40 * index)
        if function == 0x80000001:
            return bool(ecx & 4)
    return False


def default_target():
    return "kvm" if nested_kvm() else "svm"


def free_port(wanted=None):
    """A free TCP port of the loopback interface; `wanted` if given, and then its absence is an error."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise LabError(f"port {wanted} of 127.0.0.1 is taken ({error.strerror}); name another one") from None
        return probe.getsockname()[1]


def free_ports(count):
    """Different free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def first_free_port(start):
    for port in range(start, start + 100):
        try:
            return free_port(port)
        except LabError:
            continue
    raise LabError(f"no port of 127.0.0.1 from {start} to {start + 99} is free")


@dataclass
class Medium:
    """A file handed to the control OS as a virtio disk, found there as /media/NAME."""
    name: str
    path: Path
    writable: bool = False
    discard: bool = False  # the guest may write, but the file stays as it is
    volatile: bool = False  # nobody needs it afterwards, so it need not reach this computer's disk


@dataclass
class Machine:
    """What to emulate. `boot` is the list of QEMU options that start it (kernel, CD, firmware)."""
    boot: list
    target: str = "svm"
    cpus: int = 1
    memory: int = 1536  # MiB
    media: list = field(default_factory=list)
    forwards: dict = field(default_factory=dict)  # host port -> port in the control OS
    folder: Path = None
    cpu: str = None  # a model other than the target's own
    serial_console: bool = True
    clock: str = "slowdown"  # Bochs: never faster than real time; "none" skips idle time


def _escape(text):
    return str(text).replace(",", ",,")


def direct_boot(kernel, command_line, initrd):
    return ["-kernel", str(kernel), "-append", command_line, "-initrd", str(initrd)]


def multiboot(monitor, monitor_options, kernel, command_line, initrd):
    modules = f"{_escape(kernel)} {_escape(command_line)},{_escape(initrd)}"
    return ["-kernel", str(monitor), "-append", monitor_options, "-initrd", modules]


def cd(iso, firmware=None):
    """From a CD, by SeaBIOS or by the UEFI firmware given as (code, variables)."""
    options = ["-drive", f"file={_escape(iso)},format=raw,if=none,id=cd,readonly=on,media=cdrom",
               "-device", "ide-cd,drive=cd,bootindex=0"]
    if firmware:
        code, variables = firmware
        options += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                    "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    return options


def command_line(machine):
    cpu = {"svm": ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", machine.cpu or "EPYC,+svm,+npt"],
           "kvm": ["-accel", "kvm", "-cpu", "host"]}[machine.target]
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "pc,usb=off", *cpu,
               "-smp", str(machine.cpus), "-m", f"{machine.memory}M", "-display", "none", "-vga", "std",
               "-no-reboot", "-rtc", "base=utc",
               "-monitor", f"unix:{machine.folder / 'qemu.sock'},server=on,wait=off",
               "-debugcon", f"file:{machine.folder / 'debugcon.log'}",
               "-chardev", f"socket,id=console,path={machine.folder / 'console.sock'},server=on,wait=off,"
                           f"logfile={machine.folder / 'console.log'}",
               "-serial", "chardev:console",
               "-serial", f"file:{machine.folder / 'monitor.log'}"]
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-10.0.2.15:{inside}"
                       for host, inside in machine.forwards.items())
    command += ["-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="]
    for index, medium in enumerate(machine.media):
        cache = "unsafe" if medium.volatile else "writethrough" if medium.writable else "writeback"
        command += ["-drive", f"file={_escape(medium.path)},format=raw,if=none,id=m{index},cache={cache},"
                              f"readonly={'off' if medium.writable or medium.discard else 'on'},"
                              f"snapshot={'on' if medium.discard else 'off'}",
                    "-device", f"virtio-blk-pci,drive=m{index},serial={medium.name}"]
    return command + machine.boot


class Emulator(EmulatorProcess):
    """A running QEMU."""

    def __init__(self, machine):
        if not shutil.which("qemu-system-x86_64"):
            raise LabError("qemu-system-x86_64 is missing (Debian package qemu-system-x86)")
        super().__init__(paths.ensure(machine.folder), command_line(machine))

    def command_monitor(self, text):
        """One command to QEMU's own monitor (`info registers`, `screendump FILE` ...); its answer."""
        return self.command_monitor_often([text], 1)

    def keep_cpus_in_place(self):
        """Each emulated CPU on a processor of this computer of its own, as far as there are enough."""
        threads = re.findall(r"thread_id=(\d+)", self.command_monitor("info cpus"))
        processors = sorted(os.sched_getaffinity(0))
        for i, thread in enumerate(threads):
            os.sched_setaffinity(int(thread), {processors[i % len(processors)]})

    def command_monitor_often(self, texts, times):
        """Commands one after the other, again and again over one connection; the last answer."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            link.connect(str(self.folder / "qemu.sock"))

            def until_prompt():
                answer = b""
                while not answer.endswith(b"(qemu) "):
                    piece = link.recv(65536)
                    if not piece:
                        break
                    answer += piece
                return answer.decode(errors="replace")

            until_prompt()
            for text in texts * times:
                link.sendall(text.encode() + b"\n")
                answer = until_prompt()
            return answer.partition("\n")[2].removesuffix("(qemu) ")  # the first line is the echo
