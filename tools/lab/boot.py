# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab boot`: from a clone to a guest on the screen. Each stage says its name and how long it took."""
import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import bochs, build, emulator, machine, media, packages, paths, rfb, session
from .channel import ChannelError
from .process import crowd
from .ui import LabError, say, stage

VNC_PORT = 5900


@dataclass
class Guest:
    """What is to be started: its domain file as the control OS will see it, and what that refers to."""
    name: str
    domain: str
    memory: int
    media: list = field(default_factory=list)   # emulator.Medium: disks
    files: dict = field(default_factory=dict)   # path in the control OS -> file here
    vnc_port: int = VNC_PORT                    # in the control OS
    password: str = None


def _name_of(path):
    return re.sub(r"[^A-Za-z0-9_.-]", "-", Path(path).stem)[:40] or "guest"


def guest_of_medium(path, memory, keep_changes=False):
    kind = media.recognise(path)
    writable = kind.writable and keep_changes
    medium = emulator.Medium("medium", Path(path).resolve(), writable=writable,
                             discard=kind.writable and not keep_changes)
    mode = "w" if kind.writable else "r"
    domain = f"""# made by ./lab boot
name = '{_name_of(path)}'
memory = {memory}
disk = ['phy:/media/medium,{kind.device},{mode}']
boot = '{kind.boot}'
vnc = 1
vnclisten = '0.0.0.0'
vncdisplay = 0
serial = 'unix'
"""
    return Guest(_name_of(path), domain, memory, [medium])


def guest_of_domain_file(path):
    """Asks our own parser what the file means, then puts the lab's paths in the place of this machine's."""
    escalus = build.program("escalus")
    done = subprocess.run([escalus, "create", "-n", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.stderr.strip():
        say(done.stderr.rstrip())
    if done.returncode != 0:
        raise LabError(f"{path} describes no machine that can be built")
    described = json.loads(done.stdout)
    text = Path(path).read_text()
    guest = Guest(described["name"], text, described["memory_bytes"] >> 20)
    replace = {}
    for number, disk in enumerate(described["disks"]):
        if disk["path"]:
            media.recognise_disk(disk["path"])
            name = f"disk{number}"
            guest.media.append(emulator.Medium(name, Path(disk["path"]).resolve(), not disk["read_only"]))
            replace[disk["path"]] = f"/media/{name}"
    modules = [module.split()[0] for module in described.get("modules", [])]
    for number, source in enumerate(filter(None, [described["kernel"], described["ramdisk"], *modules])):
        if not os.path.isfile(source):
            raise LabError(f"{path}: {source} is no file")
        inside = f"/tmp/file{number}-{os.path.basename(source)}"
        guest.files[inside] = source
        replace[source] = inside
    for here in sorted(replace, key=len, reverse=True):
        text = text.replace(here, replace[here])
    # `file:` names a regular file; the lab hands disks in as block devices.
    text = re.sub(r"file:(/media/)", r"phy:\1", text)
    vnc = described.get("vnc", {})
    guest.password = vnc.get("password") or None
    guest.domain = text + "\n# added by ./lab boot: reachable from outside the control OS\nvnclisten = '0.0.0.0'\n"
    guest.vnc_port = VNC_PORT + (vnc.get("display") or 0)
    return guest


RUN_TARGETS = ("escalus", "escalus-monitor", "escalus-lab-agent")


def prepare(*more_targets):
    """Packages and build: what every command of the lab that starts a machine begins with."""
    with stage("Debian packages") as progress:
        packages.install(progress)
    with stage("build (preset release)"):
        build.preset("release", [*RUN_TARGETS, *more_targets])


def start_guest(lab, guest):
    """Starts the guest in the control OS and returns when it runs; LabError with its words when it does not."""
    for inside, source in guest.files.items():
        lab.channel.put(Path(source).read_bytes(), inside)
    lab.channel.put(guest.domain.encode(), f"/tmp/{guest.name}.cfg")
    log = f"/tmp/{guest.name}.log"
    lab.run(f"setsid escalus create /tmp/{guest.name}.cfg >{log} 2>&1 </dev/null & echo $! >/tmp/{guest.name}.pid")
    slowness = bochs.SLOWNESS if lab.options.target in bochs.MODELS else 1
    deadline = time.monotonic() + 60 * slowness * crowd()
    while time.monotonic() < deadline:
        ended = lab.run(f"kill -0 $(cat /tmp/{guest.name}.pid)").code != 0
        listed = lab.run("escalus list --json")
        if listed.code == 0 and any(entry["name"] == guest.name for entry in json.loads(listed.text)):
            return
        if ended:  # and was not listed after that
            break
        time.sleep(0.2)
    raise LabError(f"the guest did not start:\n{lab.run(['cat', log]).text}{listed.error_text}")


def boot(arguments):
    if arguments.after is not None and not arguments.screenshot:
        raise LabError("--after says when to take the picture that --screenshot names; give both")
    if arguments.memory is not None and not 16 <= arguments.memory <= 1 << 20:
        raise LabError(f"--memory {arguments.memory}: a guest's memory is 16 to 1048576 MiB")
    target = arguments.target or emulator.default_target()
    if target == "kvm" and not emulator.nested_kvm():
        raise LabError("--target kvm needs a /dev/kvm that gives its guests AMD-V (nested virtualization), and this "
                       "machine has none; --target svm emulates it")
    wanted = arguments.medium
    is_domain = bool(wanted) and Path(wanted).suffix in (".cfg", ".xl", ".xm", ".hvm")
    if wanted and not is_domain:
        media.recognise(wanted)  # before anything heavy is done
    elif wanted and not Path(wanted).is_file():
        raise LabError(f"{wanted}: no such file")
    if arguments.screenshot and not Path(arguments.screenshot).resolve().parent.is_dir():
        raise LabError(f"{arguments.screenshot}: no such folder")
    port = (emulator.free_port(arguments.vnc) if arguments.vnc
            else emulator.first_free_port(bochs.FIRST_VNC_PORT if target in bochs.MODELS else VNC_PORT))

    prepare()
    if not wanted:
        with stage("Debian installer CD"):
            wanted = media.installer(graphical=True)
    guest = (guest_of_domain_file(wanted) if is_domain
             else guest_of_medium(wanted, arguments.memory or 1024, arguments.keep_changes))
    with stage("control OS"):
        parts = machine.parts(machine.kernel_of(target, arguments.kernel), install_tree=build.install_tree(),
                              target=target)
    lab = machine.LabMachine(parts, machine.Options(
        target=target, cpus=arguments.cpus, pool=guest.memory + machine.POOL_OVERHEAD, media=guest.media,
        forwards={port: guest.vnc_port}, name="boot"))
    try:
        with stage(f"monitor and control OS (target {target})") as progress:
            lab.options.progress = progress.tell
            lab.start()
        with stage(f"guest {guest.name}"):
            start_guest(lab, guest)
        with session.published(lab, guest.name):
            started = time.monotonic()
            _say_where_to_look(lab, guest, port)
            if arguments.screenshot:
                _take_picture(guest, port, arguments, started)
            else:
                _stay(lab, guest)
    finally:
        lab.stop()
    return 0


def _say_where_to_look(lab, guest, port):
    say(f"""
  VNC             127.0.0.1:{port}
  web console     http://127.0.0.1:{port}/vnc.html
  serial console  ./lab shell escalus console {shlex.quote(guest.name)}    (Ctrl-] leaves)
  control OS      ./lab shell    (its files: {lab.folder})
  stop            Ctrl-C
""")


def _take_picture(guest, port, arguments, started):
    time.sleep(max(0.0, started + (arguments.after or 0) - time.monotonic()))
    with rfb.Viewer(port, guest.password) as viewer:
        viewer.screenshot().save(arguments.screenshot)
    say(f"  picture in {arguments.screenshot}")


def _stay(lab, guest):
    """Until the guest or the machine ends, or Ctrl-C."""
    while lab.emulator.alive:
        time.sleep(2)
        try:
            listed = lab.run("escalus list --json", timeout=60)
        except (ChannelError, TimeoutError):
            continue  # a busy control OS; whether the machine lives is asked above
        if listed.code == 0 and not any(entry["name"] == guest.name for entry in json.loads(listed.text)):
            say(f"the guest {guest.name} has ended")
            say(lab.run(["cat", f"/tmp/{guest.name}.log"]).text.rstrip())
            return
    raise LabError(f"the machine ended: {lab.emulator.explain()}")


def shell(arguments):
    """A shell, or one command, in the control OS of the running lab, or of one that is started for it."""
    # One argument is a line for the shell there, several are a command and its arguments.
    command = (arguments.command[0] if len(arguments.command) == 1 else shlex.join(arguments.command)) or "exec sh -l"
    running = session.current()
    if running:
        return running.interactive(command)
    target = arguments.target or emulator.default_target()
    prepare()
    with stage("control OS"):
        parts = machine.parts(machine.kernel_of(target, arguments.kernel), install_tree=build.install_tree(),
                              target=target)
    lab = machine.LabMachine(parts, machine.Options(target=target, cpus=arguments.cpus,
                                                    pool=(arguments.memory or 1024) + machine.POOL_OVERHEAD,
                                                    name="shell"))
    try:
        with stage(f"monitor and control OS (target {target})") as progress:
            lab.options.progress = progress.tell
            lab.start()
        with session.published(lab, ""):
            return lab.channel.interactive(command)
    finally:
        lab.stop()
