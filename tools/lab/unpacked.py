# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock kernel that needs not unpack itself: for Bochs, where unpacking takes three minutes of a start's four.

Debian's bzImage holds the kernel compressed, and a program that decompresses it. What is made here is a bzImage with the same
setup header and the same kernel, byte for byte; only that program is another: it copies the kernel's pages to where they
belong, and zeros in between. (Documentation/x86/boot.rst, "64-bit boot protocol"; the 32-bit entry point just halts.)"""
import gzip
import hashlib
import lzma
import struct
import subprocess
from pathlib import Path

from . import paths
from .ui import LabError

SECTOR, PAGE, ALIGNMENT = 512, 4096, 2 << 20
SETUP_SECTS, SYSSIZE, BOOT_SECTOR_END, LOADFLAGS = 0x1f1, 0x1f4, 0x1fe, 0x211
XLOADFLAGS, PAYLOAD_OFFSET, PAYLOAD_LENGTH, INIT_SIZE, HANDOVER = 0x236, 0x248, 0x24c, 0x260, 0x264
ENTRY_64 = 0x200
PT_LOAD = 1
MAKER = 1  # raised when what is made changes

# At the 64-bit entry point, RSI has the boot parameters. The table behind it has entries of three quadwords: how many
# quadwords to copy, to which offset of the image, from which offset (0: zeros). The last one has a count of 0 and the offset
# of the kernel's entry point.
_CODE = bytes.fromhex("fc"                # cld
                      "49 89 f7"          # mov r15, rsi
                      "48 8d 1d 00000000"  # lea rbx, [rip + image]
                      "4c 8d 35 00000000"  # lea r14, [rip + table]
                      "49 8b 0e"          # next: mov rcx, [r14]
                      "49 8b 7e 08"       # mov rdi, [r14 + 8]
                      "49 8b 76 10"       # mov rsi, [r14 + 16]
                      "48 01 df"          # add rdi, rbx
                      "48 85 c9"          # test rcx, rcx
                      "74 18"             # jz done
                      "49 83 c6 18"       # add r14, 24
                      "48 85 f6"          # test rsi, rsi
                      "74 08"             # jz zeros
                      "48 01 de"          # add rsi, rbx
                      "f3 48 a5"          # rep movsq
                      "eb dc"             # jmp next
                      "31 c0"             # zeros: xor eax, eax
                      "f3 48 ab"          # rep stosq
                      "eb d5"             # jmp next
                      "4c 89 fe"          # done: mov rsi, r15
                      "ff e7")            # jmp rdi
_IMAGE_AT, _TABLE_AT = 7, 14  # where the two displacements are


def _decompressed(payload, path):
    if payload[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return gzip.decompress(payload[:-4])  # the last four bytes are the size
    tools = {b"\x28\xb5\x2f\xfd": ["zstd", "-dc"], b"\x02\x21\x4c\x18": ["lz4", "-dc"]}
    for magic, command in tools.items():
        if payload.startswith(magic):
            done = subprocess.run(command, input=payload[:-4], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            if done.returncode == 0:
                return done.stdout
    raise LabError(f"{path}: its kernel is compressed in a way that is not known here ({payload[:4].hex()})")


def _field(data, offset, form):
    return struct.unpack_from("<" + form, data, offset)[0]


def _segments(elf, path):
    """[(offset in the kernel's memory, bytes)], its size there, and the offset of its entry point."""
    if elf[:4] != b"\x7fELF":
        raise LabError(f"{path}: what its payload unpacks to is no ELF file")
    entry, headers = struct.unpack_from("<QQ", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 54)
    loads = []
    for number in range(count):
        kind, _, offset, _, physical, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", elf, headers + number * size)
        if kind == PT_LOAD:
            loads.append((physical, elf[offset:offset + in_file], in_memory))
    first = min(physical for physical, _, _ in loads)
    if first % ALIGNMENT:
        raise LabError(f"{path}: the kernel begins at {first:#x}, which is no multiple of 2 MiB")
    return ([(physical - first, data) for physical, data, _ in loads],
            max(physical + in_memory for physical, _, in_memory in loads) - first, entry - first)


def _pages(segments, size):
    memory = bytearray((size + PAGE - 1) // PAGE * PAGE)
    for offset, data in segments:
        memory[offset:offset + len(data)] = data
    return memory


def _runs(memory):
    """[(offset, length, whether it is all zeros)], whole pages."""
    nothing = bytes(PAGE)
    runs = []
    for offset in range(0, len(memory), PAGE):
        empty = memory[offset:offset + PAGE] == nothing
        if runs and runs[-1][2] == empty:
            runs[-1][1] += PAGE
        else:
            runs.append([offset, PAGE, empty])
    return runs


def repack(image, path):
    """The bytes of the bzImage with the kernel that the bzImage `image` holds."""
    setup_bytes = (_field(image, SETUP_SECTS, "B") + 1) * SECTOR
    start = setup_bytes + _field(image, PAYLOAD_OFFSET, "I")
    segments, size, entry = _segments(_decompressed(image[start:start + _field(image, PAYLOAD_LENGTH, "I")], path), path)
    memory = _pages(segments, size)
    runs = _runs(memory)
    table_bytes = 24 * (len(runs) + 1)
    table = ENTRY_64 + len(_CODE)
    content = (table + table_bytes + PAGE - 1) // PAGE * PAGE
    place = (content + sum(length for _, length, empty in runs if not empty) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT

    rows, pieces, source = [], [], content
    for offset, length, empty in runs:
        rows.append(struct.pack("<QQQ", length // 8, place + offset, 0 if empty else source))
        if not empty:
            pieces.append(bytes(memory[offset:offset + length]))
            source += length
    rows.append(struct.pack("<QQQ", 0, place + entry, 0))

    code = bytearray(_CODE)
    struct.pack_into("<i", code, _IMAGE_AT, -(ENTRY_64 + _IMAGE_AT + 4))
    struct.pack_into("<i", code, _TABLE_AT, len(_CODE) - (_TABLE_AT + 4))
    body = bytearray(content)
    body[0:4] = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt
    body[ENTRY_64:ENTRY_64 + len(code)] = code
    body[table:table + table_bytes] = b"".join(rows)

    setup = bytearray(image[:setup_bytes])
    whole = bytes(body) + b"".join(pieces)
    whole += bytes(-len(whole) % 16)
    struct.pack_into("<I", setup, SYSSIZE, len(whole) // 16)
    struct.pack_into("<II", setup, PAYLOAD_OFFSET, 0, 0)
    struct.pack_into("<I", setup, INIT_SIZE, place + len(memory))
    struct.pack_into("<I", setup, HANDOVER, 0)
    struct.pack_into("<H", setup, XLOADFLAGS, _field(image, XLOADFLAGS, "H") & 3)  # 64-bit entry, above 4 GiB; no EFI stub
    return bytes(setup) + whole


def kernel(path):
    """The file, made once, of the kernel that the bzImage at `path` holds."""
    image = Path(path).read_bytes()
    digest = hashlib.sha256(image + bytes([MAKER])).hexdigest()[:12]
    target = paths.ensure(paths.CACHE / "unpacked") / f"{Path(path).name}-{digest}"
    if not target.exists():
        partial = target.with_suffix(".partial")
        partial.write_bytes(repack(image, path))
        partial.rename(target)
    return target
