# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab machine: the emulator with the monitor and the control OS, ready for commands."""
import itertools
import os
import time
from dataclasses import dataclass, field

from . import bochs, build, emulator, initramfs, packages, paths, unpacked
from .channel import Channel
from .process import crowd
from .ui import LabError

# The kernel's check that the timer ticks gives up when this computer is so busy that the emulator stands still.
CONTROL_COMMAND_LINE = "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on no_timer_check tsc=reliable"
READY = "escalus-lab: control OS ready"
CONTROL_MEMORY = 512  # MiB for the control OS and the monitor
START_TIMEOUT = 240  # seconds until the control OS is up; Bochs has bochs.START_TIMEOUT
POOL_OVERHEAD = 64    # MiB beyond what guests are given: video memory, firmware, tables
_numbers = itertools.count(1)


@dataclass
class Parts:
    """What a lab machine is made of, built once."""
    kernel: tuple  # (bzImage, modules, version)
    initrd: object
    monitor: object  # None: the control OS's kernel is started without a monitor


@dataclass
class KernelBoot:
    """What is to be started on emulators that load no kernel themselves."""
    monitor: object  # None: only the kernel
    monitor_options: str
    kernel: object
    command_line: str
    initrd: object


def kernel_of(target, wanted=None):
    """The flavour of the control OS's kernel: the target's own unless one is asked for."""
    return wanted or (bochs.KERNEL if target in bochs.MODELS else "cloud")


def parts(kernel="cloud", with_monitor=True, install_tree=None, extra_programs=(), extra_files=None, target="svm"):
    release = paths.BUILD / "release"
    files = packages.kernel(kernel)
    in_bochs = target in bochs.MODELS
    agent = release / "tools/agent/escalus-lab-agent"
    image = initramfs.control_os(files, install_tree, agent, extra_programs, extra_files,
                                 bochs.MODULES if in_bochs else None, "/OVMF_" if in_bochs else None)
    if in_bochs and with_monitor:  # GRUB itself starts kernels by their 32-bit entry point
        files = (unpacked.kernel(files[0]), *files[1:])
    return Parts(files, image, build.monitor() if with_monitor else None)


@dataclass
class Options:
    target: str = "svm"
    cpus: int = 1
    pool: int = 1088  # MiB for guests
    media: list = field(default_factory=list)
    ports: list = field(default_factory=list)    # in the control OS, forwarded to free host ports
    forwards: dict = field(default_factory=dict)  # host port -> port in the control OS, when chosen
    monitor_options: str = "console=com2 loglevel=info"
    command_line: str = ""
    name: str = "lab"
    timeout: float = START_TIMEOUT  # seconds until the control OS must be up
    cpu: str = None  # a model other than the target's own
    boot: list = None  # QEMU options instead of `-kernel`: a GRUB CD, for example
    progress: object = None  # called now and then with a word on how far the start is


class LabMachine:
    """Use as a context manager. `run` executes commands in the control OS; `port(N)` is the host's port that
    leads to port N there."""

    def __init__(self, parts_, options):
        self.parts, self.options = parts_, options
        self.folder = paths.ensure(paths.RUN / f"{options.name}-{os.getpid()}-{next(_numbers)}")
        self.emulator = None
        self.channel = None
        self.boot_seconds = None
        self._ports = {}
        self._started = 0.0

    def _boot_options(self):
        if self.options.boot is not None:
            return self.options.boot
        kernel, initrd, monitor = self.parts.kernel[0], self.parts.initrd, self.parts.monitor
        line = f"{CONTROL_COMMAND_LINE} {self.options.command_line}".strip()
        if self.options.target in bochs.MODELS:
            line = f"{line} {bochs.COMMAND_LINE} {bochs.WORDS_OF.get(self.options.target, '')}".strip()
            return KernelBoot(monitor, f"pool={self.options.pool} {self.options.monitor_options}", kernel, line, initrd)
        if monitor is None:
            return emulator.direct_boot(kernel, line, initrd)
        return emulator.multiboot(monitor, f"pool={self.options.pool} {self.options.monitor_options}", kernel,
                                  line, initrd)

    def start(self):
        for attempt in range(3):
            try:
                return self._start()
            except LabError as error:
                # Another machine may have taken a port between its choice and its use.
                if attempt == 2 or "host forwarding rule" not in str(error):
                    raise
        raise AssertionError("unreachable")

    def _start(self):
        options = self.options
        forwards = dict(options.forwards)
        wanted = [port for port in [emulator.AGENT_PORT, *options.ports] if port not in forwards.values()]
        forwards.update(zip(emulator.free_ports(len(wanted)), wanted))
        self._ports = {inside: host for host, inside in forwards.items()}
        boot = self._boot_options()
        description = emulator.Machine(
            boot=boot, target=options.target, cpus=options.cpus, memory=CONTROL_MEMORY + options.pool,
            media=options.media, forwards=forwards, folder=self.folder, cpu=options.cpu)
        if options.target in bochs.MODELS:
            self.emulator = bochs.Bochs(description, boot)
        else:
            self.emulator = emulator.Emulator(description)
        self.channel = Channel(self.port(emulator.AGENT_PORT))
        self._started = time.monotonic()
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.boot_seconds = time.monotonic() - self._started
        return self

    def _out_of_time(self):
        """A sentence when it has taken too long. Of Bochs, which others on this computer may slow down ten times, its own
        processor time counts."""
        if self.options.target in bochs.MODELS:
            return self.emulator.out_of_time()
        passed = time.monotonic() - self._started
        return f"after {passed:.0f} s" if passed > self.options.timeout * crowd() else None

    def _wait_until_ready(self):
        while READY not in self.emulator.console_text() or not self.channel.answers():
            if not self.emulator.alive:
                raise LabError(f"the machine ended before the control OS was up: {self.emulator.explain()}")
            late = self._out_of_time()
            if late:
                raise LabError(f"the control OS was not up {late}: {self.emulator.explain()}")
            self._tell_progress()
            time.sleep(0.05)

    def _tell_progress(self):
        if not self.options.progress:
            return
        where = ("control OS" if self.emulator.console_text().strip() else
                 "monitor" if self.emulator.monitor_text().strip() else "loader")
        self.options.progress(where)

    def port(self, inside):
        return self._ports[inside]

    def run(self, command, timeout=120, **more):
        return self.channel.run(command, timeout, **more)

    def stop(self):
        if self.emulator:
            self.emulator.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
