# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages. Tools and libraries are installed; kernels and media are only unpacked into the cache, so
that nothing lands in the machine's /boot."""
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import paths
from .ui import LabError, run_logged, say

BUILD_PACKAGES = """build-essential g++ cmake ninja-build ccache clang clang-tidy clang-format lld
    libclang-rt-14-dev libboost1.81-dev libboost-json1.81-dev libboost-program-options1.81-dev
    libvncserver-dev libzydis-dev libfmt-dev libseccomp-dev liburing-dev catch2 zlib1g-dev libpng-dev libslirp-dev
    libnbd-dev acpica-tools""".split()
RUN_PACKAGES = """seabios vgabios ipxe-qemu ovmf novnc qemu-system-x86 qemu-utils grub-pc-bin grub-efi-amd64-bin
    grub-common grub2-common xorriso mtools dosfstools e2fsprogs fdisk busybox-static cpio zstd kmod bochs
    bochsbios""".split()


def missing(names):
    """Which of the packages are not installed."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    present = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in present]


def as_root(command):
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo"):
        return ["sudo", *command]
    raise LabError("root is needed to install packages, and there is no sudo.\nAs root: " + " ".join(command))


def install(stage):
    """Installs what is missing, after saying what that is."""
    if not shutil.which("dpkg-query"):
        raise LabError("this is no Debian system (no dpkg). Install by hand what tools/lab/packages.py lists.")
    absent = missing(BUILD_PACKAGES + RUN_PACKAGES)
    if not absent:
        stage.note = "all present"
        return
    say(f"\n  will install these Debian packages: {' '.join(absent)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run_logged(as_root(["apt-get", "update", "-q"]), "apt-update", env=env)
    run_logged(as_root(["apt-get", "install", "-y", "-q", "--no-install-recommends", *absent]), "apt-install",
               env=env, what="installing packages")
    stage.note = f"{len(absent)} installed"


def unpacked(name, unpack_only=None):
    """The folder in the cache that holds the files of a Debian package, downloaded at first use.

    `name` may be a kernel's meta package; then it is followed to the package it depends on."""
    target = paths.CACHE / "packages" / name
    complete = target / ".complete"
    if complete.exists():
        return target
    real = _resolve(name)
    if target.exists():
        shutil.rmtree(target)
    download = paths.ensure(paths.CACHE / "download")
    _download(real, download)
    archives = sorted(download.glob(f"{real}_*.deb"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise LabError(f"apt-get download {real} left no file in {download}")
    paths.ensure(target)
    run_logged(["dpkg-deb", "-x", archives[-1], target], "dpkg-deb", what=f"unpacking {real}")
    if unpack_only:
        unpack_only(target)
    complete.write_text(archives[-1].name + "\n")
    for archive in archives:
        archive.unlink()
    return target


def _resolve(name):
    done = subprocess.run(["apt-cache", "depends", "--important", name], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    if not re.fullmatch(r"linux-image-(cloud-)?amd64", name):
        return name
    found = re.search(r"Depends: (linux-image-\d\S+)", done.stdout)
    if not found:
        run_logged(as_root(["apt-get", "update", "-q"]), "apt-update")
        done = subprocess.run(["apt-cache", "depends", "--important", name], stdout=subprocess.PIPE, text=True,
                              check=False)
        found = re.search(r"Depends: (linux-image-\d\S+)", done.stdout)
    if not found:
        raise LabError(f"apt knows no kernel package behind {name}: is a Debian 12 source configured?")
    return found.group(1)


def _download(name, directory: Path):
    command = ["apt-get", "download", "-q", name]
    if os.geteuid() == 0:
        command[1:1] = ["-o", "APT::Sandbox::User=root"]
    try:
        run_logged(command, "apt-download", cwd=directory)
    except LabError:
        # The lists may be absent, or older than the mirror.
        run_logged(as_root(["apt-get", "update", "-q"]), "apt-update")
        run_logged(command, "apt-download", cwd=directory, what=f"downloading the package {name}")


def kernel(flavour):
    """(bzImage, modules folder, version) of Debian's kernel `cloud` or `generic`."""
    name = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}[flavour]

    def index(folder):
        version = next((folder / "lib/modules").iterdir()).name
        run_logged(["/sbin/depmod", "-b", folder, version], "depmod", what="depmod")

    folder = unpacked(name, index)
    modules = next((folder / "lib/modules").iterdir())
    return folder / "boot" / f"vmlinuz-{modules.name}", modules, modules.name
