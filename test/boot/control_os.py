# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor and the control OS: both Debian kernels, 1 to 4 CPUs, GRUB by BIOS and UEFI, options, hypercalls."""
import re
import shutil

from lab import emulator, machine, media
from lab.testing import boot_test, require, running_guests

MONITOR_KIB_MAX = 16 << 10  # docs/SPECIFICATION.md
HOST_CHECK = "dmesg | grep -E 'BUG|Oops|soft lockup|Call Trace' ; true"


def _check(lab, context, cpus):
    require(lab.run("nproc").text.strip() == str(cpus), f"not {cpus} CPUs: {lab.run('nproc')}")
    require(not lab.run("grep -wE 'svm|vmx' /proc/cpuinfo | head -1").text, "the control OS sees virtualization")
    log = lab.run("escalus dmesg", check=True).text
    require("Escalus" in log, "no monitor is underneath")
    taken = re.search(r"monitor: (\d+) KiB", log)
    require(taken and 0 < int(taken[1]) <= MONITOR_KIB_MAX, f"the monitor takes more than it may, or says not:\n{log}")
    trouble = lab.run(HOST_CHECK).text
    require(not trouble, f"the kernel complains:\n{trouble}")
    # Each CPU does something, and time goes on everywhere.
    for cpu in range(cpus):
        lab.run(f"taskset -c {cpu} sh -c 'sleep 0.1; head -c 100000 /dev/zero | sha256sum'", check=True)
    (context.artefacts / f"{lab.options.name}-monitor.txt").write_text(lab.emulator.monitor_text())


def _boots(context, kernel, cpus):
    with context.shared.machine(parts=context.shared.parts_with(kernel), cpus=cpus, media=[],
                                name=f"{kernel}{cpus}") as lab:
        _check(lab, context, cpus)


for _kernel in ("cloud", "generic"):
    for _cpus in (1, 2, 4):
        boot_test(f"control-{_kernel}-{_cpus}", f"Debian's {_kernel} kernel on {_cpus} CPU{'s' * (_cpus > 1)}",
                  own_machine=True)(lambda context, kernel=_kernel, cpus=_cpus: _boots(context, kernel, cpus))


def _grub_iso(shared):
    """The monitor, the control OS and a menu, on a CD for BIOS and UEFI."""
    parts = shared.parts
    menu = f"""set timeout=0
insmod all_video
menuentry "Escalus" {{
  multiboot2 /boot/escalus-monitor pool=256 console=com2 loglevel=info
  module2 /boot/vmlinuz {machine.CONTROL_COMMAND_LINE}
  module2 /boot/initrd
}}
"""
    return media.grub_iso("monitor.iso", menu, {"boot/escalus-monitor": parts.monitor, "boot/vmlinuz": parts.kernel[0],
                                                "boot/initrd": parts.initrd},
                          platforms=("i386-pc", "x86_64-efi"))


def _boots_by_grub(context, name, firmware, cpus):
    iso = _grub_iso(context.shared)
    with context.shared.machine(boot=emulator.cd(iso, firmware), media=[], cpus=cpus, name=name, pool=512,
                                timeout=400) as lab:
        _check(lab, context, cpus)
        return lab.run("ls /sys/firmware").text


@boot_test("grub-bios", "Multiboot2 by GRUB on BIOS", own_machine=True)
def grub_bios(context):
    _boots_by_grub(context, "grub-bios", None, 2)


@boot_test("grub-uefi", "Multiboot2 by GRUB on UEFI (OVMF)", own_machine=True)
def grub_uefi(context):
    variables = context.artefacts / "OVMF_VARS.fd"
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    _boots_by_grub(context, "grub-uefi", ("/usr/share/OVMF/OVMF_CODE_4M.fd", variables), 2)
    variables.unlink()


@boot_test("monitor-options", "wrong options of the monitor: a message, and a safe default", own_machine=True)
def monitor_options(context):
    with context.shared.machine(media=[], name="options", pool=512, monitor_options="loglevel=loud console=com2 pool=-5 "
                                "nonsense=1") as lab:
        text = lab.emulator.monitor_text()
        (context.artefacts / "monitor.txt").write_text(text)
        for wrong in ("loud", "-5", "nonsense"):
            require(wrong in text, f"no message about {wrong!r}:\n{text}")
        log = lab.run("escalus dmesg", check=True).text
    require("Escalus" in log, "no monitor is underneath")
    taken = re.search(r"monitor: (\d+) KiB", log)
    require(taken and 0 < int(taken[1]) <= MONITOR_KIB_MAX, f"the monitor takes more than it may, or says not:\n{log}")


def _boots_without_monitor(context, cpu, reason):
    """The control OS is up on a CPU that cannot run guests; the monitor has said why, and `escalus` says so too."""
    with context.shared.machine(media=[], name="without-monitor", pool=512, cpu=cpu) as lab:
        text = lab.emulator.monitor_text()
        (context.artefacts / f"{cpu}.txt").write_text(text)
        require(reason in text, f"the monitor does not say {reason!r}:\n{text}")
        require("the control OS starts without the monitor; no guests can run" in text, text)
        require(not lab.run("dmesg | grep -E 'BUG|Oops|soft lockup|Call Trace'").text, "the kernel complains")
        require(int(lab.run("awk '/MemTotal/ {print $2}' /proc/meminfo").text) > 900 << 10, "memory is missing")
        require("no monitor underneath" in lab.run("escalus version").text, "`escalus version` says nothing of it")


@boot_test("control-without-svm", "CPUs without AMD-V, and without nested paging: the control OS starts without the monitor",
           own_machine=True)
def control_without_svm(context):
    _boots_without_monitor(context, "qemu64,-svm", "this CPU has neither AMD-V (SVM) nor Intel VT-x (VMX)")
    _boots_without_monitor(context, "EPYC,+svm,-npt", "this CPU has no nested paging (NPT)")


def _lasting(lab):
    """What `escalus list` says, without the time that goes on."""
    return [{key: value for key, value in entry.items() if key != "cpu_seconds"} for entry in running_guests(lab)]


@boot_test("hostile-hypercalls", "100,000 hypercalls of a process without rights are refused; a guest goes on",
           also_on=("vmx",))
def hostile_hypercalls(context):
    guest = context.create("witness", display=0, boot="d", disks=[f"{context.media('grub-rescue')},raw,hdc,cdrom"])
    guest.grub_prompt()
    before = _lasting(context.lab)
    done = context.run("su user -c 'hostile_hypercalls 100000'", timeout=600)
    (context.artefacts / "hostile.txt").write_text(str(done))
    require(done.code == 0, str(done))
    require(re.search(r"100000 calls, 0 granted", done.text), done.text)
    after = _lasting(context.lab)
    require(before == after, f"the list of guests changed:\n{before}\n{after}")
    with guest.viewer() as viewer:
        viewer.type("ls\n")
    guest.wait_text(r"\((cd|hd)\d*[^)]*\)", 60)

