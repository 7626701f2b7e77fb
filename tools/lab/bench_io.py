# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark measures of disks, network cards, computing and an installer: the same Linux guest on both sides.

A guest does its phases by itself and is quiet in between (tools/guest_load, and the scripts here), so that the exits of
each can be counted from outside. Times are by the guest's own clock, but for the installer's."""
import re
import time

from . import bench_sides, testing
from .process import crowd
from .ui import LabError, stage

DISKS = {"ide": "IDE disk, DMA", "ahci": "AHCI disk", "virtio": "virtio disk"}
CARDS = {"virtio-net": "virtio-net", "e1000": "e1000"}
PHASES = {"sequential-write": "writing 1 MiB at a time", "sequential-read": "reading 1 MiB at a time",
          "random-write": "writing 4 KiB here and there", "random-read": "reading 4 KiB here and there",
          "receive": "receiving", "send": "sending"}
TIMED_BY_GUEST = (*(f"disk {kind}" for kind in DISKS), *(f"network {kind}" for kind in CARDS))
NAMES = (*TIMED_BY_GUEST, "installer")
READY = "load ready"
QUIET = 5  # seconds that a guest is quiet before each phase and after the last
PASSED, BLOCK = 128 << 20, 64 << 10  # bytes; what is received and sent is a multiple of the first
TIMES = {"virtio-net": 4, "e1000": 1}  # so that each phase is some seconds, on both sides
ADDRESS = "10.9.8.1"
# What a connection may have under way goes by the machine's memory: what a kernel takes where there is enough, for
# guests and control OSes of any size. And nothing ends the slow start by chance: how the first acknowledgements happen to
# come tells nothing of a wire that is none (it ended at some 30 segments on one side and 640 on the other), and what a
# connection has found is not kept for the next one.
TCP = ("cd /proc/sys/net/ipv4; echo 4096 131072 6291456 >tcp_rmem; echo 4096 16384 4194304 >tcp_wmem; "
       "echo 1 >tcp_no_metrics_save; echo 0 >/sys/module/tcp_cubic/parameters/hystart")
COMPUTE = "usr/share/escalus-tests/compute"
DISK_LOAD = "usr/share/escalus-tests/disk-load"
COMPUTE_ROUNDS = 12

# Every processor at once: processes, pipes, memory; what a compilation does, but for the compiler.
COMPUTE_SCRIPT = f"""#!/bin/sh
read -r begin _ </proc/uptime
for cpu in $(seq 0 $(($(nproc) - 1))); do
  taskset $(printf %x $((1 << cpu))) sh -c 'for i in $(seq {COMPUTE_ROUNDS}); do
    seq 1 40000 | sort -r | gzip | gunzip | sha256sum >/dev/null; done' &
done
wait
read -r end _ </proc/uptime
echo "load compute done $(awk "BEGIN {{ print $end - $begin }}") s $(nproc) processors"
"""

GUEST_SCRIPTS = {
    "load-disk": f"""for i in $(seq 300); do [ -b /dev/$disk ] && break; sleep 0.2; done
echo {READY}
disk-load /dev/$disk
""",
    "load-network": f"""for i in $(seq 300); do [ -e /sys/class/net/eth0 ] && break; sleep 0.2; done
({TCP})
ip link set lo up; ip addr add 10.9.8.2/24 dev eth0; ip link set eth0 up
until ping -c 1 -W 2 {ADDRESS} >/dev/null; do :; done
timed() {{
  sleep {QUIET}
  read -r begin _ </proc/uptime
  sh -c "$3" || echo "load failed: $1"
  read -r end _ </proc/uptime
  echo "load $1 done $(awk "BEGIN {{ print $end - $begin }}") s $2 bytes"
}}
for word in $(cat /proc/cmdline); do
  case $word in escalus.times=*) times=${{word#*=}};; esac
done
bytes=$((times * {PASSED}))
echo {READY}
timed receive $bytes "for i in \\$(seq $times); do wget -q -O /dev/null http://{ADDRESS}/data || exit; done"
timed send $bytes "send-load {ADDRESS} 5001 $bytes"
sleep {QUIET}
echo load: END
""",
    "compute": COMPUTE_SCRIPT,
}


def _check_clock(side, what, phase, seconds, passed):
    """A guest's clock must not differ from the control OS's, which has been looked at to a second or two: a guest of
    KVM's had sent 512 MiB in a quarter of a second by its own."""
    if abs(passed - seconds) > 2 + 0.25 * seconds:
        raise LabError(f"{side.title}, {what}, {phase}: {seconds:.1f} s by the guest's clock, {passed:.1f} s by the "
                       "control OS's")


def _follow(side, name, results, what, timeout=400):
    """Notes each phase's speed and its exits a MiB, until the guest has done all; a phase takes at most `timeout`
    seconds."""
    counted, exits, began = 0, None, 0.0
    deadline = time.monotonic() + timeout * crowd()
    while True:
        text = side.serial(name)
        if "load failed" in text or time.monotonic() > deadline:
            raise LabError(f"{side.title}, {what}: the load did not come to its end\n{text[-1500:]}\n{side.log(name)}")
        phases = re.findall(r"load (\S+) done ([\d.]+) s (\d+)", text)
        if exits is None and READY in text:
            exits = side.exit_count(name)
            began = side.uptime()
        elif len(phases) > counted:
            now = side.exit_count(name)
            phase, seconds, size = phases[counted]
            ended = side.uptime()
            _check_clock(side, what, phase, float(seconds), ended - began - QUIET)
            began = ended
            counted += 1
            results.add(f"{what} {phase} time", float(seconds))
            results.add(f"{what} {phase} exits", (now - exits) * (1 << 20) / int(size))
            exits = now
            deadline = time.monotonic() + timeout * crowd()
        if "load: END" in text:
            return
        time.sleep(1)


def _words(run):
    return f"console=ttyS0 quiet escalus.run={run} escalus.then=stay"


def disk(side, kind, results):
    device = "vda" if kind == "virtio" else "sda"
    side.linux("disk", f"{_words('load-disk')} escalus.disk={device}", disk=kind)
    _follow(side, "disk", results, kind)
    side.stop("disk")


def disk_alone(side, results):
    """The same by the control OS itself, through its page cache, as a device model asks it to."""
    said = side.lab.run(f"/{DISK_LOAD} /media/data cached", timeout=600, check=True).text
    for phase, seconds in re.findall(r"load (\S+) done ([\d.]+) s", said):
        results.add(f"control {phase} time", float(seconds))


def card(side, kind, results):
    side.lab.run(TCP, check=True)
    side.lab.run("[ -d /tmp/www ] || { mkdir -p /tmp/www && "
                 f"head -c {PASSED} /dev/urandom >/tmp/www/data && httpd -p 80 -h /tmp/www; }}", check=True)
    side.linux("card", f"{_words('load-network')} escalus.times={TIMES[kind]}", card=kind)
    testing.wait_for("the bridge", lambda: side.lab.run(f"ip link show {bench_sides.BRIDGE}").code == 0, 60)
    side.lab.run(f"ip addr add {ADDRESS}/24 dev {bench_sides.BRIDGE}", check=True)
    side.lab.run(f"nc -l -p 5001 -e sh -c 'dd bs={BLOCK} iflag=fullblock of=/dev/null 2>/tmp/received' "
                 ">/dev/null 2>&1 </dev/null &")
    _follow(side, "card", results, kind)
    testing.wait_for("all that was sent",
                     lambda: f"{TIMES[kind] * PASSED // BLOCK}+0 records in" in side.lab.run("cat /tmp/received").text, 60)
    side.stop("card")
    side.lab.run(f"ip link del {bench_sides.BRIDGE}")


def compute_alone(side):
    """Seconds in the control OS."""
    return _computed(side.lab.run(f"sh /{COMPUTE}", timeout=1800, check=True).text)


def compute(side):
    """Seconds in a guest with as many processors."""
    side.linux("compute", _words("compute"), processors=2)
    text = testing.wait_for("the guest has computed",
                            lambda: (seen := side.serial("compute")) and "load compute done" in seen and seen, 300, pause=2)
    side.stop("compute")
    return _computed(text)


def _computed(text):
    return float(re.search(r"load compute done ([\d.]+)", text)[1])


def installer(side, results):
    """From the start of the guest to the first dialog of Debian's text installer."""
    began = time.monotonic()
    side.iso("installer", "/media/installer-text", bench_sides.INSTALLER_MEMORY)
    testing.wait_for("the installer's first dialog",
                     lambda: re.search(r"Select a language", side.text_screen("installer")), 900, pause=1)
    results.add("installer", time.monotonic() - began)
    side.stop("installer")


def clear_away(side):
    """After a measurement that failed."""
    for name in ("disk", "card"):
        side.stop(name)
    side.lab.run(f"ip link del {bench_sides.BRIDGE}")


def measure(side, wanted, results):
    for kind in DISKS:
        if wanted(f"disk {kind}"):
            disk(side, kind, results)
            disk_alone(side, results)
    for kind in CARDS:
        if wanted(f"network {kind}"):
            card(side, kind, results)
    if wanted("installer"):
        with stage(f"{side.title}: Debian's text installer"):
            installer(side, results)


def _ratio(mine, other, limit):
    if not mine or not other:
        return "-"
    return f"{mine / other:.2f}" + ("" if mine <= other * limit else " (missed)")


def table(ours, theirs):
    """Two lines for each phase: time, wanted at most 0.6 of the other's; exits, wanted no more."""
    lines = ["| | Escalus | KVM + QEMU | ratio | wanted |", "| --- | ---: | ---: | ---: | ---: |"]
    for kind, what in {**DISKS, **CARDS}.items():
        for phase, doing in PHASES.items():
            for figure, unit, limit in (("time", "s", 0.6), ("exits", "exits a MiB", 1.0)):
                mine, other = (side.median(f"{kind} {phase} {figure}") for side in (ours, theirs))
                if mine is not None or other is not None:
                    numbers = " | ".join("-" if value is None else f"{value:,.2f}" if unit == "s" else f"{value:,.0f}"
                                         for value in (mine, other))
                    lines.append(f"| {what}, {doing}, {unit} | {numbers} | {_ratio(mine, other, limit)} | at most {limit} |")
    for phase, doing in PHASES.items():
        mine, other = (side.median(f"control {phase} time") for side in (ours, theirs))
        if mine is not None and other is not None:
            lines.append(f"| the control OS itself, {doing}, s | {mine:,.2f} | {other:,.2f} | {mine / other:.2f} | |")
    mine, other = ours.median("installer"), theirs.median("installer")
    if mine is not None:
        lines.append(f"| Debian's text installer to its first dialog, s | {mine:.1f} | "
                     f"{'-' if other is None else f'{other:.1f}'} | {_ratio(mine, other, 0.6)} | at most 0.6 |")
    for where, what, wanted in (("guest", "in a guest", 1.05), ("control", "in the control OS", None)):
        mine, other = (side.median(f"compute {where}") for side in (ours, theirs))
        if mine is not None and other is not None:
            lines.append(f"| computing on 2 processors {what}, s | {mine:.1f} | {other:.1f} | "
                         + (f"{_ratio(mine, other, wanted)} | at most {wanted} |" if wanted else f"{mine / other:.2f} | |"))
    return "\n".join(lines)
