# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab boot` as a person uses it: what it says, where it leads, and that Ctrl-C ends all of it."""
import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

from lab import bochs, paths, rfb
from lab.testing import boot_test, patience, require, wait_for

LAB = paths.ROOT / "lab"
INTERRUPTED = 130


def _heed_interrupts():
    """As in a terminal, even where whoever runs the tests has SIGINT ignored (a shell's background jobs do)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class LabBoot:
    """`./lab boot` in a session of its own, so that Ctrl-C can be sent as a terminal does. Use as a context manager."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([LAB, "boot", *map(str, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True, preexec_fn=_heed_interrupts)
        self.text = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.text += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.interrupt()

    def expect(self, pattern, timeout):
        def look():
            ended = self.process.poll() is not None
            if ended:
                self.reader.join()
            found = re.search(pattern, self.text, re.MULTILINE)
            require(found or not ended, f"`./lab boot` ended before {pattern!r}:\n{self.text}")
            return found

        try:
            return wait_for(f"{pattern!r} from ./lab boot", look, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-3000:]}") from None

    def interrupt(self):
        """Ctrl-C; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"Ctrl-C does not end ./lab boot:\n{self.text[-1500:]}") from None


def _mentioned(text):
    """The processes whose command line has the text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in words and path.parent.name != str(os.getpid()):
                found.append(words)
    return found


def _in_lab(*command):
    done = subprocess.run([LAB, "shell", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=patience(60), check=False)
    return done.returncode, done.stdout


def _leaves_console(command):
    """Runs the command on a terminal and types Ctrl-]: its exit code."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, shell=True, cwd=paths.ROOT,
                          start_new_session=True) as process:
        os.close(theirs)
        seen = b""

        def read():
            nonlocal seen
            with contextlib.suppress(OSError):  # the end of the terminal
                while piece := os.read(ours, 4096):
                    seen += piece

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            wait_for("the console says how to leave", lambda: b"Ctrl-]" in seen or process.poll() is not None, 60)
            require(process.poll() is None, f"the console ended:\n{seen}")
            os.write(ours, b"\x1d")
            return process.wait(patience(30))
        finally:
            if process.poll() is None:
                process.kill()
            reader.join(5)
            os.close(ours)


@boot_test("lab-boot", "./lab boot: VNC, web page, serial console and shell are where it says; Ctrl-C ends everything",
           own_machine=True, also_long_on=("vmx",))
def lab_boot(context):
    target = context.shared.target
    medium = context.shared.media["grub-rescue"]
    with LabBoot(medium, "--memory", "128", "--target", target) as lab:
        lab.expect(r"^  stop +Ctrl-C$", 400)
        (context.artefacts / "lab-boot.txt").write_text(lab.text)
        require(re.search(r"^  monitor and control OS \(target \S+\) +\d", lab.text, re.MULTILINE), lab.text)
        if target in bochs.MODELS:  # minutes without a word would look like a hang
            told = re.findall(r"\(target \S+\) \.\.\. (\w[\w ]*)", lab.text)
            require("control OS" in told, f"no word on how far the start is:\n{lab.text}")
        port = int(re.search(r"^  VNC +127\.0\.0\.1:(\d+)$", lab.text, re.MULTILINE)[1])
        web = re.search(r"^  web console +(http://\S+)$", lab.text, re.MULTILINE)[1]
        serial = re.search(r"^  serial console +(\./lab shell .*?)  ", lab.text, re.MULTILINE)[1]
        folder = re.search(r"its files: (\S+)\)", lab.text)[1]
        name = re.search(r"escalus console (\S+)", serial)[1]
        require(_mentioned(folder), "no emulator runs")

        code, listed = _in_lab("escalus", "list")
        require(code == 0 and name in listed, listed)
        wait_for("GRUB's menu", lambda: "GNU GRUB" in _in_lab("escalus", "screenshot", "--text", name)[1], 240, pause=2)
        with rfb.Viewer(port) as viewer:
            viewer.key("c")
            wait_for("GRUB's prompt", lambda: "grub>" in _in_lab("escalus", "screenshot", "--text", name)[1], 60)
            shot = viewer.screenshot()
        shot.save(context.artefacts / "prompt.png")
        require(shot.colours() > 1, "the picture is of one colour")
        with urllib.request.urlopen(web, timeout=patience(30)) as page:
            require(page.status == 200 and b"noVNC" in page.read(), f"{web} is not the web console")
        require(_leaves_console(serial) == 0, "the serial console does not end well")

        status = lab.interrupt()
        require(status == INTERRUPTED, f"exit status {status} after Ctrl-C:\n{lab.text}")
        left = _mentioned(folder)
        require(not left, f"still running after Ctrl-C: {left}")
        require(not (paths.RUN / "current.json").exists(), "a session is still published")
