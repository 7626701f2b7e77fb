# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested-virtualization suite (test/nested) on every emulator that is here, and its ISO."""
import contextlib
import re
import shutil
import socket
import threading
import time

from lab import emulator, nested
from lab.testing import Skip, boot_test, require, wait_for
from lab.ui import say

PASSED, FAILED, CANNOT_RUN = 1, 3, 5  # QEMU's exit status by isa-debug-exit


def _judge(context, machine, timeout, group=None):
    platform = machine.platform()
    if platform is None:
        raise Skip("this emulator is not installed")
    known = nested.Known.of(platform)
    if group:
        known = known.of_group(group)
    with nested.Run(machine, context.artefacts, f"run={group or 'all'} exit=any" + known.words(), timeout=timeout) as run:
        text = run.wait_for(nested.SUMMARY.pattern + r"|^Bail out!")
    require("Bail out!" not in text, text[-500:])
    say(f"        {platform}: {nested.judge(text, known)}")


@boot_test("nested-svm", "the nested-virtualization suite on QEMU's AMD-V", own_machine=True)
def nested_svm(context):
    _judge(context, nested.Qemu(), 300)


@boot_test("nested-bochs-svm", "the nested-virtualization suite on Bochs' AMD-V (ryzen)", own_machine=True)
def nested_bochs_svm(context):
    _judge(context, nested.Bochs("ryzen"), 600)


@boot_test("nested-vmx", "the nested-virtualization suite on Bochs' VT-x (corei7_skylake_x)", own_machine=True)
def nested_vmx(context):
    _judge(context, nested.Bochs("corei7_skylake_x"), 600)


@boot_test("nested-vmx-start-up", "INIT and start-up IPIs on Bochs' VT-x, sent by a second CPU", own_machine=True)
def nested_vmx_start_up(context):
    _judge(context, nested.Bochs("corei7_skylake_x", cpus=2), 600, "vmx-start-up")


@boot_test("nested-vmx-old", "the nested-virtualization suite on Bochs' VT-x without unrestricted guest (corei5_lynnfield_750)",
           own_machine=True)
def nested_vmx_old(context):
    _judge(context, nested.Bochs("corei5_lynnfield_750"), 600)


@boot_test("nested-kvm", "the nested-virtualization suite under KVM", own_machine=True)
def nested_kvm(context):
    if not emulator.nested_kvm():
        raise Skip("no /dev/kvm that nests here")
    _judge(context, nested.Qemu("host", "kvm"), 300)


class Console:
    """COM1 of a running suite, to type on. What comes is taken by a thread at once: QEMU waits for its reader, and the
    suite does not wait for QEMU for ever."""

    def __init__(self, run):
        self.link = socket.socket(socket.AF_UNIX)
        wait_for("the serial port is there", (run.folder / "com1.sock").exists, 20, pause=0.1)
        self.link.connect(str(run.folder / "com1.sock"))
        self.text, self.seen = "", 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := self.link.recv(65536):
                self.text += piece.decode(errors="replace").replace("\r", "")

    def type(self, text):
        for character in text:
            self.link.sendall(character.encode())
            time.sleep(0.02)  # a UART without a FIFO takes one at a time

    def expect(self, pattern):
        """Waits for text after what was expected before."""
        expression = re.compile(pattern)
        found = wait_for(f"{pattern!r} on the serial port", lambda: expression.search(self.text, self.seen), 60, pause=0.1)
        self.seen = found.end()
        return found


def _screen(run):
    """The text on the VGA's screen, by QEMU's monitor: characters are every other byte."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(str(run.folder / "qemu.sock"))

        def until_prompt():
            answer = b""
            while not answer.endswith(b"(qemu) "):
                answer += link.recv(65536)
            return answer

        until_prompt()
        link.sendall(b"xp /4000xb 0xb8000\n")
        answer = until_prompt()
    lines = re.findall(rb"^[0-9a-f]{16}:((?: 0x[0-9a-f]{2})+)", answer, re.MULTILINE)
    values = [int(value, 16) for line in lines for value in line.split()]
    text = bytes(values[::2]).decode("cp437")
    return "\n".join(text[row * 80:row * 80 + 80].rstrip() for row in range(25))


@boot_test("nested-iso", "escalus-nested.iso: its menu, a group, one check; the summary on screen and serial; exit",
           own_machine=True)
def nested_iso(context):
    with nested.Run(nested.Qemu(), context.artefacts, image=nested.iso(), timeout=180) as run:
        console = Console(run)
        console.expect(r"Run all checks")
        console.type("\r")
        console.expect(r"run all .*\n> ")
        console.type("nothing/here\r")
        console.expect(r"no check has this name")
        console.type("svm-capabilities/revision\r")
        console.expect(r"1\.\.1\n")
        console.expect(r"ok 1 - svm-capabilities/revision \(APM")
        console.expect(r"# 1 passed, 0 failed, 0 skipped")
        number = console.expect(r"\n +(\d+)  svm-tlb: ")[1]
        console.type(f"{number}\r")
        summary = console.expect(nested.SUMMARY.pattern.strip("^$"))
        console.expect(r"> ")
        screen = _screen(run)
        (context.artefacts / "screen.txt").write_text(screen)
        require(summary[0].strip() in screen, f"the summary is not on the screen:\n{screen}")
        console.type("x\r")
        status = run.wait_end()
    require(status == PASSED, f"exit status {status}")


@boot_test("nested-iso-uefi", "escalus-nested.iso on UEFI: its menu on the serial port, a group, exit", own_machine=True)
def nested_iso_uefi(context):
    variables = context.artefacts / "OVMF_VARS.fd"
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    machine = nested.Qemu(firmware=("/usr/share/OVMF/OVMF_CODE_4M.fd", variables))
    with nested.Run(machine, context.artefacts, image=nested.iso(), timeout=180) as run:
        console = Console(run)
        console.expect(r"run all .*\n> ")  # GRUB starts its first entry by itself
        console.type("svm-tlb\r")
        console.expect(r"# \d+ passed, 0 failed")
        console.expect(r"> ")
        console.type("x\r")
        require(run.wait_end() == PASSED, "the exit status")


@boot_test("nested-iso-bochs", "escalus-nested.iso on Bochs: runs by itself, powers off by ACPI", own_machine=True)
def nested_iso_bochs(context):
    machine = nested.Bochs("ryzen")
    if machine.platform() is None:
        raise Skip("Bochs is not installed")
    with nested.Run(machine, context.artefacts, "run=svm-tlb exit=acpi", timeout=120) as run:
        run.wait_end()
        text = run.text()
    require(re.search(r"^# \d+ passed, 0 failed", text, re.MULTILINE), text[-1500:])


@boot_test("nested-exit", "the suite's exit codes: passed, failed, a group that is not there", own_machine=True)
def nested_exit(context):
    def status(words, **more):
        with nested.Run(nested.Qemu(), context.artefacts, words, **more) as run:
            return run.wait_end()

    require(status("run=svm-capabilities/revision exit=debug") == PASSED, "a check that passes")
    require(status("run=svm-none exit=debug") == CANNOT_RUN, "a group that is not there")
    require(status("run=svm-capabilities/revision exit=acpi") == 0, "power off by ACPI")
    # A known fault of this QEMU: MWAIT sleeps for ever, which is a check that hangs, and the next one runs.
    known = nested.Known.of(nested.Qemu().platform())
    if "svm-intercepts/mwait-armed" in known.faults:
        require(status("run=svm-intercepts exit=debug timeout=500" + known.words()) == FAILED, "a check that hangs")


def _bails_out(context, machine, *words, memory=nested.MEMORY, image=None, status=CANNOT_RUN, screen=False):
    with nested.Run(machine, context.artefacts, "run=all exit=halt" if screen else "run=all exit=debug", memory=memory,
                    image=image, timeout=60) as run:
        text = run.wait_for(r"^Bail out! .*$")
        if screen:
            shown = _screen(run)
            require("Bail out!" in shown, f"not on the screen:\n{shown}")
        elif status is not None:
            ended = run.wait_end()
            require(ended == status, f"exit status {ended}")
    line = re.search(r"^Bail out! (.*)$", text, re.MULTILINE)[1]
    for word in words:
        require(word in line, f"no {word!r} in {line!r}")
    require("1.." not in text, f"checks ran all the same:\n{text}")


@boot_test("nested-no-virtualization", "the suite on CPUs without AMD-V and VT-x: a sentence, and an exit or a halt",
           own_machine=True)
def nested_no_virtualization(context):
    _bails_out(context, nested.Qemu("qemu64,-svm"), "neither AMD-V", "VT-x")
    _bails_out(context, nested.Qemu("qemu64,-svm"), "neither AMD-V", screen=True)


@boot_test("nested-32-bit-cpu", "the suite on a CPU without 64-bit mode: a sentence, and a halt", own_machine=True)
def nested_32_bit_cpu(context):
    with nested.Run(nested.Qemu("qemu32"), context.artefacts, timeout=30) as run:
        text = run.wait_for(r"64-bit mode")
        require("64-bit mode" in _screen(run), "not on the screen")
        require(run.process.poll() is None, "the machine does not halt")
    require("1.." not in text, text)


@boot_test("nested-little-memory", "the suite with 48 MiB: a sentence, and an exit or a halt", own_machine=True)
def nested_little_memory(context):
    _bails_out(context, nested.Qemu(), "64 MiB", memory=48)
    _bails_out(context, nested.Qemu(), "64 MiB", memory=48, screen=True)


@boot_test("nested-vmx-locked", "the suite where IA32_FEATURE_CONTROL is locked without VMX: a sentence, and a halt",
           own_machine=True)
def nested_vmx_locked(context):
    machine = nested.Bochs("corei7_skylake_x", nested.SEABIOS)
    if machine.platform() is None:
        raise Skip("Bochs is not installed")
    # GRUB plays the firmware that locks it; SeaBIOS, unlike the BIOS of Bochs, leaves it open.
    locked = nested.cd("nested-locked.iso", ["insmod wrmsr", "wrmsr 0x3a 1",
                                             "multiboot /boot/escalus-nested run=all exit=acpi"])
    _bails_out(context, machine, "VT-x", "firmware", image=locked, status=None)
