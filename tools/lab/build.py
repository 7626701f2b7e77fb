# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds with the CMake presets, out of tree and incrementally."""
import os
import shutil

from . import paths
from .ui import LabError, run_logged


def _environment():
    env = dict(os.environ)
    if shutil.which("ccache"):
        for language in ("C", "CXX"):
            env.setdefault(f"CMAKE_{language}_COMPILER_LAUNCHER", "ccache")
        # One clone's results serve the next: paths are taken relative to the tree.
        env.setdefault("CCACHE_BASEDIR", str(paths.ROOT))
        env.setdefault("CCACHE_NOHASHDIR", "1")
    return env


def jobs():
    return max(1, len(os.sched_getaffinity(0)))


def preset(name, targets=()):
    """Configures (when needed) and builds one preset; returns its build folder."""
    folder = paths.BUILD / name
    if not (folder / "build.ninja").exists():
        run_logged(["cmake", "--preset", name], f"configure-{name}", cwd=paths.ROOT, env=_environment(),
                   what=f"configuring the preset {name}")
    command = ["cmake", "--build", "--preset", name, "-j", str(jobs())]
    if targets:
        command += ["--target", *targets]
    run_logged(command, f"build-{name}", cwd=paths.ROOT, env=_environment(), what=f"building the preset {name}")
    return folder


def install_tree():
    """The release preset as `cmake --install` lays it out, under build/lab/install."""
    target = paths.LAB / "install"
    if target.exists():
        shutil.rmtree(target)
    run_logged(["cmake", "--install", paths.BUILD / "release", "--prefix", "/usr"], "install", cwd=paths.ROOT,
               env=dict(_environment(), DESTDIR=str(target)), what="cmake --install")
    return target


def monitor():
    """The monitor's ELF file of the release build."""
    for candidate in ("vmm/escalus-monitor", "escalus-monitor", "vmm/escalus-monitor.elf"):
        path = paths.BUILD / "release" / candidate
        if path.is_file():
            return path
    raise LabError(f"the build has no monitor (looked for {paths.BUILD / 'release/vmm/escalus-monitor'})")


def program(name):
    """An installed program of the release build."""
    for candidate in (paths.BUILD / "release").rglob(name):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise LabError(f"the build has no program {name}")


def optional(name):
    """A program of the release build, or None where the build has none of that name."""
    try:
        return program(name)
    except LabError:
        return None


def guest_kernel(name):
    """A kernel of test/boot/guests."""
    path = paths.BUILD / "release/test/boot/guests" / name
    if not path.is_file():
        raise LabError(f"the build has no guest kernel {name}")
    return path
