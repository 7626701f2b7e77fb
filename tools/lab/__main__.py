# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of ./lab."""
import argparse
import signal
import sys

from .ui import LabError

TARGETS = ("svm", "kvm", "vmx", "bochs-svm")


def _machine_options(parser):
    parser.add_argument("--target", choices=TARGETS,
                        help="emulator: svm (QEMU emulates AMD-V), kvm (nested KVM), vmx or bochs-svm (Bochs emulates "
                             "VT-x or AMD-V; slow); default: kvm where it nests")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of the emulated machine (default 1)")
    parser.add_argument("--kernel", choices=("cloud", "generic"),
                        help="which Debian kernel the control OS is (default cloud; generic in Bochs)")
    parser.add_argument("--memory", type=int, metavar="MIB", help="the guest's memory (default 1024)")


def _parser():
    parser = argparse.ArgumentParser(prog="lab", description="Builds Escalus and runs it inside an emulator.")
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")

    boot = commands.add_parser("boot", help="boot a guest and say where to see it")
    boot.add_argument("medium", nargs="?", metavar="MEDIUM|DOMAIN.cfg",
                      help="image of a CD, disk or floppy, or a domain file; without it Debian's graphical installer")
    _machine_options(boot)
    boot.add_argument("--vnc", type=int, metavar="PORT", help="TCP port of 127.0.0.1 (default: from 5900, a free one)")
    boot.add_argument("--screenshot", metavar="FILE.png", help="take a picture, then end")
    boot.add_argument("--after", type=float, metavar="SECONDS", help="when to take it (default at once)")
    boot.add_argument("--keep-changes", action="store_true",
                      help="let the guest write to a disk image; without this its changes are dropped at the end")

    shell = commands.add_parser("shell", help="a shell in the control OS (of the lab that runs, if one does)")
    _machine_options(shell)
    shell.add_argument("command", nargs=argparse.REMAINDER, help="a command instead of a shell")

    test = commands.add_parser("test", help="everything that must hold")
    test.add_argument("--quick", action="store_true", help="unit tests and one boot")
    test.add_argument("--long", action="store_true", help="also what takes too long for every day")
    test.add_argument("--only", metavar="PATTERN", action="append", help="only tests whose name matches (repeatable)")
    test.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    test.add_argument("--target", choices=("svm", "kvm"), help="for the tests that do not name one themselves")

    fuzz = commands.add_parser("fuzz", help="run the fuzz targets")
    fuzz.add_argument("names", nargs="*", metavar="NAME", help="`nvme_fuzz` and so on (default: all)")
    fuzz.add_argument("--seconds", type=int, default=600, metavar="N", help="for each of them (default 600)")
    fuzz.add_argument("--jobs", type=int, metavar="N", help="how many at once (default: one for each CPU)")
    fuzz.add_argument("--keep", action="store_true", help="add to the corpus in the tree what reaches more than it")

    bench = commands.add_parser("bench", help="measure against KVM")
    bench.add_argument("--output", metavar="FILE.md", help="where the table goes (default docs/BENCHMARK.md)")
    bench.add_argument("--only", metavar="PATTERN", action="append", help="only measurements whose name matches")
    bench.add_argument("--rounds", metavar="N", type=int, default=3, choices=range(1, 100),
                       help="how often each is measured, on machines of its own (default 3)")
    bench.add_argument("--target", choices=("vmx", "bochs-svm"),
                       help="instead, count the instructions that exits take, in Bochs")
    commands.add_parser("help", help="this text")
    return parser


def _end(*_):
    raise KeyboardInterrupt


def main():
    parser = _parser()
    # What follows `shell` belongs to the command, options and all.
    arguments = parser.parse_args(sys.argv[1:] or ["help"])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        if arguments.action == "boot":
            from . import boot
            return boot.boot(arguments)
        if arguments.action == "test":
            from . import runner
            return runner.main(arguments)
        if arguments.action == "bench":
            from . import bench
            return bench.main(arguments)
        if arguments.action == "fuzz":
            from . import fuzz
            return fuzz.main(arguments)
        if arguments.action == "help":
            parser.print_help()
            return 0
        from . import boot
        return boot.shell(arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("\nlab: stopped", file=sys.stderr)
        return 130


sys.exit(main())
