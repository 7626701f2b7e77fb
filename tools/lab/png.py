# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes and compares pictures: 8 bits a channel, RGB, no filter."""
import struct
import zlib


def size_of(png):
    """Width and height of a PNG file's picture, from its first chunk."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise ValueError("this is no PNG file")
    return struct.unpack(">II", png[16:24])


class Picture:
    """width x height pixels, three bytes each, row by row."""

    def __init__(self, width, height, rgb=None):
        self.width, self.height = width, height
        self.rgb = bytearray(rgb) if rgb is not None else bytearray(3 * width * height)

    def row(self, y):
        return self.rgb[3 * self.width * y:3 * self.width * (y + 1)]

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return tuple(self.rgb[at:at + 3])

    def colours(self, step=7):
        """How many different colours a sample of the pixels has."""
        return len({bytes(self.rgb[at:at + 3]) for at in range(0, len(self.rgb) - 2, 3 * step)})

    def fraction_different(self, other):
        """The part of the pixels that are not the same in the other picture; 1 when the sizes differ."""
        if (self.width, self.height) != (other.width, other.height):
            return 1.0
        different = 0
        for y in range(self.height):
            mine, theirs = self.row(y), other.row(y)
            if mine != theirs:
                different += sum(mine[at:at + 3] != theirs[at:at + 3] for at in range(0, len(mine), 3))
        return different / (self.width * self.height)

    def place_of_change(self, other):
        """The left and top of the smallest rectangle outside which the other picture, of the same size, is the same;
        None when all of it is."""
        rows = [y for y in range(self.height) if self.row(y) != other.row(y)]
        if not rows:
            return None
        left = min(next(x for x in range(self.width) if self.pixel(x, y) != other.pixel(x, y)) for y in rows)
        return left, rows[0]

    def save(self, path):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        rows = b"".join(b"\0" + bytes(self.row(y)) for y in range(self.height))
        with open(path, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n"
                       + chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0))
                       + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b""))
