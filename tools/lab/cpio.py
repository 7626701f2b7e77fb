# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes initramfs archives (cpio "newc", see Linux Documentation/driver-api/early-userspace/buffer-format.rst)
without needing root: device nodes and owners exist only in the archive."""
import os
import stat


class Archive:
    def __init__(self):
        self.parts = []
        self.names = set()

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        encoded = name.encode() + b"\0"
        fields = (len(self.parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + "".join(f"{field:08X}" for field in fields).encode()
        block = header + encoded
        block += b"\0" * (-len(block) % 4)
        block += data + b"\0" * (-len(data) % 4)
        self.parts.append(block)

    def directory(self, name, mode=0o755):
        name = name.strip("/")
        if not name or name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.directory(parent)
        self.names.add(name)
        self._entry(name, stat.S_IFDIR | mode)

    def _place(self, name):
        name = name.strip("/")
        if name in self.names:
            return None
        self.directory(os.path.dirname(name))
        self.names.add(name)
        return name

    def file(self, name, data, mode=0o644):
        name = self._place(name)
        if name:
            self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        name = self._place(name)
        if name:
            self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character(self, name, major, minor):
        name = self._place(name)
        if name:
            self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def copy(self, source, name=None):
        """A file or symbolic link of this machine, at the same place unless `name` says otherwise."""
        source = os.fspath(source)
        if os.path.islink(source) and name is None:
            target = os.readlink(source)
            self.link(source, target)
            self.copy(os.path.join(os.path.dirname(source), target))
            return
        with open(source, "rb") as content:
            self.file(name or source, content.read(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def tree(self, source, name):
        for folder, folders, files in os.walk(source):
            folders.sort()
            here = os.path.join(name, os.path.relpath(folder, source))
            self.directory(os.path.normpath(here))
            for file in sorted(files):
                self.copy_resolved(os.path.join(folder, file), os.path.normpath(os.path.join(here, file)))

    def copy_resolved(self, source, name):
        path = os.path.realpath(source)
        if os.path.isfile(path):
            self.copy(path, name)

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        whole = b"".join(self.parts)
        self.parts.pop()
        return whole + b"\0" * (-len(whole) % 512)
