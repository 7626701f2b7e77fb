# SPDX-License-Identifier: GPL-2.0-or-later
"""The rate of this computer's TSC, which emulated machines and their guests have, too.

In an emulated machine a guest's Linux cannot measure it: an emulated exit takes longer than what it accepts for an
undisturbed reading of a timer. It would read the HPET for the time then, an exit each. On real hardware it does measure
it, and under KVM it has a clock of its own."""
import ctypes
import functools
import mmap
import time

READ_TSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
SECONDS, ROUND_TO = 0.5, 100  # kHz: no other medium for each measurement


@functools.cache
def _reader():
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(READ_TSC)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    read.page = page  # lives as long
    return read


@functools.cache
def khz():
    read = _reader()
    began, first = time.monotonic_ns(), read()
    time.sleep(SECONDS)
    ended, last = time.monotonic_ns(), read()
    return round((last - first) * 1e6 / (ended - began) / ROUND_TO) * ROUND_TO


def kernel_words():
    """For Linux's command line."""
    return f"tsc=reliable tsc_early_khz={khz()}"
