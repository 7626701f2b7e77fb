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


for _vcpus in (2, 4):
    boot_test(f"processors-linux-{_vcpus}", f"Debian's cloud kernel with {_vcpus} vCPUs on one CPU: all work, it powers off"
              )(lambda context, vcpus=_vcpus: _linux(context, f"linux{vcpus}", vcpus))


@boot_test("processors-every-ipi", "IPIs of each kind, INIT and SIPI, NMI, MADT and MP table, with 4 vCPUs")
def every_ipi(context):
    guest = context.create("ipis", kernel=f"{TESTS}/guests/processors", vcpus=4)
    text = guest.wait_serial(r"processors: .*END", 400)
    require("processors: 4, " in text and ", 0 failed, END" in text, text)
    require("WRONG" not in text, text)


@boot_test("processors-on-two-cpus", "vCPUs on two CPUs, pinned: every IPI, and Linux", own_machine=True)
def on_two_cpus(context):
    with context.shared.machine(cpus=2, media=[], name="smp2", pool=640) as lab:
        context.lab = lab
        try:
            every_ipi(context)
            _linux(context, "two", 2, cpus=["0", "1"])
            trouble = lab.run(HOST_CHECK).text
            require(not trouble, f"the kernel complains:\n{trouble}")
        finally:
            context.finish()
