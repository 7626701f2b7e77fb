# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembles initramfs archives: the lab's control OS, small Linux guests, and extra parts for the benchmark."""
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from . import paths
from .cpio import Archive
from .ui import LabError

BUSYBOX = "/bin/busybox"
INIT = Path(__file__).with_name("init.sh")
CONTROL_MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "isofs", "crc32c_generic", "ext4", "vfat", "loop",
                   "tun", "bridge"]
FIRMWARE_FOLDERS = ["/usr/share/OVMF", "/usr/share/seabios", "/usr/share/vgabios", "/usr/lib/ipxe/qemu", "/usr/share/novnc"]
FIRMWARE_UNUSED = re.compile(r"(bios.*(qxl|virtio|ramfb|vmware|cirrus|-ati|-dbg)|kvmvapic|sgabios).*\.bin$|efi-.*\.rom$|^OVMF_(?!(CODE|VARS)_4M\.fd$)")
TOOLS = ["/sbin/e2fsck", "/sbin/mke2fs", "/usr/bin/taskset", "/usr/bin/qemu-nbd", "/usr/bin/qemu-img"]


def libraries(program):
    """The shared libraries (and the loader) that a program needs, as its loader finds them here."""
    done = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if "not found" in done.stdout:
        raise LabError(f"{program} needs libraries that are not here:\n{done.stdout}")
    return sorted(set(re.findall(r"(/\S+)\s+\(0x", done.stdout)))


def add_program(archive, program, name=None, strip=False):
    """A program and its libraries; `strip` leaves debug information behind."""
    for library in libraries(program):
        archive.copy_resolved(library, library)
    if strip:
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "program"
            subprocess.run(["strip", "-o", small, program], check=True)
            archive.file(name or str(program), small.read_bytes(), 0o755)
    else:
        archive.copy_resolved(program, name or str(program))


def add_busybox(archive):
    archive.copy(BUSYBOX)
    listed = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for applet in listed:
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")


def module_order(modules, wanted):
    """Module files in the order in which insmod takes them, by modules.dep."""
    depends = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    by_name = {re.sub(r"\.ko(\..*)?$", "", os.path.basename(path)).replace("-", "_"): path for path in depends}
    builtin = (modules / "modules.builtin").read_text()
    order = []
    for name in wanted:
        name = name.replace("-", "_")
        if name not in by_name:
            if re.search(rf"/{name}\.ko".replace("_", "[-_]"), builtin):
                continue
            raise LabError(f"this kernel has no module {name}")
        # modules.dep lists what must be loaded first at the end.
        for path in [*reversed(depends[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order


def add_modules(archive, modules, version, at_start, on_demand=()):
    folder = f"lib/modules/{version}"
    first = module_order(modules, at_start)
    for path in first + [p for p in module_order(modules, on_demand) if p not in first]:
        archive.copy(modules / path, f"{folder}/{path}")
    archive.file("lib/modules/at-start", "".join(f"/{folder}/{path}\n" for path in first).encode())
    for index in ("modules.dep", "modules.alias", "modules.builtin", "modules.order"):
        archive.copy(modules / index, f"{folder}/{index}")


def base(modules, version, at_start, on_demand=()):
    """What every system made here starts from."""
    archive = Archive()
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "media", "mnt", "etc", "sbin", "usr/bin", "var/tmp"):
        archive.directory(name)
    archive.link("var/run", "/run")
    archive.character("dev/console", 5, 1)
    archive.character("dev/null", 1, 3)
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"
                 b"escalus:x:990:990:Escalus device models:/:/bin/false\n"
                 b"user:x:1000:1000:an ordinary user:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    archive.file("etc/group", b"root:x:0:\nescalus:x:990:\nuser:x:1000:\nnogroup:x:65534:\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost lab\n")
    add_busybox(archive)
    add_modules(archive, modules, version, at_start, on_demand)
    return archive


def control_os(kernel, install_tree, agent, extra_programs=(), extra_files=None, modules_at_start=None,
               left_out=None):
    """The control OS: base, agent, our installed files, firmware and the tools of the tests.

    `left_out` is an expression for installed files that nobody uses. Returns the path of the archive, which is named
    by its contents' hash and written only when they changed."""
    _, modules, version = kernel
    archive = base(modules, version, modules_at_start or CONTROL_MODULES)
    archive.file("init", INIT.read_bytes(), 0o755)
    archive.copy(agent, "sbin/agent")
    if install_tree:
        for folder, _, files in os.walk(install_tree):
            for file in sorted(files):
                source = Path(folder) / file
                name = str(source.relative_to(install_tree))
                if name.startswith(("usr/bin/", "usr/sbin/", "usr/libexec/")):
                    add_program(archive, source, name, strip=True)
                elif (not name.startswith(("boot/", "usr/share/doc/", "usr/include/")) and "monitor" not in name
                      and not (left_out and re.search(left_out, name))):
                    archive.copy(source, name)
    for program in extra_programs:
        add_program(archive, program, f"usr/bin/{Path(program).name}", strip=True)
    for name, source in (extra_files or {}).items():
        archive.copy_resolved(source, name)
    for program in TOOLS:
        add_program(archive, program)
    for folder in FIRMWARE_FOLDERS:
        for where, _, files in os.walk(folder):
            for file in sorted(files):
                if not FIRMWARE_UNUSED.search(file) and not (left_out and re.search(left_out, f"/{file}")):
                    archive.copy_resolved(os.path.join(where, file), os.path.join(where, file))
    return write(archive, f"control-{version}")


def write(archive, stem):
    content = archive.bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder = paths.ensure(paths.LAB / "initramfs")
    target = folder / f"{stem}-{digest}.cpio"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(target)
        for old in folder.glob(f"{stem}-*.cpio"):
            if old != target and old.stat().st_mtime < target.stat().st_mtime - 86400:
                old.unlink()
    return target
