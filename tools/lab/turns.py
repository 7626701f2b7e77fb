# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulated machines that have the computer in turn, for some seconds each.

How fast this computer is changes by the minute, and by a factor of two. What a machine measures by its own clock, which
stands still while others have their turn, can be compared when all of them have met the same minutes.

A guest of KVM's may hang when its machine is stopped, as QEMU 7.2 may give it an interrupt twice then (docs/LAB.md,
"Emulated time"; the monitor keeps that from its guests): with turns of a second, one in some 250. So they are longer,
and works need a limit of time."""
import concurrent.futures
import threading

TURN = 4.0  # seconds


class Turns:
    """Runs works, each of which is done by a machine of its own. All machines stand still before and afterwards."""

    def __init__(self, emulators):
        self._emulators = list(emulators)

    def run(self, works):
        """One work for each machine, all at once; their results. The first that fails is raised, once all have ended."""
        ended = [threading.Event() for _ in self._emulators]
        with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
            running = [pool.submit(_ending_with, event, work) for event, work in zip(ended, works, strict=True)]
            while not all(event.is_set() for event in ended):
                for machine, event in zip(self._emulators, ended, strict=True):
                    if not event.is_set():
                        self._turn(machine, event)
            return [work.result() for work in running]

    @staticmethod
    def _turn(machine, event):
        try:
            machine.command_monitor("cont")
            event.wait(TURN)
            machine.command_monitor("stop")
        except OSError:  # its emulator has died: what is done in it fails by itself
            event.wait(TURN)


def _ending_with(event, work):
    try:
        return work()
    finally:
        event.set()
