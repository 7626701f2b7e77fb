# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks without a machine: formatting, clang-tidy, unit tests. Each yields (name, outcome, seconds, text)."""
import concurrent.futures
import hashlib
import json
import re
import shlex
import subprocess
import time
import xml.etree.ElementTree
from pathlib import Path

from . import build, paths
from .ui import LabError

SOURCE = re.compile(r"\.(cpp|hpp)$")
_INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def sources():
    """The C++ files of the tree, as git knows them; all of them where there is no git."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=paths.ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    names = done.stdout.splitlines() if done.returncode == 0 else [
        str(path.relative_to(paths.ROOT)) for path in paths.ROOT.rglob("*") if paths.BUILD not in path.parents]
    return sorted(name for name in names if SOURCE.search(name) and (paths.ROOT / name).is_file())


def formatting():
    started = time.monotonic()
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *sources()], cwd=paths.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    yield "formatting", "pass" if done.returncode == 0 else "fail", time.monotonic() - started, done.stdout[-4000:]


def _closure(name, known):
    """The hash of a file and of every file of the tree that it includes."""
    seen, waiting = {}, [name]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        if path not in known:
            try:
                content = (paths.ROOT / path).read_bytes()
            except OSError:
                content = b""
            known[path] = (hashlib.sha256(content).hexdigest(), [m.decode() for m in _INCLUDE.findall(content)])
        seen[path] = known[path][0]
        for include in known[path][1]:
            for candidate in (include, str(Path(path).parent / include)):
                if (paths.ROOT / candidate).is_file():
                    waiting.append(candidate)
    return hashlib.sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()


# Options that clang does not know, or takes for a CPU on which standard headers do not compile.
GCC_ONLY = re.compile(r" (-fno-toplevel-reorder|-Wno-subobject-linkage|-mgeneral-regs-only|-Winvalid-pch -include \S+)(?= )")


def _database_for_clang(name):
    """The preset's compile commands without what clang does not know, or None when there are none."""
    database = paths.BUILD / name / "compile_commands.json"
    if not database.exists():
        return None
    copy = paths.ensure(paths.LAB / "tidy" / name) / database.name
    copy.write_text(GCC_ONLY.sub("", database.read_text()))
    return copy


def _tidy_jobs():
    """(source, its build folder, key of the result) for each source that some preset compiles."""
    jobs, known = {}, {}
    rules = (paths.ROOT / ".clang-tidy").read_bytes()
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    for name in ("release", "sanitize"):
        database = _database_for_clang(name)
        if database is None:
            continue
        for entry in json.loads(database.read_text()):
            path = Path(entry["file"])
            if paths.ROOT not in path.parents or paths.BUILD in path.parents or path.suffix != ".cpp":
                continue
            source = str(path.relative_to(paths.ROOT))
            command = re.sub(re.escape(str(paths.ROOT)), "", entry["command"])
            command = " ".join(sorted(word for word in shlex.split(command) if word[:2] in ("-D", "-I", "-f", "-m", "-s")))
            key = hashlib.sha256(rules + version + command.encode() + _closure(source, known).encode()).hexdigest()
            jobs.setdefault(source, (database.parent, key))
    return jobs


def _tidy_one(source, folder):
    done = subprocess.run(["nice", "clang-tidy", "-p", folder, "--quiet", "--warnings-as-errors=*", source],
                          cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if re.search(r"(warning|error):", line)]
    return done.returncode == 0, "\n".join(found[:20]) or done.stdout[-2000:]


def _newest_first(names):
    """Sources in the order of their last change, as git tells it; what is not committed yet comes first."""
    done = subprocess.run(["git", "log", "--format=", "--name-only", "-n", "500"], cwd=paths.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    position = {}
    for name in done.stdout.split():
        position.setdefault(name, len(position))
    return sorted(names, key=lambda name: position.get(name, -1))


def tidy(budget=None):
    """clang-tidy over what changed since its last clean run; results are kept by content in the cache. With a
    budget (seconds) it begins with what changed last, and says how much it did not come to."""
    started = time.monotonic()
    cache = paths.ensure(paths.CACHE / "tidy")
    jobs = {source: job for source, job in _tidy_jobs().items() if not (cache / job[1]).exists()}
    complaints, looked_at = [], 0

    def one(source):
        if budget is not None and time.monotonic() - started > budget:
            return None
        return _tidy_one(source, jobs[source][0])

    with concurrent.futures.ThreadPoolExecutor(build.jobs()) as pool:
        running = {pool.submit(one, source): source for source in _newest_first(jobs)}
        for done in concurrent.futures.as_completed(running):
            source = running[done]
            if done.result() is None:
                continue
            looked_at += 1
            clean, text = done.result()
            if clean:
                (cache / jobs[source][1]).touch()
            else:
                complaints.append(f"{source}:\n{text}")
    outcome = "fail" if complaints else "pass"
    yield f"clang-tidy ({looked_at} changed files)", outcome, time.monotonic() - started, "\n".join(complaints)
    if looked_at < len(jobs):
        yield (f"clang-tidy ({len(jobs) - looked_at} further files)", "skip", 0.0,
               f"the {budget:.0f} s for clang-tidy were over; the next run goes on there, --long takes the time")


def wake_ups():
    """The stress of wake-ups that takes minutes."""
    started = time.monotonic()
    done = subprocess.run([paths.BUILD / "release/test/unit/machine/unit_machine", "[.hour]"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    yield "wake-ups-hour", "pass" if done.returncode == 0 else "fail", time.monotonic() - started, done.stdout[-4000:]


def unit(preset):
    """Builds a preset and runs its unit tests; one line each."""
    started = time.monotonic()
    try:
        folder = build.preset(preset)
    except LabError as error:
        yield f"build {preset}", "fail", time.monotonic() - started, str(error)
        return
    yield f"build {preset}", "pass", time.monotonic() - started, ""
    report = paths.ensure(paths.LOGS) / f"ctest-{preset}.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(["ctest", "--preset", preset, "-j", str(build.jobs()), "--timeout", "300",
                           "--output-junit", report], cwd=paths.ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if not report.exists():
        yield f"unit {preset}", "fail", 0.0, done.stdout[-4000:]
        return
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        status = case.get("status")
        outcome = {"run": "pass", "fail": "fail"}.get(status, "skip")
        output = (case.findtext("system-out") or "") if outcome == "fail" else ""
        yield f"{case.get('name')} ({preset})", outcome, float(case.get("time") or 0), output[-4000:]
