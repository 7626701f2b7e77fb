# SPDX-License-Identifier: GPL-2.0-or-later
"""What is particular to VT-x, in Bochs: which back end is in use, two CPUs, its parts switched off one by one."""
import re

from lab.testing import boot_test, require, running_guests, wait_for

TESTS = "/usr/share/escalus-tests"
# Bochs' XSAVE sizes displease the kernel (xstate.c), with the monitor or without it.
HOST_CHECK = "dmesg | grep -E 'BUG|Oops|soft lockup|WARNING' | grep -v 'fpu/xstate.c' ; true"


def _check(lab, cpus):
    require("VT-x" in lab.run("escalus version", check=True).text, "`escalus version` does not say VT-x")
    require(lab.run("nproc").text.strip() == str(cpus), f"not {cpus} CPUs: {lab.run('nproc')}")
    require(not lab.run("grep -wE 'svm|vmx' /proc/cpuinfo | head -1").text, "the control OS sees virtualization")
    trouble = lab.run(HOST_CHECK).text
    require(not trouble, f"the kernel complains:\n{trouble}")


@boot_test("vtx-control-os", "the control OS above VT-x: the back end is named, VMX is hidden", target="vmx")
def control_os(context):
    _check(context.lab, 1)
    log = context.run("escalus dmesg", check=True).text
    require(re.search(r"VT-x: EPT, unrestricted guest, true controls, VPID", log), log)
    require(", preemption timer, virtual-interrupt delivery" in log, log)


@boot_test("vtx-kill", "kill -9 of the device model: the VM is gone, and the next guest starts", target="vmx")
def kill(context):
    keys = {"kernel": f"{TESTS}/linux-cloud", "ramdisk": f"{TESTS}/initramfs-linux-cloud", "memory": 128}
    guest = context.create("victim", extra=f"console=ttyS0 escalus.then=stay {context.kernel_words}", **keys)
    wait_for("it executes", lambda: "io" in context.run(["escalus", "stat", guest.name]).text, 30)
    pid = context.run(f"cat /run/escalus/{guest.name}/pid", check=True).text.split()[-1]
    context.run(f"kill -9 {pid}", check=True)
    wait_for("`create` has noticed", lambda: guest.result() is not None, 60)
    wait_for("no guest is listed", lambda: not running_guests(context.lab), 60)
    following = context.create("next", extra=f"console=ttyS0 escalus.then=stay {context.kernel_words}", **keys)
    following.wait_serial(r"Linux version", 60)
    wait_for("its timers end guest mode by themselves",
             lambda: re.search(r"\d  preemption timer$", context.run(["escalus", "stat", following.name]).text, re.MULTILINE), 60)


@boot_test("tsc-rate", "`tsc_khz`: the guest's TSC runs at that rate, and stays right when the guest sets it", target="vmx")
def tsc_rate(context):
    def rates(name, **keys):
        guest = context.create(name, kernel=f"{TESTS}/guests/clock_rate", memory=32, **keys)
        text = guest.wait_serial(r"rate: set to 0, .* END", 120)
        (context.artefacts / f"{name}.txt").write_text(text)
        found = re.search(r"stated (\d+) measured (\d+)\s+rate: set to 0, in order, measured (\d+), END", text)
        require(found, text)
        guest.destroy()
        stated, *measured = map(int, found.groups())
        for khz in measured:
            require(abs(khz - stated) < stated / 10, f"the TSC runs at {khz} kHz: {text}")
        return stated

    host = rates("host")
    for name, khz in (("slow", host * 2 // 5), ("fast", host * 5 // 2)):
        require(rates(name, tsc_khz=khz) == khz, f"{name}: CPUID does not say {khz} kHz")


# The CPU lacks what Escalus needs: the control OS of these machines runs without the monitor. Its start takes a minute.
@boot_test("vtx-not-enough", "VT-x without unrestricted guest: the control OS starts without the monitor", target="vmx",
           own_machine=True)
def not_enough(context):
    with context.shared.machine(name="vmx-not-enough", cpu="corei5_lynnfield_750", media=[]) as lab:
        text = lab.emulator.monitor_text()
        (context.artefacts / "monitor.txt").write_text(text)
        require("VT-x cannot be used: this CPU's VT-x has no unrestricted guest mode" in text, text)
        require("the control OS starts without the monitor; no guests can run" in text, text)
        require("no monitor underneath" in lab.run("escalus version").text, "`escalus version` says nothing of it")
        require(lab.run("grep -w vmx /proc/cpuinfo").code == 0, "VMX is hidden, though nobody uses it")


@boot_test("vtx-counters", "`escalus stat` names the exits of VT-x", target="vmx")
def counters(context):
    guest = context.create("counted", kernel=f"{TESTS}/guests/registers", memory=32)
    guest.wait_serial(r"registers", 60)
    text = context.run(["escalus", "stat", guest.name], check=True).text
    for name in ("entries", "io", "cpuid", "debug register"):
        require(re.search(rf"\d  {name}$", text, re.MULTILINE), f"no {name!r} among the exits:\n{text}")


# Two emulated CPUs take twice the time, and each option a start of its own. Bochs 2.7 forgets to clear an INIT that has
# exited (event.cc, handleAsyncEvent: no clear_event(BX_EVENT_INIT) before VMexit, which came later), and so leaves guest mode
# for it again before each instruction: there the CPUs cannot wait in the activity state wait-for-SIPI. Bochs 3.0 clears it,
# and there this passes without the option, too.
@boot_test("vtx-two-cpus", "two CPUs, a guest on each at once, and one that moves between them",
           target="vmx", own_machine=True, long=True)
def two_cpus(context):
    with context.shared.machine(cpus=2, name="vmx2",
                                monitor_options="console=com2 loglevel=info wait-for-sipi=off") as lab:
        _check(lab, 2)
        for cpu in range(2):
            lab.run(f"taskset -c {cpu} sh -c 'sleep 0.1; head -c 100000 /dev/zero | sha256sum'", timeout=600, check=True)
        context.lab = lab
        try:
            guest = context.create("each", kernel=f"{TESTS}/guests/processors", vcpus=2, cpus=["0", "1"], memory=32)
            text = guest.wait_serial(r"processors: .*END", 200)
            require("processors: 2, " in text and ", 0 failed, END" in text, text)
            _moves(context)
            trouble = lab.run(HOST_CHECK).text
            require(not trouble, f"the kernel complains:\n{trouble}")
        finally:
            context.finish()
            context.lab = None


def _moves(context):
    """A VMCS is of one CPU at a time, and translations are kept by CPU: a vCPU goes to the other CPU again and again,
    and its registers stay its own."""
    guest = context.create("moves", kernel=f"{TESTS}/guests/registers", memory=32)
    pid = context.run(f"cat /run/escalus/{guest.name}/pid", check=True).text.split()[-1]
    moves = (f"t=$(grep -lx vcpu0 /proc/{pid}/task/*/comm); t=${{t%/comm}}; t=${{t##*/}}; n=0; "
             f"while ! grep -q END /tmp/{guest.name}.serial && taskset -pc $((n % 2)) $t >/dev/null; do n=$((n + 1)); done; "
             "echo moved $n")
    moved = context.run(moves, timeout=300, check=True).text
    require(int(re.search(r"moved (\d+)", moved)[1]) >= 10, f"{moved}\n{guest.serial()}")
    text = guest.wait_serial(r"registers: .*END", 60)
    require("rounds, 0 lost" in text, text)


@boot_test("vtx-without", "each optional part of VT-x switched off, and a guest", target="vmx", own_machine=True,
           long=True)
def without(context):
    options = ("true-controls", "vpid", "rdtscp", "invpcid", "xsaves", "ept-1g", "ept-ad",
               "preemption-timer", "virtual-interrupts", "wait-for-sipi", "tsc-scaling")
    with context.shared.machine(name="vmx-without", monitor_options="console=com2 loglevel=info " + " ".join(
            f"{name}=off" for name in options)) as lab:
        _check(lab, 1)
        log = lab.run("escalus dmesg", check=True).text
        require(re.search(r"VT-x: EPT, unrestricted guest$", log, re.MULTILINE), log)
        flags = lab.run("grep -m1 ^flags /proc/cpuinfo").text.split()
        for hidden in ("rdtscp", "invpcid", "xsaves"):
            require(hidden not in flags, f"{hidden} is off, and the control OS sees it")
        context.lab = lab
        context.refused("rate", context.domain("rate", kernel=f"{TESTS}/guests/clock_rate", memory=32, tsc_khz=123456),
                        "tsc_khz = 123456", "tsc-scaling=off")
        guest = context.create("without", kernel=f"{TESTS}/linux-cloud", ramdisk=f"{TESTS}/initramfs-linux-cloud",
                               memory=128, extra=f"console=ttyS0 quiet {context.kernel_words}")
        guest.wait_serial(r"guest: user space reached", 240)
        require(guest.wait_end(90) == 0, guest.log())
        context.finish()
        context.lab = None
