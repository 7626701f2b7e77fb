# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab bench --target vmx`: how many instructions a guest's exit takes, up to the guest's next instruction.

Bochs counts instructions exactly, and its time stamp counter is that count: what the guest `exit_cost` prints as cycles
is instructions. The least of its batches is the one that no interrupt of the control OS fell into."""
import re
import time

from . import boot, build, machine
from .process import crowd
from .ui import LabError, say, stage

LIMITS = {"unpaged_cpuid": 400, "unpaged_port": 1500, "unpaged_mmio": 1500}  # what docs/SPECIFICATION.md promises
WHAT = {"unpaged_cpuid": "CPUID, handled by the monitor", "unpaged_port": "port read by the device model",
        "unpaged_mmio": "memory-mapped read by the device model"}
KERNEL = "usr/share/escalus-tests/exit_cost"


def _parts(target):
    return machine.parts(machine.kernel_of(target), install_tree=build.install_tree(), target=target,
                         extra_files={KERNEL: build.guest_kernel("exit_cost")})


def _measure(lab):
    domain = (f"name = 'cost'\nmemory = 32\nvnc = 0\nkernel = '/{KERNEL}'\nserial = 'file:/tmp/cost.serial'\n"
              "on_reboot = 'destroy'\n")
    lab.channel.put(domain.encode(), "/tmp/cost.cfg")
    lab.run("setsid escalus create /tmp/cost.cfg >/tmp/cost.log 2>&1 </dev/null &")
    deadline = time.monotonic() + 900 * crowd()
    while time.monotonic() < deadline:
        text = lab.run("cat /tmp/cost.serial").text
        if "exit cost, END" in text:
            return {name: (int(median), int(least)) for name, median, least in
                    re.findall(r"cost (\w+) median (\d+) least (\d+)", text)}
        time.sleep(2)
    raise LabError(f"the guest did not finish:\n{text}\n{lab.run('cat /tmp/cost.log').text}")


def table(results):
    nothing = results["nothing"][1]
    lines = ["| exit | instructions, least | median | promised |", "| --- | ---: | ---: | ---: |"]
    for name, what in WHAT.items():
        median, least = results[name]
        limit = LIMITS[name]
        lines.append(f"| {what} | {least - nothing} | {median - nothing} | at most {limit} |")
    return "\n".join(lines)


def count(target):
    boot.prepare("guest_exit_cost")
    with stage("control OS"):
        parts = _parts(target)
    lab = machine.LabMachine(parts, machine.Options(target=target, pool=256, name="count"))
    try:
        with stage(f"monitor and control OS (target {target})") as progress:
            lab.options.progress = progress.tell
            lab.start()
        with stage("exits"):
            results = _measure(lab)
    finally:
        lab.stop()
    say("\n" + table(results) + "\n")
    return 1 if any(results[name][1] - results["nothing"][1] > limit for name, limit in LIMITS.items()) else 0
