# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot tests are written with: the registry, a guest in the control OS, and waiting."""
import contextlib
import json
import re
import threading
import time
from dataclasses import dataclass

from . import bochs, rfb
from .channel import ChannelError
from .process import crowd
from .ui import LabError

VNC_PORTS = [5900, 5901, 5902, 5903]


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


@dataclass
class BootTest:
    name: str
    what: str
    body: object
    quick: bool = False
    long: bool = False
    own_machine: bool = False  # starts machines of its own instead of using a shared one
    fresh: bool = False        # is given a machine that no other test uses, before or after
    target: str = None         # the only target it is for; None: the one that the run is for


REGISTRY = []
SLOWNESS = dict.fromkeys(bochs.MODELS, bochs.SLOWNESS)  # of targets, in comparison with the others
_thread = threading.local()


def boot_test(name, what, also_on=(), also_long_on=(), **more):
    """Registers a test; its body is called with a Context. `also_on` names targets on which it runs as well, as
    NAME@TARGET; `also_long_on` those on which it does so only with --long."""

    def register(body):
        REGISTRY.append(BootTest(name, what, body, **more))
        for targets, is_long in ((also_on, False), (also_long_on, True)):
            for target in targets:
                REGISTRY.append(BootTest(f"{name}@{target}", what, body, **{
                    **more, "quick": False, "fresh": False, "target": target, "long": is_long}))
        return body

    return register


def set_target(target):
    """Tells the helpers of this thread how patient to be."""
    _thread.slowness = SLOWNESS.get(target, 1)


def patience(seconds):
    """How long to wait for what takes at most `seconds` on an idle computer: longer where the target is slow, and where
    others compete for the processors."""
    return seconds * getattr(_thread, "slowness", 1) * crowd()


def wait_for(what, condition, timeout, pause=0.5):
    """Calls `condition` until it returns something true, which is returned."""
    timeout = patience(timeout)
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(pause)


def running_guests(lab):
    """The entries of `escalus list`, without the control OS."""
    return [entry for entry in json.loads(lab.run("escalus list --json", check=True).text) if entry["id"] != 0]


class Guest:
    """A guest that `escalus create` started, by its name."""

    def __init__(self, context, name, display):
        self.context, self.name, self.display = context, name, display
        self.lab = context.lab

    def text(self):
        """The screen in text mode, one line a row."""
        done = self.lab.run(["escalus", "screenshot", "--text", self.name])
        if done.code != 0:
            return ""
        return done.text

    def log(self):
        return self.lab.run(f"cat /tmp/{self.name}.log").text

    def serial(self):
        """What the guest wrote to COM1 so far (domain() lets it go to a file)."""
        return self.lab.run(f"cat /tmp/{self.name}.serial").text

    def state(self):
        """Its line of `escalus list`, or None when it does not run."""
        return next((entry for entry in running_guests(self.lab) if entry["name"] == self.name), None)

    def result(self):
        """The exit code of `escalus create`; None while it has not returned."""
        done = self.lab.run(f"cat /tmp/{self.name}.result")
        return int(done.text) if done.code == 0 and done.text.strip() else None

    def _wait(self, what, source, pattern, timeout):
        expression = re.compile(pattern, re.MULTILINE)
        last = ""

        def look():
            nonlocal last
            last = source()
            if expression.search(last):
                return last
            if self.result() is not None:
                last = source()
                if expression.search(last):
                    return last
                raise AssertionError(f"{self.name} ended while waiting for {pattern!r} on its {what}; it said:\n"
                                     f"{self.log()}\n{last[-1500:]}")
            if "Kernel panic - not syncing" in last:  # and it stays there
                raise AssertionError(f"{self.name} panicked while waiting for {pattern!r} on its {what}:\n{last[-2500:]}")
            return None

        try:
            return wait_for(f"{pattern!r} on the {what} of {self.name}", look, timeout, pause=1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[-2500:]}") from None

    def wait_text(self, pattern, timeout=180):
        return self._wait("text screen", self.text, pattern, timeout)

    def wait_serial(self, pattern, timeout=180):
        return self._wait("serial port", self.serial, pattern, timeout)

    def wait_end(self, timeout=180):
        """Until `escalus create` returns; its exit code."""
        return wait_for(f"`escalus create` of {self.name} has returned", lambda: self.result() is not None, timeout,
                        pause=1) and self.result()

    def grub_prompt(self):
        """Brings GRUB's rescue CD from its menu to its prompt, by the keyboard of a viewer."""
        self.wait_text(r"GNU GRUB", 240)
        with self.viewer() as viewer:
            viewer.key("c")
        self.wait_text(r"grub>", 60)

    def viewer(self, password=None):
        return rfb.Viewer(self.lab.port(VNC_PORTS[self.display]), password)

    def picture(self, label):
        """A picture over VNC, kept with the artefacts of the test."""
        with self.viewer() as viewer:
            shot = viewer.screenshot()
        shot.save(self.context.artefacts / f"{label}.png")
        return shot

    def keep_text(self, label):
        text = self.text()
        (self.context.artefacts / f"{label}.txt").write_text(text)
        return text

    def destroy(self):
        self.lab.run(["escalus", "destroy", self.name])


class Context:
    """Handed to a test: the machine, where its artefacts go, and guests."""

    def __init__(self, lab, artefacts, shared):
        self.lab, self.artefacts, self.shared = lab, artefacts, shared
        self.guests = []

    @property
    def kernel_words(self):
        """What a Linux guest's kernel has to be told on this target: in Bochs it cannot read a clock often enough to
        measure its time stamp counter."""
        return bochs.GUEST_WORDS if self.shared.target in bochs.MODELS else ""

    def run(self, command, timeout=120, **more):
        return self.lab.run(command, patience(timeout), **more)

    def media(self, name):
        """The path in the control OS of a medium of the shared machine; skips where this computer has it not."""
        if name not in self.shared.media:
            raise Skip(f"no medium {name} here")
        return f"/media/{name}"

    def writable(self, name):
        """The writable disk `data0` or `data1` of this machine (an emulator.Medium)."""
        return next(medium for medium in self.lab.options.media if medium.name == name)

    def domain(self, name, memory=128, disks=(), display=None, **keys):
        """The text of a domain file."""
        lines = [f"name = '{name}'", f"memory = {memory}"]
        if disks:
            lines.append("disk = [" + ", ".join(repr(disk) for disk in disks) + "]")
        if display is None:
            lines.append("vnc = 0")
        else:
            lines += ["vnc = 1", "vnclisten = '0.0.0.0'", f"vncdisplay = {display}", "vncunused = 0"]
        keys.setdefault("serial", f"file:/tmp/{name}.serial")
        lines += [f"{key} = {value!r}" for key, value in keys.items() if value is not None]
        return "\n".join(lines) + "\n"

    def adopt(self, name, text, display=None):
        """Writes the domain file /tmp/NAME.cfg of a guest that the test starts itself; it is ended with the test."""
        guest = Guest(self, name, display)
        self.guests.append(guest)
        (self.artefacts / f"{name}.cfg").write_text(text)
        self.lab.channel.put(text.encode(), f"/tmp/{name}.cfg")
        self.run(f"rm -f /tmp/{name}.result /tmp/{name}.serial")
        return guest

    def create(self, name, text=None, display=None, may_fail=False, **keys):
        """Starts a guest by a domain file and returns when it runs (or has already ended)."""
        guest = self.adopt(name, text or self.domain(name, display=display, **keys), display)
        self.run(f"setsid sh -c 'escalus create /tmp/{name}.cfg >/tmp/{name}.log 2>&1 </dev/null; "
                 f"echo $? >/tmp/{name}.result' >/dev/null 2>&1 &")
        wait_for(f"{name} runs", lambda: guest.state() or guest.result() is not None, 90)
        if not may_fail and guest.result() not in (None, 0):
            raise AssertionError(f"`escalus create` returned {guest.result()}:\n{guest.log()}")
        return guest

    def refused(self, name, text, *words, arguments=""):
        """`escalus create` must fail with a message that has these words, and leave nothing."""
        path = f"/tmp/{name}.cfg"
        self.lab.channel.put(text.encode(), path)
        done = self.run(f"cd /tmp && escalus create {path} {arguments}", timeout=120)
        said = done.text + done.error_text
        (self.artefacts / f"{name}.txt").write_text(f"{text}\n---\n{done}")
        require(done.code not in (0, 137, 139, 134), f"{name}: exit code {done.code}: {said}")
        for word in words:
            require(word in said, f"{name}: no {word!r} in the message:\n{said}")
        left = self.run("ls /run/escalus").text + "".join(map(str, running_guests(self.lab)))
        require(not left, f"{name}: something is left: {left}")

    def finish(self):
        """Keeps what the guests left and ends those that still run."""
        for guest in self.guests:
            for kind in ("log", "serial"):
                with contextlib.suppress(ChannelError, AssertionError, TimeoutError, LabError):
                    content = self.lab.channel.get(f"/tmp/{guest.name}.{kind}")
                    (self.artefacts / f"{guest.name}.{kind}.txt").write_bytes(content)
            if guest.result() is None:
                if guest.display is not None:
                    with contextlib.suppress(OSError, LabError):
                        guest.picture(f"{guest.name}-at-end")
                guest.destroy()
                wait_for(f"{guest.name} is destroyed", lambda guest=guest: guest.state() is None, 60)
        self.guests = []


def require(condition, text):
    if not condition:
        raise AssertionError(text)

