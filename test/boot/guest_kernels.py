# SPDX-License-Identifier: GPL-2.0-or-later
"""Small Multiboot kernels (test/boot/guests): modules, and guests that misbehave in every way they know."""
import re
import time

from lab import bochs
from lab.testing import boot_test, require

GUESTS = "/usr/share/escalus-tests/guests"


def _kernel(context, name, **more):
    more.setdefault("on_crash", "destroy")
    more.setdefault("on_reboot", "destroy")
    return context.create(name.replace("_", "-"), kernel=f"{GUESTS}/{name}", **more)


def _checksum(content):
    total = 0
    for byte in content:
        total = ((total << 1 | total >> 31) & 0xFFFFFFFF) ^ byte
    return f"{total:08x}"


def _responsive(context):
    began = time.monotonic()
    context.run("true", check=True)
    require(time.monotonic() - began < 15, "the control OS takes long to answer")


@boot_test("multiboot-modules", "a multiboot kernel with two modules gets both, and its command line")
def modules(context):
    contents = [b"first module", bytes(range(256)) * 300]
    for number, content in enumerate(contents):
        context.lab.channel.put(content, f"/tmp/module{number}")
    guest = _kernel(context, "modules", extra="one two=3",
                    ramdisk=["/tmp/module0 type=rootfs name=ramdisk", "/tmp/module1 second"])
    text = guest.wait_serial(r"modules: \d+, END", 90)
    require("magic right" in text, text)
    require("one two=3" in text, f"the command line is missing:\n{text}")
    require("modules: 2, END" in text, text)
    for number, content in enumerate(contents):
        expected = f"module {number}: {len(content)} bytes, checksum {_checksum(content)}, string: "
        require(expected in text, f"no line {expected!r} in\n{text}")
    require("type=rootfs name=ramdisk" in text, text)


@boot_test("triple-fault", "a triple fault ends the guest by on_crash or on_reboot, as hardware would reset")
def triple_fault(context):
    guest = _kernel(context, "triple_fault", may_fail=True)
    guest.wait_serial(r"triple fault now", 60)
    guest.wait_end(60)
    require("alive after" not in guest.serial(), "the guest went on after a triple fault")
    _responsive(context)


def _goes_on_or_ends(context, name, begins, seconds):
    guest = _kernel(context, name, may_fail=True)
    guest.wait_serial(begins, 60)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and guest.result() is None and "END" not in guest.serial():
        _responsive(context)
        time.sleep(2)
    _responsive(context)
    return guest


@boot_test("garbage", "a guest executes random bytes: it ends or goes on, the control OS stays responsive")
def garbage(context):
    guest = _goes_on_or_ends(context, "garbage", r"garbage begins", 90)
    require("garbage round 100" in guest.serial() or guest.result() is not None,
            f"the guest neither went on nor ended:\n{guest.serial()}\n{guest.log()}")


# QEMU's TCG forgets to take a guest's breakpoints away when it leaves guest mode: no other test after this one.
@boot_test("debug-loop", "endless #DB: the guest ends or goes on, the control OS stays responsive", fresh=True)
def debug_loop(context):
    _goes_on_or_ends(context, "debug_loop", r"#DB loop now", 20)


@boot_test("alignment-loop", "endless #AC: the guest ends or goes on, the control OS stays responsive")
def alignment_loop(context):
    _goes_on_or_ends(context, "alignment_loop", r"#AC loop now", 20)


@boot_test("every-port", "a guest reads and writes every port: it goes on, or resets as hardware would")
def every_port(context):
    guest = _goes_on_or_ends(context, "every_port", r"ports read", 240)
    require("high ports written" in guest.serial(), f"it came not far:\n{guest.serial()}\n{guest.log()}")


@boot_test("unmapped-memory", "addresses where nothing is: all ones are read, writes are lost")
def unmapped_memory(context):
    guest = _kernel(context, "unmapped_memory")
    text = guest.wait_serial(r"unmapped memory, END", 240)
    require("touched 0 places" not in text, text)


@boot_test("task-switch", "hardware task switches by CALL, JMP, IRET and task gates, of 32 and 16 bits", also_on=("vmx",))
def task_switch(context):
    # QEMU's TCG (7.2) switches tasks itself, and leaves out the debug trap.
    extra = "" if context.shared.target in bochs.MODELS else "no-debug-trap"
    text = _kernel(context, "task_switch", extra=extra).wait_serial(r"task-switch: \d+ failed, END", 90)
    require("task-switch: 0 failed" in text, text)


@boot_test("task-priority", "interrupts that the task priority holds back come when it is lowered, and cost nothing until then",
           also_on=("vmx",))
def task_priority(context):
    # Intel's processors have no such instruction outside 64-bit code.
    guest = _kernel(context, "task_priority", extra="" if context.shared.target == "vmx" else "cr8")
    text = guest.wait_serial(r"task priority: \d+ failed, END", 90)
    require("task priority: 0 failed" in text, text)
    counts = context.run(["escalus", "stat", guest.name], check=True).text
    windows = re.search(r"^ *(\d+)  device model: irq window$", counts, re.MULTILINE)
    require(windows is None or int(windows[1]) < 50, f"it left guest mode again and again:\n{counts}")


@boot_test("interrupt-shadow", "an interrupt that waits for IF comes one instruction after STI, not at once", also_on=("vmx",))
def interrupt_shadow(context):
    guest = _kernel(context, "interrupt_shadow", extra="few" if context.shared.target == "vmx" else "")
    # It is when the control OS's own interrupts end guest mode just there that it can go wrong.
    context.run("for i in 1 2; do (for j in $(seq 3000); do usleep 200; done) >/dev/null 2>&1 </dev/null & done")
    text = guest.wait_serial(r"interrupt shadow: .*END", 240)
    require("interrupt shadow: 0 of" in text and ", 0 not at all" in text, text)


@boot_test("registers", fresh=True, what="SSE and debug registers of guest and control OS stay apart")
def registers(context):
    guest = _kernel(context, "registers", extra="long")
    began = time.monotonic()
    held = 0
    while "END" not in guest.serial() and time.monotonic() - began < 300:
        # Something that uses the vector unit of the control OS meanwhile: strings and checksums in libc.
        context.run("head -c 1000000 /dev/zero | sha256sum; escalus list >/dev/null")
        done = context.run("register_holder 2000", check=True)
        require(", 0 lost" in done.text, str(done))
        held += 1
    require(held >= 2, f"the guest ended before the control OS's registers were looked at: {held} times")
    text = guest.wait_serial(r"registers: \d+ rounds, 0 lost, END", 30)
    require("0 lost" in text, text)
