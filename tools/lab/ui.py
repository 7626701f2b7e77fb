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
    """Handed to the body of a `with stage(...)`, which may note why it was quick."""

    def __init__(self):
        self.note = ""


@contextlib.contextmanager
def stage(name):
    """Prints the name when the work begins and the elapsed time when it is done."""
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print(f"  {name} ...", end="", flush=True)
    started = time.monotonic()
    result = Stage()

    def line(outcome):
        head = "\r" if on_terminal else ""
        print(f"{head}  {name:<44}{outcome}", flush=True)

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
