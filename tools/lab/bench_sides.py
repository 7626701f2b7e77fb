# SPDX-License-Identifier: GPL-2.0-or-later
"""The two sides of the benchmark: how a guest is started, watched, counted and stopped on each."""
import json
import re

from . import testing

GUEST_MEMORY, INSTALLER_MEMORY = 256, 1024  # MiB
MARKER = "guest: user space reached"
BRIDGE, TAP = "bench0", "benchtap0"
TESTS = "usr/share/escalus-tests"
LINUX, LINUX_RAMDISK = f"{TESTS}/linux", f"{TESTS}/initramfs-linux"  # with drivers for disks and cards
MONITOR_PORT = 4444  # QEMU's


class Side:
    def __init__(self, lab):
        self.lab = lab

    def log(self, name):
        return self.lab.run(f"cat /tmp/{name}.log").text

    def uptime(self):
        """Seconds by the control OS's clock."""
        return float(self.lab.run("cat /proc/uptime", check=True).text.split()[0])

    def serial(self, name):
        return self.lab.run(f"cat /tmp/{name}.serial 2>/dev/null").text

    def _resident(self, process, is_guests):
        """MiB of a process but for the mappings, given as (line, bytes), that are the guest's memory."""
        total, skip = 0, False
        for line in self.lab.run(f"cat /proc/{process}/smaps").text.splitlines():
            found = re.match(r"^([0-9a-f]+)-([0-9a-f]+) ", line)
            if found:
                skip = is_guests(line, int(found[2], 16) - int(found[1], 16))
            elif line.startswith("Rss:") and not skip:
                total += int(line.split()[1])
        return total / 1024


class EscalusSide(Side):
    title = "Escalus"

    def _domain(self, name, **keys):
        keys.setdefault("memory", GUEST_MEMORY)
        lines = [f"name = '{name}'", "vnc = 0", f"serial = 'file:/tmp/{name}.serial'",
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

    def iso(self, name, path, memory=GUEST_MEMORY):
        self.start(name, disk=[f"{path},raw,hdc,cdrom"], memory=memory)

    def linux(self, name, extra, disk=None, card=None, processors=1):
        """Linux with a disk of a kind (ide, ahci, virtio), or a card on a bridge."""
        kinds = {"ide": ("hda", {}), "ahci": ("hda", {"hdtype": "ahci"}), "virtio": ("xvda", {})}
        keys = {"kernel": f"/{LINUX}", "ramdisk": f"/{LINUX_RAMDISK}", "extra": extra, "vcpus": processors}
        if disk:
            device, more = kinds[disk]
            keys.update(disk=[f"/media/data,raw,{device},rw"], **more)
        if card:
            keys["vif"] = [f"bridge={BRIDGE},vifname={TAP},model={card}"]
        self.start(name, **keys)

    def text_screen(self, name):
        return self.lab.run(f"escalus screenshot --text {name}").text

    def process(self, name):
        return self.lab.run(f"tail -n 1 /run/escalus/{name}/pid").text.strip()

    def resident(self, name):
        """MiB of the device model apart from the guest's memory, which is not its own but mapped."""
        return self._resident(self.process(name), lambda line, _: "/dev/mem" in line)

    def _counters(self, name):
        done = self.lab.run(f"escalus stat --json {name}")
        return [] if done.code != 0 else json.loads(done.text).get("exits", [])

    def exits(self, name):
        counted = sorted(((entry["count"], entry["name"]) for entry in self._counters(name)), reverse=True)
        return ", ".join(f"{what} {count:,}" for count, what in counted[:6] if count)

    def exit_count(self, name):
        """Exits so far, of all kinds: as many as entries."""
        return sum(entry["count"] for entry in self._counters(name) if entry["name"] == "entries")

    def stop(self, name):
        self.lab.run(f"escalus destroy {name}")
        testing.wait_for(f"{name} is gone", lambda: name not in self.lab.run("escalus list").text, 60)


class KvmSide(Side):
    title = "KVM + QEMU"

    def _start(self, name, options, memory=GUEST_MEMORY, processors=1):
        self.lab.run(f"rm -f /tmp/{name}.serial")
        self.lab.run(f"qemu-system-x86_64 -accel kvm -machine pc -cpu host -smp {processors} -m {memory} -display none "
                     f"-vga std -nodefaults -no-reboot -serial file:/tmp/{name}.serial "
                     f"-monitor tcp:127.0.0.1:{MONITOR_PORT},server,nowait {options} "
                     f">/tmp/{name}.log 2>&1 </dev/null & echo $! >/tmp/{name}.pid")

    def kernel(self, name, kernel, ramdisk=None, extra=""):
        self._start(name, f"-kernel /{kernel}" + (f" -initrd /{ramdisk}" if ramdisk else "")
                    + (f" -append '{extra}'" if extra else ""))

    def linux(self, name, extra, disk=None, card=None, processors=1):
        """As on the other side."""
        disks = {"ide": "-drive file=/media/data,format=raw,if=ide",
                 "ahci": "-device ich9-ahci,id=ahci -drive file=/media/data,format=raw,if=none,id=d "
                         "-device ide-hd,drive=d,bus=ahci.0",
                 "virtio": "-drive file=/media/data,format=raw,if=none,id=d -device virtio-blk-pci,drive=d", None: ""}
        cards = {"virtio-net": "virtio-net-pci", "e1000": "e1000"}
        options = disks[disk]
        if card:
            options = (f"-netdev tap,id=n,ifname={TAP},script=no,downscript=no "
                       f"-device {cards[card]},netdev=n,romfile=,mac=00:16:3e:00:00:01")
        self._start(name, f"-kernel /{LINUX} -initrd /{LINUX_RAMDISK} -append '{extra}' {options}",
                    processors=processors)
        if card:
            testing.wait_for(f"{TAP} is there", lambda: self.lab.run(f"ip link show {TAP}").code == 0, 60)
            self.lab.run(f"brctl addbr {BRIDGE} && brctl addif {BRIDGE} {TAP} && ip link set {TAP} up && "
                         f"ip link set {BRIDGE} up", check=True)

    def text_screen(self, name):
        """The 80x25 characters of the VGA's text memory, by QEMU's monitor."""
        dump = self.lab.run(f"(echo 'xp /2000hx 0xb8000'; sleep 1) | timeout 2 nc 127.0.0.1 {MONITOR_PORT}").text
        cells = [int(word, 16) & 0xff for line in dump.splitlines() if re.match(r"^[0-9a-f]{8,}: ", line)
                 for word in line.split()[1:]]
        return "".join(chr(cell) if 32 <= cell < 127 else " " for cell in cells)

    def iso(self, name, path, memory=GUEST_MEMORY):
        self._start(name, f"-drive file={path},format=raw,if=ide,index=2,media=cdrom,readonly=on -boot d", memory)

    def process(self, name):
        return self.lab.run(f"cat /tmp/{name}.pid").text.strip()

    def resident(self, name):
        """MiB apart from the guest's memory: the one mapping of its size."""
        return self._resident(self.process(name), lambda _, size: size >= GUEST_MEMORY << 20)

    def exit_count(self, _name):
        self.lab.run("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null")
        return int(self.lab.run("cat /sys/kernel/debug/kvm/exits", check=True).text)

    def exits(self, _name):
        self.lab.run("mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null")
        text = self.lab.run("cd /sys/kernel/debug/kvm && for f in exits io_exits mmio_exits halt_exits irq_exits; do "
                            "echo $f $(cat $f); done").text
        return ", ".join(f"{what} {int(count):,}" for what, count in re.findall(r"(\w+) (\d+)", text) if int(count))

    def stop(self, name):
        self.lab.run(f"kill $(cat /tmp/{name}.pid)")
        testing.wait_for(f"{name} is gone", lambda: self.lab.run(f"kill -0 $(cat /tmp/{name}.pid)").code != 0, 60)
