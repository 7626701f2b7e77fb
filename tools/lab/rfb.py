# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC client (RFB 3.8, RFC 6143) for tests and screenshots: password, raw and zlib pictures, resize, keys by
keysym or by raw scancode (QEMU's extended key event), pointer."""
import socket
import struct
import time
import zlib

from . import des
from .png import Picture
from .ui import LabError

RAW, COPY_RECTANGLE, ZLIB = 0, 1, 6
DESKTOP_SIZE, QEMU_EXTENDED_KEY = -223, -258
KEYSYMS = {"Return": 0xFF0D, "Escape": 0xFF1B, "Tab": 0xFF09, "BackSpace": 0xFF08, "Up": 0xFF52, "Down": 0xFF54,
           "Left": 0xFF51, "Right": 0xFF53, "F1": 0xFFBE, "F2": 0xFFBF, "F10": 0xFFC7, "Shift": 0xFFE1,
           "Control": 0xFFE3, "Alt": 0xFFE9, "Space": 0x20, "Home": 0xFF50, "End": 0xFF57, "Page_Up": 0xFF55,
           "Page_Down": 0xFF56, "Delete": 0xFFFF}
SHIFTED = '~!@#$%^&*()_+{}|:"<>?'


class Viewer:
    def __init__(self, port, password=None, host="127.0.0.1", timeout=60):
        self.link = socket.create_connection((host, port), timeout)
        self.inflate = zlib.decompressobj()
        self.name = ""
        self.picture = None
        self.raw_keys = False
        self.fresh = True
        self.typed = False
        self.pointed_at = 0, 0
        self.drawn = 0  # pixels since the last request for everything
        self._handshake(password)

    def close(self):
        self.link.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # Closing with an update unread resets the connection, and what was typed last may be lost with it. A server
        # answers in turn: the next picture comes after the keys.
        if kind is None and self.typed:
            try:
                self._some()
            except (LabError, OSError):
                pass  # the guest's last key ended it
        self.close()

    def _read(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.link.recv(size - len(data))
            if not piece:
                raise LabError("the VNC server closed the connection")
            data += piece
        return bytes(data)

    def _unpack(self, form):
        return struct.unpack(form, self._read(struct.calcsize(form)))

    def _reason(self):
        return self._read(self._unpack(">I")[0]).decode(errors="replace")

    def _handshake(self, password):
        banner = self._read(12)
        if not banner.startswith(b"RFB "):
            raise LabError(f"this is no VNC server: {banner!r}")
        self.link.sendall(b"RFB 003.008\n")
        count = self._unpack("B")[0]
        if count == 0:
            raise LabError(f"VNC server: {self._reason()}")
        kinds = self._read(count)
        if 2 in kinds and (password is not None or 1 not in kinds):
            self.link.sendall(b"\2")
            self.link.sendall(des.vnc_response(password or "", self._read(16)))
        elif 1 in kinds:
            self.link.sendall(b"\1")
        else:
            raise LabError(f"the VNC server offers no security type that we know: {list(kinds)}")
        if self._unpack(">I")[0] != 0:
            raise LabError(f"VNC server: {self._reason()}")
        self.link.sendall(b"\1")  # shared
        width, height = self._unpack(">HH")
        self._read(16)
        self.name = self._read(self._unpack(">I")[0]).decode(errors="replace")
        self.picture = Picture(width, height)
        # 32 bits a pixel, true colour: blue in the first byte.
        self.link.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        encodings = [ZLIB, COPY_RECTANGLE, RAW, DESKTOP_SIZE, QEMU_EXTENDED_KEY]
        self.link.sendall(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def _request(self, incremental, width=None, height=None):
        self.link.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, width or self.picture.width,
                                      height or self.picture.height))

    def _draw(self, x, y, width, height, data):
        target = self.picture
        for line in range(height):
            row = data[4 * width * line:4 * width * (line + 1)]
            rgb = bytearray(3 * width)
            rgb[0::3], rgb[1::3], rgb[2::3] = row[2::4], row[1::4], row[0::4]
            at = 3 * ((y + line) * target.width + x)
            target.rgb[at:at + len(rgb)] = rgb

    def _rectangle(self):
        """Returns whether the whole picture must be asked for again (it changed its size)."""
        x, y, width, height, encoding = self._unpack(">HHHHi")
        if encoding >= 0:
            self.drawn += width * height
        if encoding == RAW:
            self._draw(x, y, width, height, self._read(4 * width * height))
        elif encoding == ZLIB:
            self._draw(x, y, width, height, self.inflate.decompress(self._read(self._unpack(">I")[0])))
        elif encoding == COPY_RECTANGLE:
            from_x, from_y = self._unpack(">HH")
            source = [bytes(self.picture.row(from_y + line)[3 * from_x:3 * (from_x + width)])
                      for line in range(height)]
            for line, row in enumerate(source):
                at = 3 * ((y + line) * self.picture.width + x)
                self.picture.rgb[at:at + len(row)] = row
        elif encoding == DESKTOP_SIZE:
            self.picture = Picture(width, height)
            return True
        elif encoding == QEMU_EXTENDED_KEY:
            self.raw_keys = True
        else:
            raise LabError(f"the VNC server sent an encoding that was not asked for: {encoding}")
        return False

    def _update(self):
        """Takes messages up to and with one picture update; returns whether the size changed."""
        while True:
            kind = self._unpack("B")[0]
            if kind == 0:
                resized = False
                for _ in range(self._unpack(">xH")[0]):
                    resized |= self._rectangle()
                return resized
            if kind == 1:
                self._read(6 * self._unpack(">xHH")[1])
            elif kind == 3:
                self._read(self._unpack(">xxxI")[0])
            elif kind != 2:
                raise LabError(f"unknown VNC server message {kind}")

    def screenshot(self):
        """The whole picture as it is now."""
        if self.fresh:
            # A server that draws only while somebody watches may send what it drew last, long ago.
            self.fresh = False
            self._some()
            time.sleep(0.2)
        self._whole()
        copy = self.picture
        return Picture(copy.width, copy.height, copy.rgb)

    def _some(self):
        """One answer of the server's, as small as it makes it: whole pictures take it long where it is emulated."""
        self._request(0, 1, 1)
        self._update()

    def _whole(self):
        """Asks for everything, and goes on asking: a server may send it in pieces."""
        self.drawn = 0
        self._request(0)
        while True:
            if self._update():
                self.drawn = 0
                self._request(0)
            elif self.drawn < self.picture.width * self.picture.height:
                self._request(1)
            else:
                return

    # --- input

    def key(self, name, hold=0.05):
        """Presses and releases a key: a name of KEYSYMS or one character."""
        keysym = KEYSYMS.get(name) or ord(name)
        shift = len(name) == 1 and (name.isupper() or name in SHIFTED)
        if shift:
            self._key_event(KEYSYMS["Shift"], True)
        self._key_event(keysym, True)
        time.sleep(hold)
        self._key_event(keysym, False)
        if shift:
            self._key_event(KEYSYMS["Shift"], False)

    def _key_event(self, keysym, down):
        self.typed = True
        self.link.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def scancode(self, code, keysym=0, hold=0.05):
        """A key by its XT scancode, as viewers with QEMU's extended key event send it."""
        self.typed = True
        for down in (1, 0):
            self.link.sendall(struct.pack(">BBHII", 255, 0, down, keysym, code))
            time.sleep(hold)

    def type(self, text, pause=0.1):
        for character in text:
            self.key("Return" if character == "\n" else character)
            time.sleep(pause)

    def pointer(self, x, y, buttons=0):
        self.typed = True
        self.pointed_at = x, y
        self.link.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def click(self, x, y):
        self.pointer(x, y)
        time.sleep(0.1)
        self.press()

    def press(self):
        """The left button, where the pointer is."""
        self.pointer(*self.pointed_at, 1)
        time.sleep(0.1)
        self.pointer(*self.pointed_at)
