# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab bench`: Escalus against KVM with Debian's QEMU, in like emulated machines of one CPU, in one run.

Both sides run the same control kernel, the same guests and the same measuring programs; each has the computer for
itself while it is measured. Cycles are those of the guest's TSC."""
import json
import platform
import re
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from . import boot, build, emulator, initramfs, instructions, machine, media, packages, paths, testing
from .ui import LabError, say, stage

ROUNDS = 3 # each on machines of their own: how an emulator's process lies in memory changes its speed by half
MARKER = "guest: user space reached"
GUEST_MEMORY = 256
TESTS = "usr/share/escalus-tests"
QEMU = "/usr/bin/qemu-system-x86_64"
QEMU_FILES = ["/usr/share/seabios", "/usr/lib/ipxe/qemu", "/usr/share/qemu"]
QEMU_NEEDED = re.compile(r"(bios-256k\.bin|vgabios-stdvga\.bin|linuxboot_dma\.bin|multiboot_dma\.bin|multiboot\.bin|"
                         r"linuxboot\.bin|kvmvapic\.bin|en-us|common)$")
TARGETS = {"cpuid": 0.45, "port": 0.40, "iso": 0.50}
WHAT = {"cpuid": "CPUID, TSC cycles", "port": "port read by the device model, TSC cycles",
        "mmio": "memory-mapped read by the device model, TSC cycles",
        "iso": "small Linux ISO to user space, s", "direct": "direct boot to user space, s",
        "resident": "resident beyond guest memory, MiB"}


@dataclass
class Results:
    values: dict = field(default_factory=dict)  # name -> list of measurements
    exits: dict = field(default_factory=dict)   # name -> text

    def add(self, name, value):
        self.values.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.values[name]) if self.values.get(name) else None


def _files():
    return {f"{TESTS}/exit_cost": build.guest_kernel("exit_cost"), f"{TESTS}/linux-cloud": packages.kernel("cloud")[0],
             f"{TESTS}/initramfs": media.guest_initramfs(media.GUEST_SCRIPTS, (), "cloud")}


class EscalusSide:
    title = "Escalus"

    def __init__(self, lab):
        self.lab = lab

    def _domain(self, name, **keys):
        lines = [f"name = '{name}'", f"memory = {GUEST_MEMORY}", "vnc = 0", f"serial = 'file:/tmp/{name}.serial'",
                 "on_reboot = 'destroy'"]
        lines += [f"{key} = {value!r}" for key, value in keys.items()]
        self.lab.channel.put(("\n".join(lines) + "\n").encode(), f"/tmp/{name}.cfg")
        self.lab.run(f"rm -f /tmp/{name}.serial")
        return name

    def start(self, name, **keys):
        keys.setdefault("boot", "d")
        self._domain(name, **keys)
        self.lab.run(f"escalus create /tmp/{name}.cfg >/tmp/{name}.log 2>&1 </dev/null &")

    def kernel(self, name, kernel, ramdisk=None, extra=""):
        keys = {"kernel": f"/{kernel}", "extra": extra}
        if ramdisk:
            keys["ramdisk"] = f"/{ramdisk}"
        self.start(name, **keys)

    def iso(self, name, path):
        self.start(name, disk=[f"{path},raw,hdc,cdrom"])

    def log(self, name):
        return self.lab.run(f"cat /tmp/{name}.log").text

    def serial(self, name):
        return self.lab.run(f"cat /tmp/{name}.serial 2>/dev/null").text

    def process(self, name):
        return self.lab.run(f"tail -n 1 /run/escalus/{name}/pid").text.strip()

    def resident(self, name):
        """MiB of the device model apart from the guest's memory, which is not its own but mapped."""
        rollup = self.lab.run(f"cat /proc/{self.process(name)}/smaps").text
        total, skip = 0, False
        for line in rollup.splitlines():
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                skip = "/dev/mem" in line
            elif line.startswith("Rss:") and not skip:
                total += int(line.split()[1])
        return total / 1024

    def exits(self, name):
        done = self.lab.run(f"escalus stat --json {name}")
        if done.code != 0:
            return ""
        counted = sorted(((entry["count"], entry["name"]) for entry in json.loads(done.text).get("exits", [])),
                         reverse=True)
        return ", ".join(f"{what} {count:,}" for count, what in counted[:6] if count)

    def stop(self, name):
        self.lab.run(f"escalus destroy {name}")
        testing.wait_for(f"{name} is gone", lambda: name not in self.lab.run("escalus list").text, 60)


class KvmSide:
    title = "KVM + QEMU"

    def __init__(self, lab):
        self.lab = lab

    def _start(self, name, options):
        self.lab.run(f"rm -f /tmp/{name}.serial")
        self.lab.run(f"qemu-system-x86_64 -accel kvm -machine pc -cpu host -smp 1 -m {GUEST_MEMORY} -display none "
                     f"-vga std -nodefaults -no-reboot -serial file:/tmp/{name}.serial {options} "
                     f">/tmp/{name}.log 2>&1 </dev/null & echo $! >/tmp/{name}.pid")

    def kernel(self, name, kernel, ramdisk=None, extra=""):
        self._start(name, f"-kernel /{kernel}" + (f" -initrd /{ramdisk}" if ramdisk else "")
                    + (f" -append '{extra}'" if extra else ""))

    def iso(self, name, path):
        self._start(name, f"-drive file={path},format=raw,if=ide,index=2,media=cdrom,readonly=on -boot d")

    def log(self, name):
        return self.lab.run(f"cat /tmp/{name}.log").text

    def serial(self, name):
        return self.lab.run(f"cat /tmp/{name}.serial 2>/dev/null").text

    def process(self, name):
        return self.lab.run(f"cat /tmp/{name}.pid").text.strip()

    def resident(self, name):
        """MiB apart from the guest's memory: the one mapping of its size."""
        mappings = self.lab.run(f"cat /proc/{self.process(name)}/smaps").text
        total, skip = 0, False
        for line in mappings.splitlines():
            found = re.match(r"^([0-9a-f]+)-([0-9a-f]+) ", line)
            if found:
                skip = int(found[2], 16) - int(found[1], 16) >= GUEST_MEMORY << 20
            elif line.startswith("Rss:") and not skip:
                total += int(line.split()[1])
        return total / 1024

    def exits(self, name):
        self.lab.run("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null")
        text = self.lab.run("cd /sys/kernel/debug/kvm && for f in exits io_exits mmio_exits halt_exits irq_exits; do "
                            "echo $f $(cat $f); done").text
        return ", ".join(f"{what} {int(count):,}" for what, count in re.findall(r"(\w+) (\d+)", text) if int(count))

    def stop(self, name):
        self.lab.run(f"kill $(cat /tmp/{name}.pid)")
        testing.wait_for(f"{name} is gone", lambda: self.lab.run(f"kill -0 $(cat /tmp/{name}.pid)").code != 0, 60)


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


def _escalus_machine(iso):
    parts = machine.parts("cloud", install_tree=build.install_tree(), extra_files=_files())
    return machine.LabMachine(parts, machine.Options(pool=GUEST_MEMORY + machine.POOL_OVERHEAD, name="bench-escalus",
                                                     media=[emulator.Medium("linux", iso)]))


def _kvm_machine(iso):
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
    return machine.LabMachine(parts, machine.Options(pool=GUEST_MEMORY + 256, name="bench-kvm",
                                                     media=[emulator.Medium("linux", iso)]))


def _number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def table(ours, theirs):
    lines = ["| | Escalus | KVM + QEMU | ratio | wanted |", "| --- | ---: | ---: | ---: | ---: |"]
    for name in ("cpuid", "port", "mmio", "iso", "direct", "resident"):
        mine, other = ours.median(name), theirs.median(name)
        ratio = f"{mine / other:.2f}" if mine and other else "-"
        wanted = {"resident": "at most 40 MiB"}.get(name, f"at most {TARGETS[name]}" if name in TARGETS else "")
        lines.append(f"| {WHAT[name]} | {_number(mine)} | {_number(other)} | {ratio} | {wanted} |")
    return "\n".join(lines)


def _document(ours, theirs):
    qemu = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=paths.ROOT, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.DEVNULL, check=False).stdout.strip()
    parts = [f"""# Benchmark

Made by `./lab bench` on {time.strftime("%Y-%m-%d")}{f", commit {commit}" if commit else ""}, in one run. Both sides run
in emulated machines of one CPU with AMD-V ({qemu}, TCG, `-cpu EPYC,+svm,+npt`), with Debian's cloud kernel
{packages.kernel("cloud")[2]} as control kernel and the same guests of {GUEST_MEMORY} MiB; in turn. Each figure
is the median of {ROUNDS} rounds, each on machines of its own. Cycles are of the guest's TSC, each run's the median of 21 batches of 100
exits. Emulated exits cost far more than real ones, on both sides; the ratios are what to look at.

{table(ours, theirs)}

"ISO" is GRUB, kernel and initramfs on a CD of about 38 MB, from the start of the guest to its first process; "direct"
is the same kernel started without firmware menus. "Resident" is what the device model (or QEMU) occupies apart from the
guest's memory, in user space.

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

    boot.prepare("guest_exit_cost")
    with stage("ISO of a small Linux"):
        iso = media.small_linux_iso("console=ttyS0 quiet escalus.then=stay")
    outcomes = {EscalusSide: Results(), KvmSide: Results()}
    for number in range(ROUNDS):
        for make, side in ((_escalus_machine, EscalusSide), (_kvm_machine, KvmSide)):
            lab = make(iso)
            try:
                with stage(f"round {number + 1}, {side.title}: machine"):
                    lab.start()
                _measure(side(lab), wanted, outcomes[side])
            finally:
                lab.stop()
    text = _document(outcomes[EscalusSide], outcomes[KvmSide])
    say("\n" + table(outcomes[EscalusSide], outcomes[KvmSide]) + "\n")
    target = paths.ROOT / "docs/BENCHMARK.md" if not arguments.output else arguments.output
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)
    say(f"  written to {target}")
    return 0
