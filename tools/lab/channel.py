# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of the agent in the control OS (tools/agent/agent.cpp says what the frames mean)."""
import os
import re
import select
import shlex
import signal
import socket
import struct
import sys
import termios
import time
import tty
from dataclasses import dataclass


@dataclass
class Result:
    code: int
    out: bytes
    err: bytes

    @property
    def text(self):
        return self.out.decode(errors="replace")

    @property
    def error_text(self):
        return self.err.decode(errors="replace")

    def __str__(self):
        return f"status {self.code}\n{self.text}{self.error_text}"


class ChannelError(Exception):
    """The control OS does not answer."""


def _send(link, kind, payload=b""):
    link.sendall(kind + struct.pack("<I", len(payload)) + payload)


def _receive(link):
    head = _exactly(link, 5)
    return head[:1], _exactly(link, struct.unpack("<I", head[1:])[0])


def _exactly(link, size):
    data = bytearray()
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise ChannelError("the control OS closed the connection")
        data += piece
    return bytes(data)


class Channel:
    def __init__(self, port):
        self.port = port

    def _open(self, kind, command, timeout):
        try:
            link = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
            _send(link, kind, command.encode())
            return link
        except OSError as error:
            raise ChannelError(f"no connection to the control OS: {error}") from None

    def run(self, command, timeout=120, stdin=b"", check=False):
        """Runs a shell command (a string, or a list that is quoted); its exit code and what it printed.

        What still runs when `timeout` seconds have passed is killed, and TimeoutError raised."""
        if not isinstance(command, str):
            command = shlex.join(map(str, command))
        deadline = time.monotonic() + timeout
        out, err = bytearray(), bytearray()
        with self._open(b"X", command, timeout) as link:
            try:
                for start in range(0, len(stdin), 1 << 16):
                    _send(link, b"I", stdin[start:start + (1 << 16)])
                _send(link, b"E")
                while True:
                    link.settimeout(max(0.1, deadline - time.monotonic()))
                    kind, payload = _receive(link)
                    if kind == b"O":
                        out += payload
                    elif kind == b"S":
                        err += payload
                    elif kind == b"C":
                        break
            except socket.timeout:
                raise TimeoutError(f"`{command}` still runs in the control OS after {timeout} s:\n"
                                   + (out + err).decode(errors="replace")[-2000:]) from None
            except OSError as error:
                raise ChannelError(f"the control OS is gone: {error}") from None
        result = Result(struct.unpack("<i", payload)[0], bytes(out), bytes(err))
        if check and result.code != 0:
            raise AssertionError(f"`{command}`: {result}")
        return result

    def answers(self, timeout=5):
        try:
            return self.run("true", timeout=timeout).code == 0
        except (ChannelError, TimeoutError):
            return False

    def put(self, data, path):
        self.run(f"cat > {shlex.quote(path)}", stdin=data, check=True)

    def get(self, path):
        return self.run(f"cat {shlex.quote(path)}", check=True).out

    def terminal(self, command, record=None):
        """A command on a pseudo terminal of the control OS, for a test that types: a Terminal. `record`: a file that
        gets all that is shown, as it comes."""
        return Terminal(self._open(b"T", command, 30), record)

    def interactive(self, command):
        """Gives the user's terminal to a command on a pseudo terminal of the control OS; its exit code."""
        with self._open(b"T", command, 30) as link:
            link.settimeout(None)
            keyboard = sys.stdin.fileno()
            on_terminal = os.isatty(keyboard)

            def tell_size(*_):
                size = os.get_terminal_size(keyboard)
                _send(link, b"W", struct.pack("<HH", size.lines, size.columns))

            before = None
            if on_terminal:
                before = termios.tcgetattr(keyboard)
                tell_size()
                signal.signal(signal.SIGWINCH, tell_size)
                tty.setraw(keyboard)
            try:
                return self._converse(link, keyboard)
            finally:
                if before:
                    termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
                    signal.signal(signal.SIGWINCH, signal.SIG_DFL)

    @staticmethod
    def _converse(link, keyboard):
        sources = [link, keyboard]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if keyboard in ready:
                typed = os.read(keyboard, 4096)
                if not typed:  # end of a script on standard input: as Ctrl-D
                    sources.remove(keyboard)
                    typed = b"\x04"
                _send(link, b"I", typed)
            if link in ready:
                kind, payload = _receive(link)
                if kind == b"C":
                    return struct.unpack("<i", payload)[0]
                os.write(sys.stdout.fileno(), payload)


class Terminal:
    """A command's terminal, typed on and read by a program. What runs on it ends with it."""

    def __init__(self, link, record=None):
        self.link = link
        self.record = open(record, "wb", buffering=0) if record else None
        self.shown = ""  # everything, from the start
        self.code = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()
        if self.record:
            self.record.close()

    def type(self, text):
        _send(self.link, b"I", text.encode())

    def expect(self, pattern, timeout=60):
        """Until `pattern` is in what was shown since the last match; the match."""
        expression = re.compile(pattern, re.MULTILINE)
        self._until(lambda: expression.search(self.shown, self._seen), timeout, repr(pattern))
        found = expression.search(self.shown, self._seen)
        self._seen = found.end()
        return found

    def wait(self, timeout=60):
        """Until the command ends; its exit code."""
        self._until(lambda: self.code is not None, timeout, "the command's end")
        return self.code

    _seen = 0

    def _until(self, condition, timeout, what):
        deadline = time.monotonic() + timeout
        while not condition():
            if self.code is not None:
                raise AssertionError(f"the command ended with {self.code} before {what}:\n{self.shown[-2000:]}")
            self.link.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                kind, payload = _receive(self.link)
            except socket.timeout:
                raise AssertionError(f"after {timeout} s not seen: {what}:\n{self.shown[-2000:]}") from None
            if kind == b"C":
                self.code = struct.unpack("<i", payload)[0]
            else:
                self.shown += payload.decode(errors="replace")
                if self.record:
                    self.record.write(payload)
