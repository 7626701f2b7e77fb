# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that starts the monitor with its modules in few instructions: a small Multiboot loader (disk_loader.S), and all
that it loads, laid out as it will be in memory."""
import struct
from pathlib import Path

from . import paths
from .ui import LabError, run_logged

SECTOR, MIB = 512, 1 << 20
SOURCE = Path(__file__).with_name("disk_loader.S")
# As disk_loader.S has them; the data are sectors 2 to 15, at 0x8000.
DATA, INFORMATION, MODULES, TABLE, TEXT = 0x8000, 0x10, 0x80, 0xc0, 0x180
DATA_SECTORS = 14
LOADER_SECTORS = 2 + DATA_SECTORS
MODULES_FROM = 64 * MIB  # above what the monitor itself takes
HAS_COMMAND_LINE, HAS_MODULES, HAS_MEMORY_MAP = 4, 8, 0x40
PT_LOAD = 1


def _program():
    """The loader's code: two sectors."""
    folder = paths.ensure(paths.LAB / "loader")
    target = folder / "loader.bin"
    if not target.exists() or target.stat().st_mtime < SOURCE.stat().st_mtime:
        run_logged(["as", "--32", "-o", folder / "loader.o", SOURCE], "loader", what="assembling the loader")
        run_logged(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", target, folder / "loader.o"],
                   "loader", what="linking the loader")
    code = target.read_bytes()
    if len(code) != 2 * SECTOR:
        raise LabError(f"the loader has {len(code)} bytes instead of {2 * SECTOR}")
    return code


def _segments(path):
    """[(physical address, bytes)] of an ELF file, with its zeros, and its entry point."""
    elf = Path(path).read_bytes()
    if elf[:5] != b"\x7fELF\x02":
        raise LabError(f"{path} is no 64-bit ELF file")
    entry, headers = struct.unpack_from("<QQ", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 54)
    pieces = []
    for number in range(count):
        kind, _, offset, _, address, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", elf, headers + number * size)
        if kind == PT_LOAD and in_memory:
            pieces.append((address, elf[offset:offset + in_file] + bytes(in_memory - in_file)))
    return pieces, entry


def make(target, program, options, modules):
    """Makes the disk `target`: the ELF file `program` is started with `options`; `modules` are (file, its arguments)."""
    pieces, entry = _segments(program)
    texts, module_rows = [options], []
    place = MODULES_FROM
    for file, words in modules:
        data = Path(file).read_bytes()
        pieces.append((place, data))
        module_rows.append((place, place + len(data)))
        texts.append(words)
        place = (place + len(data) + MIB) // MIB * MIB

    data = bytearray(DATA_SECTORS * SECTOR)
    addresses, at = [], TEXT
    for text in texts:
        encoded = text.encode() + b"\0"
        if at + len(encoded) > len(data):
            raise LabError("the command lines are too long for the loader")
        data[at:at + len(encoded)] = encoded
        addresses.append(DATA + at)
        at += len(encoded)
    struct.pack_into("<I", data, 0, entry)
    struct.pack_into("<7I", data, INFORMATION, HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP, 0, 0, 0, addresses[0],
                     len(module_rows), DATA + MODULES)
    for number, ((begin, end), text) in enumerate(zip(module_rows, addresses[1:])):
        struct.pack_into("<4I", data, MODULES + 16 * number, begin, end, text, 0)
    sector, row = LOADER_SECTORS, TABLE
    for address, content in pieces:
        sectors = (len(content) + SECTOR - 1) // SECTOR
        if row + 24 > TEXT:
            raise LabError("there is more to load than the loader's table holds")
        struct.pack_into("<3I", data, row, address, sector, sectors)
        sector += sectors
        row += 12
    with open(target, "wb") as disk:
        disk.write(_program() + data)
        for _, content in pieces:
            disk.write(content + bytes(-len(content) % SECTOR))
        disk.truncate((disk.tell() + MIB - 1) // MIB * MIB)
    return target
