# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with several processors: Linux, and a kernel that tries every way to send an interrupt."""
import re

from lab.testing import boot_test, require, wait_for

TESTS = "/usr/share/escalus-tests"
HOST_CHECK = "dmesg | grep -E 'BUG|Oops|soft lockup|Call Trace' ; true"


def _linux(context, name, vcpus, **more):
    """Boots, loads every processor, powers off."""
    guest = context.create(name, kernel=f"{TESTS}/linux-cloud", ramdisk=f"{TESTS}/initramfs-linux-cloud", memory=256,
                           extra="console=ttyS0 quiet escalus.run=processors", vcpus=vcpus, **more)
    text = guest.wait_serial(r"processors: done", 400)
    require(f"processors: {vcpus} of {vcpus}" in text, text)
    require(f"packages: 1, cores: {vcpus}" in text, text)
    require(text.count("loaded: ") == vcpus, f"not every processor did its work:\n{text}")
    require(len(set(re.findall(r"loaded: (\w+)", text))) == 1, f"the sums are not the same:\n{text}")
    require("trouble: 0" in text, text)
    require(guest.wait_end(120) == 0, guest.log())


@boot_test("processors-linux-2", "Debian's cloud kernel with 2 vCPUs on one CPU: both work, it powers off")
def linux_2(context):
    _linux(context, "linux2", 2)


# It takes 10 s on an idle machine. On a busy one it hung, while Linux read the HPET instead of the TSC.
@boot_test("processors-linux-4", "Debian's cloud kernel with 4 vCPUs on one CPU: all work, it powers off", long=True)
def linux_4(context):
    _linux(context, "linux4", 4)


@boot_test("processors-every-ipi", "IPIs of each kind, INIT and SIPI, NMI, MADT and MP table, with 4 vCPUs")
def every_ipi(context):
    guest = context.create("ipis", kernel=f"{TESTS}/guests/processors", vcpus=4)
    text = guest.wait_serial(r"processors: .*END", 400)
    require("processors: 4, " in text and ", 0 failed, END" in text, text)
    require("WRONG" not in text, text)


@boot_test("kvm-interface", "Linux finds KVM's clock, with the right time, and x2APIC; and neither with paravirt = 'none'")
def kvm_interface(context):
    for offered in (True, False):
        name = "offered" if offered else "hidden"
        guest = context.create(name, kernel=f"{TESTS}/linux-cloud", ramdisk=f"{TESTS}/initramfs-linux-cloud", memory=256,
                               extra="console=ttyS0 quiet escalus.run=clocks", vcpus=2,
                               paravirt=None if offered else "none")
        text = guest.wait_serial(r"clocks: done", 400)
        now = int(context.run("date +%s", check=True).text)
        require(("Hypervisor detected: KVM" in text) == offered, text)
        require(("kvm-clock" in re.search(r"clocks: (.*)", text)[1].split()) == offered, text)
        require(("x2apic enabled" in text) == offered, text)
        require(abs(int(re.search(r"seconds: (\d+)", text)[1]) - now) < 60, f"the guest has the wrong time:\n{text}")
        require(guest.wait_end(120) == 0, guest.log())


def _share(context):
    """`cpus`, `cpu_weight` and `cap` are where the kernel says they are; `stat` and `list` know each vCPU."""
    guest = context.create("share", kernel=f"{TESTS}/linux-cloud", ramdisk=f"{TESTS}/initramfs-linux-cloud",
                           memory=256, extra="console=ttyS0 quiet escalus.run=spin escalus.then=stay", vcpus=2,
                           cpus=["1", "0"], cpu_weight=512, cap=50)
    guest.wait_serial(r"spinning", 400)
    pid = context.run(f"cat /run/escalus/{guest.name}/pid", check=True).text.split()[-1]
    allowed = context.run(f"for t in /proc/{pid}/task/*; do echo $(cat $t/comm) "
                          "$(grep Cpus_allowed_list $t/status); done", check=True).text
    require("vcpu0 Cpus_allowed_list: 1" in allowed and "vcpu1 Cpus_allowed_list: 0" in allowed, allowed)
    group = f"/sys/fs/cgroup/escalus/{guest.name}"
    require(context.run(f"cat {group}/cpu.weight {group}/cpu.max", check=True).text == "200\n50000 100000\n",
            "the group's weight and maximum are wrong")
    require(pid in context.run(f"cat {group}/cgroup.procs", check=True).text.split(), "it is not in its group")
    used = "grep usage_usec {0}/cpu.stat; read up _ </proc/uptime; echo $up; sleep 6; " \
           "grep usage_usec {0}/cpu.stat; read up _ </proc/uptime; echo $up".format(group)
    before, begin, after, end = re.findall(r"[\d.]+", context.run(used, check=True).text)
    share = (int(after) - int(before)) / 1e6 / (float(end) - float(begin))
    require(0.1 < share < 0.6, f"a busy guest with cap = 50 used {share:.2f} of a CPU")
    counted = context.run(["escalus", "stat", guest.name], check=True).text
    require(re.search(r"vCPU 0 .*entries", counted) and re.search(r"vCPU 1 .*entries", counted), counted)
    require(guest.state()["vcpus"] == 2, f"{guest.state()}")
    guest.destroy()
    wait_for("the guest and its group are gone",
             lambda: guest.state() is None and context.run(f"test -d {group}").code != 0, 60)


@boot_test("processors-on-two-cpus", "vCPUs on two CPUs, pinned: every IPI, Linux, shares", long=True,
           own_machine=True)
def on_two_cpus(context):
    with context.shared.machine(cpus=2, media=[], name="smp2", pool=640) as lab:
        context.lab = lab
        try:
            every_ipi(context)
            _linux(context, "two", 2, cpus=["0", "1"])
            _share(context)
            trouble = lab.run(HOST_CHECK).text
            require(not trouble, f"the kernel complains:\n{trouble}")
        finally:
            context.finish()
