# SPDX-License-Identifier: GPL-2.0-or-later
"""A running emulator. It is in a session of its own (Ctrl-C is ours to handle) and dies with this process."""
import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1
CROWD_MAX = 10  # processes for each CPU that are allowed for


def crowd():
    """How many times longer things take here because others compete for the processors."""
    return min(max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))), CROWD_MAX)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


class EmulatorProcess:
    def __init__(self, folder, command):
        self.folder, self.command = folder, command
        (folder / "command").write_text(" \\\n  ".join(command) + "\n")
        self.log = folder / "emulator.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=_die_with_parent)

    @property
    def alive(self):
        return self.process.poll() is None

    def console_text(self):
        try:
            return (self.folder / "console.log").read_text(errors="replace")
        except OSError:
            return ""

    def monitor_text(self):
        try:
            return (self.folder / "monitor.log").read_text(errors="replace")
        except OSError:
            return ""

    def explain(self):
        """What there is to say about a machine that did not come up or went away."""
        state = "still runs" if self.alive else f"ended with status {self.process.returncode}"
        parts = [f"the emulator {state}; its files are in {self.folder}"]
        for title, text in (("emulator", self.log.read_text(errors="replace")), ("monitor", self.monitor_text()),
                            ("console", self.console_text())):
            if text.strip():
                parts.append(f"--- {title}:\n" + "\n".join(text.splitlines()[-25:]))
        return "\n".join(parts)

    def stop(self):
        if not self.alive:
            return
        # The whole session: an emulator may have started helpers.
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue
