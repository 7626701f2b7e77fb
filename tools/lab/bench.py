# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab bench`: Escalus against KVM with Debian's QEMU, in like emulated machines of one CPU, in one run.

Both sides run the same control kernel, the same guests and the same measuring programs; never two of them at once (turns.py).
Cycles are those of the guest's TSC."""
import contextlib
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from . import bench_io, boot, build, emulator, initramfs, instructions, machine, media, packages, paths, runner, testing
from .bench_sides import GUEST_MEMORY, INSTALLER_MEMORY, LINUX, LINUX_RAMDISK, MARKER, TESTS, EscalusSide, KvmSide
from .channel import ChannelError
from .turns import TURN, Turns
from .ui import LabError, say, stage

DATA_DISK = 128 << 20
QEMU = "/usr/bin/qemu-system-x86_64"
QEMU_FILES = ["/usr/share/seabios", "/usr/lib/ipxe/qemu", "/usr/share/qemu"]
QEMU_NEEDED = re.compile(r"(bios-256k\.bin|vgabios-stdvga\.bin|linuxboot_dma\.bin|multiboot_dma\.bin|multiboot\.bin|"
                         r"linuxboot\.bin|kvmvapic\.bin|en-us|common)$")
TARGETS = {"cpuid": 0.45, "port": 0.40, "iso": 0.50}
WHAT = {"cpuid": "CPUID, TSC cycles", "port": "port read by the device model, TSC cycles",
        "mmio": "memory-mapped read by the device model, TSC cycles",
        "unpaged_cpuid": "CPUID without paging, TSC cycles",
        "unpaged_port": "port read without paging, TSC cycles",
        "unpaged_mmio": "memory-mapped read without paging, TSC cycles",
        "iso": "small Linux ISO to user space, s", "direct": "direct boot to user space, s",
        "resident": "resident beyond guest memory, MiB"}


@dataclass
class Results:
    values: dict = field(default_factory=dict)  # name -> list of measurements
    exits: dict = field(default_factory=dict)   # name -> text

    def add(self, name, value):
        self.values.setdefault(name, []).append(value)

    def take(self, other):
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)

    def median(self, name):
        return statistics.median(self.values[name]) if self.values.get(name) else None


def _files():
    return {f"{TESTS}/exit_cost": build.guest_kernel("exit_cost"), f"{TESTS}/linux-cloud": packages.kernel("cloud")[0],
             f"{TESTS}/initramfs": media.guest_initramfs(media.GUEST_SCRIPTS, (), "cloud"),
             LINUX: packages.kernel("generic")[0],
             LINUX_RAMDISK: media.guest_initramfs(bench_io.GUEST_SCRIPTS, (*runner.DISK_MODULES, *runner.NETWORK_MODULES),
                                                  programs=[build.program("disk-load"), build.program("send-load")]),
             bench_io.COMPUTE: _compute_script(), bench_io.DISK_LOAD: build.program("disk-load")}


def _compute_script():
    path = paths.ensure(paths.MEDIA) / "compute.sh"
    path.write_text(bench_io.COMPUTE_SCRIPT)
    return path


def _wait_serial(side, name, text, timeout):
    try:
        return testing.wait_for(f"{text!r} from {name}", lambda: text in (seen := side.serial(name)) and seen, timeout,
                                pause=0.2)
    except AssertionError as error:
        raise LabError(f"{side.title}: {error}\n{side.serial(name)[-1500:]}\n{side.log(name)}") from None


def _exit_costs(side, results):
    name = "cost"
    side.kernel(name, f"{TESTS}/exit_cost")
    text = _wait_serial(side, name, "exit cost, END", 600)
    results.exits.setdefault("exit cost kernel", side.exits(name))
    side.stop(name)
    for kind, median in re.findall(r"cost (\w+) median (\d+)", text):
        results.add(kind, int(median))


def _boot_time(side, results, kind, start):
    began = time.monotonic()
    start(kind)
    _wait_serial(side, kind, MARKER, 900)
    results.add(kind, time.monotonic() - began)
    results.exits.setdefault(WHAT[kind].rsplit(",", 1)[0], side.exits(kind))
    if kind == "direct":
        results.add("resident", side.resident(kind))
    side.stop(kind)


def _measure(side, wanted, results):
    if wanted("cycles"):
        with stage(f"{side.title}: cycles an exit"):
            _exit_costs(side, results)
    if wanted("direct"):
        with stage(f"{side.title}: direct boot"):
            _boot_time(side, results, "direct",
                       lambda name: side.kernel(name, f"{TESTS}/linux-cloud", f"{TESTS}/initramfs",
                                                "console=ttyS0 quiet escalus.then=stay"))
    if wanted("iso"):
        with stage(f"{side.title}: ISO boot"):
            _boot_time(side, results, "iso", lambda name: side.iso(name, "/media/linux"))


def _escalus_machine(media_, cpus=1):
    parts = machine.parts("cloud", install_tree=build.install_tree(), extra_files=_files())
    return machine.LabMachine(parts, machine.Options(pool=INSTALLER_MEMORY + machine.POOL_OVERHEAD, name="bench-escalus",
                                                     media=media_, cpus=cpus))


def _kvm_machine(media_, cpus=1):
    """A machine without the monitor, whose control OS has kvm-amd and QEMU."""
    kernel = packages.kernel("cloud")
    archive = initramfs.base(kernel[1], kernel[2], initramfs.CONTROL_MODULES + ["kvm-amd"])
    archive.file("init", initramfs.INIT.read_bytes(), 0o755)
    archive.copy(paths.BUILD / "release/tools/agent/escalus-lab-agent", "sbin/agent")
    initramfs.add_program(archive, QEMU)
    for name, source in _files().items():
        archive.copy_resolved(source, name)
    for folder in QEMU_FILES:
        done = subprocess.run(["find", "-L", folder, "-type", "f"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=False)
        for file in done.stdout.split():
            if QEMU_NEEDED.search(file):
                archive.copy_resolved(file, file)
    parts = machine.Parts(kernel, initramfs.write(archive, "kvm"), None)
    return machine.LabMachine(parts, machine.Options(pool=INSTALLER_MEMORY + 256, name="bench-kvm", media=media_,
                                                     cpus=cpus))


def _media(name):
    """What both sides' machines have: an ISO of a small Linux, the text installer, and a disk to write to."""
    disk = paths.ensure(paths.RUN) / f"bench-disk-{name}.img"
    with open(disk, "wb") as file:
        file.truncate(DATA_DISK)
    iso = media.small_linux_iso("console=ttyS0 quiet escalus.then=stay")
    return [emulator.Medium("linux", iso), emulator.Medium("installer-text", media.installer(graphical=False)),
            emulator.Medium("data", disk, writable=True, volatile=True)]


ONE_PROCESSOR = ("cycles", "direct", "iso", *bench_io.NAMES)

# How much the control OS lets be written before it writes back goes by its memory, of which the monitor's pool has the
# larger part on one side: the same for both, and more than a guest's disk.
WRITE_BACK = f"echo {2 * DATA_DISK} >/proc/sys/vm/dirty_bytes; echo {DATA_DISK} >/proc/sys/vm/dirty_background_bytes"


def _compute(sides, outcomes, number):
    """On machines of two processors. Such a machine can die of QEMU's own fault, with and without the monitor
    (docs/LAB.md, "Emulated time"), or a guest in it hang (seen with KVM): then all is taken anew, and said."""
    for last in (False, False, True):
        try:
            with contextlib.ExitStack() as end:
                ready = []
                for make, side in sides:
                    lab = make(_media(side.__name__), cpus=2)
                    end.callback(lab.stop)
                    with stage(f"round {number}, {side.title}: machine with 2 processors"):
                        lab.start()
                    lab.emulator.keep_cpus_in_place()
                    lab.emulator.command_monitor("stop")
                    ready.append(side(lab))
                turns = Turns(side.lab.emulator for side in ready)
                taken = [{} for _ in ready]
                for what, measure in (("in the control OS", bench_io.compute_alone), ("in a guest", bench_io.compute)):
                    with stage(f"round {number}, both in turn: computing {what}"):
                        for seconds, found in zip(turns.run([lambda side=side: measure(side) for side in ready]), taken):
                            found[measure] = seconds
            for side, found in zip(ready, taken):
                outcomes[type(side)].add("compute control", found[bench_io.compute_alone])
                outcomes[type(side)].add("compute guest", found[bench_io.compute])
            return
        except (AssertionError, ChannelError) as error:
            if last:
                raise
            say(f"  {error}; once more")


@contextlib.contextmanager
def _one_host_processor():
    """What is started within stays on one of this computer's processors: an emulator that moves between them is slower
    by up to a half, in some runs and not in others."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _in_turn(sides, turns, name, outcomes):
    """One figure of both sides, which have the computer in turn. A guest may hang by that (turns.py)."""
    for last in (False, False, True):
        taken = [Results() for _ in sides]
        try:
            with stage(f"both in turn: {name}"):
                turns.run([lambda side=side, results=results: bench_io.measure(side, name.__eq__, results)
                           for side, results in zip(sides, taken)])
        except (AssertionError, LabError) as error:
            if last:
                raise
            say(f"  {error}; once more")
            turns.run([lambda side=side: bench_io.clear_away(side) for side in sides])
        else:
            for side, results in zip(sides, taken):
                outcomes[type(side)].take(results)
            return


def _on_one_processor(sides, wanted, outcomes, number):
    """One figure after the other: what a guest times by itself is taken on both sides in turns, what is timed
    from here on one side and then on the other, whose machine stands still meanwhile."""
    with contextlib.ExitStack() as end:
        ready = []
        for make, side in sides:
            with stage("media"):
                lab = make(_media(side.__name__))
            end.callback(lab.stop)
            with stage(f"round {number}, {side.title}: machine"), _one_host_processor():
                lab.start()
            lab.run(WRITE_BACK, check=True)
            lab.emulator.command_monitor("stop")
            ready.append(side(lab))
        turns = Turns(side.lab.emulator for side in ready)
        for name in filter(wanted, ONE_PROCESSOR):
            if name in bench_io.TIMED_BY_GUEST:
                _in_turn(ready, turns, name, outcomes)
                continue
            for side in ready:
                side.lab.emulator.command_monitor("cont")
                for measure in (_measure, bench_io.measure):
                    measure(side, name.__eq__, outcomes[type(side)])
                side.lab.emulator.command_monitor("stop")


def _number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def table(ours, theirs):
    lines = ["| | Escalus | KVM + QEMU | ratio | wanted |", "| --- | ---: | ---: | ---: | ---: |"]
    for name in ("cpuid", "port", "mmio", "unpaged_cpuid", "unpaged_port", "unpaged_mmio", "iso", "direct", "resident"):
        mine, other = ours.median(name), theirs.median(name)
        ratio = f"{mine / other:.2f}" if mine and other else "-"
        wanted = {"resident": "at most 40 MiB"}.get(name, f"at most {TARGETS[name]}" if name in TARGETS else "")
        lines.append(f"| {WHAT[name]} | {_number(mine)} | {_number(other)} | {ratio} | {wanted} |")
    return "\n".join(lines)


def _document(ours, theirs, rounds):
    qemu = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=paths.ROOT, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.DEVNULL, check=False).stdout.strip()
    parts = [f"""# Benchmark

Made by `./lab {shlex.join(sys.argv[1:])}` on {time.strftime("%Y-%m-%d")}{f", commit {commit}" if commit else ""}, in one run. Both sides run
in emulated machines of one CPU with AMD-V ({qemu}, TCG, `-cpu EPYC,+svm,+npt`), with Debian's cloud kernel
{packages.kernel("cloud")[2]} as control kernel and the same guests of {GUEST_MEMORY} MiB. Disks, network and computing are timed by the guests, and both sides have the computer in turns of {TURN:.0f} s
meanwhile, as its speed changes by the minute; the rest is taken on one side and then on the other, which stands still. Each figure
{"is of one round" if rounds == 1 else f"is the median of {rounds} rounds"}, each on machines of its own that stay on one of the computer's processors. Cycles are of
the guest's TSC, each run's the median of 21 batches of 100 exits. Emulated exits cost far more than real ones, on both sides;
the ratios are what to look at.

{table(ours, theirs)}

"ISO" is GRUB, kernel and initramfs on a CD of about 38 MB, from the start of the guest to its first process; "direct"
is the same kernel started without firmware menus. "Resident" is what the device model (or QEMU) occupies apart from the
guest's memory, in user space.

## Disks, network, computing

Linux 6.1 in a guest of one processor, with Debian's generic kernel. Disks are images in the page cache of the control OS, whose own
disk is a virtio disk of the emulator; requests go past the guest's page cache, and the control OS writes back when it is told to. What it takes
for the same accesses without a guest is in lines of its own. Network cards are on a bridge with the control OS, which
serves a file by HTTP and takes what is sent to it: {bench_io.TIMES["virtio-net"] * bench_io.PASSED >> 20} MiB by virtio-net, {bench_io.TIMES["e1000"] * bench_io.PASSED >> 20} by e1000. TCP's limits are the same
in guests and control OSes, those of machines with more memory, and its slow start is not ended by how the first acknowledgements come (`TCP` in
`tools/lab/bench_io.py`). A phase whose time by the guest's clock is not that by the control OS's is taken anew. Disks write and read 576 MiB one after the other, and 5,000 blocks. Exits are all that the guest took meanwhile, on both sides. The kernel
has the rate of the TSC and the time by KVM's interface for guests on both sides. Computing is
processes, pipes, sorting, compressing and checksums, on two processors at once, in a guest of two; and the same in the control OS
beside it, which tells what virtualization costs in each.

{bench_io.table(ours, theirs)}

## Exits
"""]
    for title, results in (("Escalus", ours), ("KVM + QEMU", theirs)):
        for what, text in results.exits.items():
            parts.append(f"- {title}, {what}: {text or 'not known'}")
    parts.append("\n## All measurements\n")
    for title, results in (("Escalus", ours), ("KVM + QEMU", theirs)):
        for name, values in results.values.items():
            parts.append(f"- {title}, {WHAT.get(name, name)}: {', '.join(_number(value) for value in values)}")
    return "\n".join(parts) + "\n"


def main(arguments):
    if not platform.machine() == "x86_64":
        raise LabError("the benchmark is for x86-64")
    if arguments.target:
        return instructions.count(arguments.target)

    def wanted(name):
        return not arguments.only or any(re.search(pattern, name) for pattern in arguments.only)

    boot.prepare("guest_exit_cost", "disk-load", "send-load")
    outcomes = {EscalusSide: Results(), KvmSide: Results()}
    sides = ((_escalus_machine, EscalusSide), (_kvm_machine, KvmSide))
    for number in range(arguments.rounds):
        if any(map(wanted, ONE_PROCESSOR)):
            _on_one_processor(sides, wanted, outcomes, number + 1)
        if wanted("compute"):
            _compute(sides, outcomes, number + 1)
    text = _document(outcomes[EscalusSide], outcomes[KvmSide], arguments.rounds)
    for made in (table, bench_io.table):
        say("\n" + made(outcomes[EscalusSide], outcomes[KvmSide]) + "\n")
    target = paths.ROOT / "docs/BENCHMARK.md" if not arguments.output else arguments.output
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)
    say(f"  written to {target}")
    return 0
