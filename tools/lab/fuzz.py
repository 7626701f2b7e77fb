# SPDX-License-Identifier: GPL-2.0-or-later
"""`./lab fuzz`: libFuzzer over each target of test/fuzz, from the corpus that is kept there, for a given time of a CPU of
its own. A finding is shown, kept in build/lab/fuzz/NAME/, and makes the status 1."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import time
import zipfile

from . import build, packages, paths
from .ui import LabError, say, seconds, stage

SOURCES = paths.ROOT / "test/fuzz"
CORPUS = SOURCES / "corpus"
LENGTH_MAX = 1024     # bytes of an input
INPUT_TIMEOUT = 60    # seconds for one
CORPUS_MAX = 40_000   # bytes of inputs kept for a target; the repository is not the place for more
ZIP_DATE = (2026, 1, 1, 0, 0, 0)  # equal inputs make equal files
_processes = []


def targets():
    return sorted(path.stem for path in SOURCES.glob("*_fuzz.cpp"))


def _program(name):
    return paths.BUILD / "fuzz/test/fuzz" / name


def _unpacked(name, folder):
    paths.ensure(folder)
    packed = CORPUS / f"{name}.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as file:
            file.extractall(folder)
    return folder


def _execute(command, folder, log):
    """(exit code, seconds of a processor)"""
    with open(log, "wb") as file:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    _processes.append(process)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def _starved(name, folder, text):
    """Whether what was found is an input that had no processor: libFuzzer's limit is of the time on the wall."""
    found = re.search(r"Test unit written to (\S*/timeout-\S+)", text)
    if not found:
        return False
    code, used = _execute([_program(name), "-timeout=3600", found[1]], folder, folder / "log-again")
    return code == 0 and used < INPUT_TIMEOUT


def _run(name, duration):
    """(name, whether something was found, what there is to say)"""
    folder = paths.ensure(paths.LAB / "fuzz" / name)
    inputs = _unpacked(name, folder / "inputs")
    started = time.monotonic()
    executions, starved = 0, 0
    while True:
        left = max(1, round(duration - (time.monotonic() - started)))
        command = [_program(name), f"-max_total_time={left}", f"-timeout={INPUT_TIMEOUT}", "-len_control=0",
                   f"-max_len={LENGTH_MAX}", "-print_final_stats=1", f"-artifact_prefix={folder}/", inputs]
        code, _ = _execute(command, folder, folder / "log")
        text = (folder / "log").read_text(errors="replace")
        executions += int((re.findall(r"number_of_executed_units:\s+(\d+)", text) or [0])[-1])
        if code == 0 or not _starved(name, folder, text):
            break
        starved += 1
    reached = re.findall(r"cov: (\d+) ft: (\d+)", text)
    words = [f"{executions} executions in {seconds(time.monotonic() - started)}"]
    if starved:
        words.append(f"{starved} inputs had no processor for {INPUT_TIMEOUT} s")
    if reached:
        words.append(f"{reached[-1][0]} edges")
    if code != 0:
        end = "\n".join("        " + line for line in text.splitlines()[-40:])
        words.append(f"FOUND something; its input and log are in {folder}:\n{end}")
    return name, code != 0, ", ".join(words)


def _smallest(name, folder):
    """The inputs that together reach what all in `folder` do: small ones first, as many as may be kept."""
    merged = folder.parent / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    paths.ensure(merged)
    subprocess.run([_program(name), "-merge=1", merged, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=True)
    kept, size = [], 0
    for path in sorted(merged.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        size += path.stat().st_size
        if size > CORPUS_MAX:
            break
        kept.append(path)
    return kept


def keep(name):
    kept = _smallest(name, paths.LAB / "fuzz" / name / "inputs")
    with zipfile.ZipFile(paths.ensure(CORPUS) / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(kept, key=lambda path: path.name):
            file.writestr(zipfile.ZipInfo(path.name, ZIP_DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(kept)


def main(arguments):
    known = targets()
    for name in arguments.names:
        if name not in known:
            raise LabError(f"there is no fuzz target {name}; there are {', '.join(known)}")
    names = arguments.names or known
    with stage("Debian packages") as progress:
        packages.install(progress)
    with stage("building the fuzz targets"):
        build.preset("fuzz", names)
    found = []
    pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs or build.jobs())
    try:
        running = [pool.submit(_run, name, arguments.seconds) for name in names]
        for done in concurrent.futures.as_completed(running):
            name, bad, text = done.result()
            if bad:
                found.append(name)
            elif arguments.keep:
                text += f", {keep(name)} inputs kept"
            say(f"  {'FAIL' if bad else 'pass'}  {name:<20}{text}")
    finally:  # Ctrl-C ends the targets, and starts no more of them
        pool.shutdown(wait=False, cancel_futures=True)
        for process in _processes:
            process.kill()
        pool.shutdown()
    say(f"{len(names) - len(found)} without a finding, {len(found)} with one")
    return 1 if found else 0
