# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab test`: every check and boot test, a line each, and a last line `N passed, N failed, N skipped`.

As many boot tests run at once as this computer has CPUs (at most two). Those that use the shared machine are taken from
one queue, those of a target that is emulated slowly from another. Who is done with these goes on with the tests that need
machines of their own, and then with what is left of the first queue. A machine that no longer answers after a test is
replaced."""
import importlib.util
import itertools
import os
import queue
import re
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path

from . import bochs, build, checks, emulator, machine, media, packages, paths, quick_install, testing
from .channel import ChannelError
from .ui import LabError, say, seconds, stage

SHARED_POOL = 1536  # MiB
DATA_DISK = 128 << 20
# Seconds that a whole run shall take: clang-tidy has what the rest has left of them, but not less than its least. What
# it does not come to is reported as skipped; --long looks at everything.
WHOLE_RUN, TIDY_LEAST = 1680, 60
TESTS = "usr/share/escalus-tests"  # in the control OS
BOCHS_POOL = 704  # MiB
BOCHS_MEDIA = ("grub-rescue",)
NETWORK_MODULES = ("virtio_net", "8139cp", "8139too", "e1000", "ne2k_pci", "pcnet32")
DISK_MODULES = ("ata_piix", "ahci", "nvme", "virtio_pci", "virtio_blk", "ata_generic", "sd_mod", "sr_mod", "isofs",
                "crc32c_generic", "ext4")
# Loaded by the tests that are about them.
ON_DEMAND_MODULES = ("uhci_hcd", "xhci_pci", "usb_storage", "usbhid", "hid_generic", "evdev", "floppy")


class Report:
    def __init__(self):
        self.counts = {"pass": 0, "fail": 0, "skip": 0}
        self.lock = threading.Lock()
        self.failed = []

    def add(self, name, outcome, elapsed, text="", what=""):
        word = {"pass": "pass", "fail": "FAIL", "skip": "skip"}[outcome]
        with self.lock:
            self.counts[outcome] += 1
            say(f"  {word}  {name:<44}{seconds(elapsed):>12}  {what}".rstrip())
            if outcome == "fail":
                self.failed.append(name)
            if text.strip() and outcome != "pass":
                say("\n".join("        " + line for line in text.rstrip().splitlines()[-60:]))

    def last_line(self):
        return "{pass} passed, {fail} failed, {skip} skipped".format(**self.counts)


def load_boot_tests():
    for path in sorted(paths.BOOT_TESTS.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"boot_tests.{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return list(testing.REGISTRY)


def chosen(tests, arguments):
    if arguments.only:
        wanted = [re.compile(pattern) for pattern in arguments.only]
        return [test for test in tests if any(expression.search(test.name) for expression in wanted)]
    if arguments.quick:
        return [test for test in tests if test.quick]
    return [test for test in tests if arguments.long or not test.long]


class Shared:
    """The media and parts that all machines of a target share."""

    def __init__(self, target, install):
        self.target = target
        self.install = install
        self.in_bochs = target in bochs.MODELS
        self.numbers = itertools.count()
        self.parts = self.parts_with(machine.kernel_of(target))
        self.media = {}
        for name, make in MEDIA.items():
            if self.in_bochs and name not in BOCHS_MEDIA:
                continue
            try:
                self.media[name] = make()
            except LabError as error:
                say(f"\n  no medium {name}: {str(error).splitlines()[0]}")

    def parts_with(self, kernel):
        """The parts of a machine whose control OS has this kernel (cloud or generic)."""
        guests = paths.BUILD / "release/test/boot/guests"
        files = {f"{TESTS}/guests/{path.name}": path for path in guests.iterdir()
                 if path.is_file() and path.suffix == ""}
        for flavour, name in (("generic", "linux"), ("cloud", "linux-cloud")):
            if self.in_bochs and flavour == "generic":
                continue  # what is not used need not be loaded
            files[f"{TESTS}/{name}"] = packages.kernel(flavour)[0]
            modules = (*DISK_MODULES, *NETWORK_MODULES, "button") if flavour == "generic" else ("button",)
            files[f"{TESTS}/initramfs-{name}"] = media.guest_initramfs(
                media.GUEST_SCRIPTS, modules, flavour, on_demand=ON_DEMAND_MODULES if flavour == "generic" else ())
        return machine.parts(kernel, install_tree=self.install, extra_files=files,
                             extra_programs=[build.program("hostile_hypercalls"), build.program("escalus_next_abi"),
                                             build.program("register_holder")],
                             target=self.target)

    def options(self, **more):
        """Options of a machine with all media and two writable disks of its own."""
        number = next(self.numbers)
        folder = paths.ensure(paths.RUN / "disks")
        disks = []
        for name in ("data0", "data1"):
            path = folder / f"{name}-{os.getpid()}-{number}.img"
            with open(path, "wb") as file:
                file.truncate(DATA_DISK)
            disks.append(emulator.Medium(name, path, writable=True))
        handed = [emulator.Medium(name, path) for name, path in self.media.items()]
        settings = {"target": self.target, "pool": SHARED_POOL, "media": handed + disks,
                    "ports": testing.VNC_PORTS, "name": f"test{number}"}
        if self.in_bochs:
            settings.update(pool=BOCHS_POOL, media=handed, name=f"{self.target}{number}")
        settings.update(more)
        return machine.Options(**settings)

    def machine(self, parts=None, **options):
        """A machine of a test's own, not started."""
        return machine.LabMachine(parts or self.parts, self.options(**options))


def _iso(package, inside):
    return lambda: media.from_package(package, inside)


MEDIA = {
    "grub-rescue": _iso("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
    "memtest-x64": _iso("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso"),
    "memtest-ia32": _iso("memtest86+", "usr/lib/memtest86+/memtest86+ia32.iso"),
    "ipxe": _iso("ipxe", "usr/lib/ipxe/ipxe.iso"),
    "netbsd-5.99": lambda: media.old_system("netbsd-5.99-i386-hd.img"),
    "uefi-linux": media.uefi_linux_iso,
    "openbsd-5.1": lambda: media.old_system("openbsd-5.1-i386-floppy.img"),
    "freedos": lambda: media.old_system("freedos-floppy.img"),
    "floppinux": lambda: media.old_system("floppinux-amd64-pcnet-2.88m.img"),
    "plan9": lambda: media.old_system("plan9-9atom-cd0.iso"),
    "installer-text": lambda: media.installer(graphical=False),
    "installer-gtk": lambda: media.installer(graphical=True),
    "quick-install": quick_install.iso,
}


def run_one(test, lab, shared, report):
    """Runs a test on a machine (or on those it starts itself)."""
    artefacts = paths.ARTEFACTS / test.name
    if artefacts.exists():
        shutil.rmtree(artefacts)
    paths.ensure(artefacts)
    context = testing.Context(lab, artefacts, shared)
    started = time.monotonic()
    outcome, text = "pass", ""
    testing.set_target(shared.target)
    try:
        test.body(context)
    except testing.Skip as why:
        outcome, text = "skip", str(why)
    except (AssertionError, LabError, ChannelError, TimeoutError, OSError) as error:
        outcome, text = "fail", f"{error}\n{_where(error)}"
    except Exception:  # a mistake in the test itself: report it like any failure
        outcome, text = "fail", traceback.format_exc()
    elapsed = time.monotonic() - started
    if lab is not None:
        try:
            context.finish()
        except (AssertionError, ChannelError, TimeoutError, LabError, OSError) as error:
            if outcome == "pass":
                outcome, text = "fail", f"after the test: {error}"
    if text:
        (artefacts / "failure.txt").write_text(text)
    report.add(test.name, outcome, elapsed, text, test.what)
    return outcome


def _where(error):
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "boot" in Path(frame.filename).parts]
    return "".join(f"at {Path(frame.filename).name}:{frame.lineno}: {frame.line}\n" for frame in frames[-3:])


def _taken_from(tests, stop):
    """What is in a queue, until it is empty or no more shall be done."""
    while not stop.is_set():
        try:
            yield tests.get_nowait()
        except queue.Empty:
            return


def _queue_of(tests):
    result = queue.Queue()
    for test in tests:
        result.put(test)
    return result


def _on_shared_machine(tests, shared, report, stop):
    lab = None
    try:
        for test in _taken_from(tests, stop):
            if lab is None:
                lab = shared.machine()
                try:
                    lab.start()
                except (LabError, OSError) as error:
                    report.add(test.name, "fail", 0.0, f"the shared machine did not start: {error}", test.what)
                    lab = None
                    continue
            outcome = run_one(test, lab, shared, report)
            if outcome == "fail":
                _keep_machine_logs(lab, paths.ARTEFACTS / test.name)
            if not _healthy(lab):
                lab.stop()
                lab = None
    finally:
        if lab is not None:
            lab.stop()


def _healthy(lab):
    try:
        return lab.emulator.alive and lab.channel.answers(testing.patience(5)) and not testing.running_guests(lab)
    except (AssertionError, ChannelError, TimeoutError):
        return False


def _keep_machine_logs(lab, folder):
    for name in ("console.log", "monitor.log", "emulator.log", "debugcon.log"):
        source = lab.folder / name
        if source.exists():
            shutil.copy(source, folder / f"machine-{name}")


def _on_own_machines(tests, shared, report, stop):
    """`shared` by target."""
    for test in _taken_from(tests, stop):
        if test.fresh:
            _on_shared_machine(_queue_of([test]), shared[test.target], report, stop)
        else:
            run_one(test, None, shared[test.target], report)


def run_boot_tests(tests, target, report):
    if not tests:
        return
    with stage("machines and media"):
        install = build.install_tree()
        shared = {name: Shared(name or target, install) for name in {test.target for test in tests}}
    own = _queue_of(test for test in tests if test.own_machine or test.fresh)
    together = {name: [] for name in shared}
    for test in tests:
        if not test.own_machine and not test.fresh:
            together[test.target].append(test)
    stop = threading.Event()
    main_queue = _queue_of(together.get(None, []))

    def work(name, queued):
        _on_shared_machine(queued, shared[name], report, stop)
        _on_own_machines(own, shared, report, stop)
        if queued is not main_queue and None in shared:
            _on_shared_machine(main_queue, shared[None], report, stop)

    # Targets that are emulated slowly have one machine each, begun at once; the other CPUs are for the main one.
    slow = [name for name in shared if name is not None]
    cpus = max(1, min(2, build.jobs()))
    turns = [(name, _queue_of(together[name])) for name in slow]
    if None in shared:
        turns += [(None, main_queue)] * max(1, cpus - len(slow))
    elif len(turns) < cpus:
        turns.append((slow[0], queue.Queue()))
    workers = [threading.Thread(target=work, args=turn, daemon=True) for turn in turns]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.5)
    finally:
        stop.set()


def main(arguments):
    tests = load_boot_tests()
    picked = chosen(tests, arguments)
    if arguments.list:
        for name, what in (("formatting", "clang-format"), ("clang-tidy", "over changed sources"),
                           ("unit", "ctest of the presets release and sanitize"),
                           ("wake-ups-hour", "a stress of wake-ups: as many as in an hour of 4 vCPUs  [long]")):
            say(f"  {name:<28}{what}")
        for test in tests:
            notes = [note for note, on in (("quick", test.quick), ("long", test.long)) if on]
            say(f"  {test.name:<28}{test.what}" + (f"  [{', '.join(notes)}]" if notes else ""))
        return 0
    report = Report()
    started = time.monotonic()
    with stage("Debian packages") as progress:
        packages.install(progress)
    target = arguments.target or emulator.default_target()
    everything = not arguments.only

    def wanted(name):
        return everything or any(re.search(pattern, name) for pattern in arguments.only)

    def add(results):
        for result in results:
            report.add(*result)

    def built_badly():
        return any(name.startswith("build") for name in report.failed)

    if wanted("formatting"):
        add(checks.formatting())
    if wanted("unit") or picked:
        add(checks.unit("release") if wanted("unit") else _build_only())
    if wanted("unit") and not built_badly():
        add(checks.unit("sanitize"))
    if wanted("wake-ups-hour") and (arguments.long or arguments.only):
        if not wanted("unit"):
            add(_build_only())
        add(checks.wake_ups())
    if not built_badly():
        run_boot_tests(picked, target, report)
    if wanted("clang-tidy") and not arguments.quick:
        left = max(TIDY_LEAST, WHOLE_RUN - (time.monotonic() - started))
        add(checks.tidy(None if arguments.long or arguments.only else left))
    say(f"\n  all of it took {seconds(time.monotonic() - started)}; artefacts are in {paths.ARTEFACTS}")
    for name in report.failed:
        say(f"  failed: {name}")
    say(report.last_line())
    return 1 if report.failed else 0


def _build_only():
    started = time.monotonic()
    try:
        build.preset("release")
    except LabError as error:
        yield "build release", "fail", time.monotonic() - started, str(error)
