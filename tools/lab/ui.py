# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab says while it works: stages with their elapsed time, and errors a person can act on."""
import contextlib
import subprocess
import sys
import time

from . import paths


class LabError(Exception):
    """Something a person can put right; its text says what. The lab ends with status 1 (or `status`)."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


def say(text=""):
    print(text, flush=True)


def seconds(value):
    return f"{value:.1f} s" if value < 90 else f"{int(value) // 60} min {int(value) % 60} s"


class Stage:
    """Handed to the body of a `with stage(...)`, which may note why it was quick, or tell how far it is."""

    TELL_AFTER = 20  # seconds between lines where there is no terminal

    def __init__(self, name="", on_terminal=False):
        self.note = ""
        self._name, self._on_terminal = name, on_terminal
        self._started = self._told = time.monotonic()

    def tell(self, where):
        """On a terminal the line is kept up to date; elsewhere a long stage gets a line now and then."""
        now = time.monotonic()
        if now - self._told < (1 if self._on_terminal else self.TELL_AFTER):
            return
        self._told = now
        text = f"  {self._name} ... {where}, {seconds(now - self._started)}"
        print(f"\r{text:<79}" if self._on_terminal else text, end="" if self._on_terminal else "\n", flush=True)


@contextlib.contextmanager
def stage(name):
    """Prints the name when the work begins and the elapsed time when it is done."""
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print(f"  {name} ...", end="", flush=True)
    started = time.monotonic()
    result = Stage(name, on_terminal)

    def line(outcome):
        head = "\r" if on_terminal else ""
        print(f"{head}  {name:<44}{outcome:<33}".rstrip(), flush=True)

    try:
        yield result
    except BaseException:
        line(f"failed after {seconds(time.monotonic() - started)}")
        raise
    line(seconds(time.monotonic() - started) + (f"  ({result.note})" if result.note else ""))


def run_logged(command, log_name, cwd=None, env=None, what=None):
    """Runs a command with its output in build/lab/logs; on failure shows the end of it."""
    log = paths.ensure(paths.LOGS) / f"{log_name}.log"
    with open(log, "wb") as out:
        out.write((" ".join(map(str, command)) + "\n").encode())
        out.flush()
        done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, stdout=out, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise LabError(f"{what or command[0]} failed with status {done.returncode}:\n{tail}\n(all of it: {log})")
    return log
