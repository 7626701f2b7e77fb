# SPDX-License-Identifier: GPL-2.0-or-later
"""Each command about a running guest: its exit code, and what it did."""
import base64
import os
import posixpath
import re
import socket
import urllib.error
import urllib.request

from lab.png import size_of
from lab.testing import VNC_PORTS, boot_test, require, wait_for
from lab.ui import LabError
from lab import rfb

TESTS = "/usr/share/escalus-tests"
LEAVE = "\x1d"  # Ctrl-]


def _rescue(context, name, **more):
    return context.domain(name, disks=[f"{context.media('grub-rescue')},raw,hdc,cdrom"], boot="d", **more)


def _linux(context, name, then, run="", **more):
    more.setdefault("memory", 256)
    return context.domain(name, kernel=f"{TESTS}/linux-cloud", ramdisk=f"{TESTS}/initramfs-linux-cloud",
                          extra=f"console=ttyS0 quiet escalus.run={run} escalus.then={then}", **more)


def _ok(context, *words):
    return context.run(["escalus", *words], check=True).text


@boot_test("commands-screen", "create -d -p, unpause, vnc, send-key, screenshot, reboot, destroy on GRUB's rescue CD")
def commands_screen(context):
    guest = context.adopt("screen", _rescue(context, "screen", display=0), 0)
    said = context.run("escalus create -d -p /tmp/screen.cfg", check=True)
    require("created, paused" in said.error_text, f"`create -p` does not say that it waits: {said}")
    require(guest.state()["state"] in ("created", "paused") and guest.state()["cpu_seconds"] == 0,
            f"a guest created with -p has run: {guest.state()}")
    require("--p---" in _ok(context, "list"), "`list` does not show p")
    _ok(context, "unpause", "screen")
    guest.wait_text(r"GNU GRUB", 240)
    require(guest.state()["state"] == "running", str(guest.state()))

    addresses = _ok(context, "vnc", "screen").split()
    require(addresses[0].endswith(":5900") and addresses[1].startswith("http://"), f"`vnc` says {addresses}")
    _ok(context, "send-key", "screen", "c")
    guest.wait_text(r"grub>", 60)
    _ok(context, "send-key", "screen", "--text", "echo A_B\\n")
    guest.wait_text(r"^A_B", 60)
    wrong = context.run("escalus send-key screen nosuchkey")
    require(wrong.code == 1 and "nosuchkey" in wrong.error_text, f"an unknown key: {wrong}")

    _ok(context, "screenshot", "-o", "/tmp/screen.png", "screen")
    png = context.lab.channel.get("/tmp/screen.png")
    (context.artefacts / "screenshot.png").write_bytes(png)
    shot = guest.picture("vnc")
    require(size_of(png) == (shot.width, shot.height), f"the picture is {size_of(png)}, not as over VNC")

    _ok(context, "reboot", "screen")
    wait_for("GRUB's menu is there again", lambda: "grub>" not in guest.text() and "GNU GRUB" in guest.text(), 120)
    _ok(context, "destroy", "screen")
    require(guest.state() is None and not context.run("ls /run/escalus").text, "`destroy` left something")
    for command in ("vnc", "pause", "unpause", "reboot", "shutdown", "destroy", "console", "screenshot", "stat"):
        gone = context.run(["escalus", command, "screen"])
        require(gone.code == 1 and "no guest named screen runs" in gone.error_text, f"{command} of no guest: {gone}")


@boot_test("commands-linux", "reboot restarts a Linux guest; shutdown -w is seen as its power button, create returns 0")
def commands_linux(context):
    guest = context.create("system", _linux(context, "system", "poweroff", "power-button", on_reboot="restart"))
    guest.wait_serial(r"waiting for the power button", 240)
    wrong = context.run("escalus unpause system")
    require(wrong.code == 1 and "system" in wrong.error_text, f"unpause of a guest that runs: {wrong}")
    _ok(context, "reboot", "system")
    wait_for("the guest comes up again", lambda: guest.serial().count("waiting for the power button") == 2, 240)
    context.run("escalus shutdown -w system", timeout=180, check=True)
    require("power button seen" in guest.serial(), guest.serial())
    require(guest.wait_end(30) == 0 and guest.state() is None, guest.log())


@boot_test("console", "create -c and console: what is typed arrives, Ctrl-] leaves, the guest goes on")
def console(context):
    guest = context.adopt("typed", _linux(context, "typed", "shell", serial="unix"))
    with context.lab.channel.terminal("escalus create -c /tmp/typed.cfg") as terminal:
        terminal.expect(r"Ctrl-\] leaves", 90)
        terminal.expect(r"guest: user space reached", 240)
        terminal.expect(r"# ")
        terminal.type("echo $((6 * 7)) answers\r")
        terminal.expect(r"^42 answers")
        terminal.type(LEAVE)
        terminal.expect(r"Disconnected")
        require(terminal.wait() == 0, f"`create -c` returned {terminal.code} after Ctrl-]")
    require(guest.state() is not None, "the guest ended with its console")
    with context.lab.channel.terminal("escalus console typed") as terminal:
        terminal.expect(r"Ctrl-\] leaves")
        terminal.type("\x03")  # Ctrl-C goes to the guest, not to the command
        terminal.expect(r"# ")
        terminal.type("expr 40 + 3\r")
        terminal.expect(r"^43\s")
        terminal.type(f"lost{LEAVE}")
        require(terminal.wait() == 0, f"`console` returned {terminal.code} after Ctrl-]")
    require(guest.state() is not None, "the guest ended with its console")
    # The guest's end ends the command, with the guest's result.
    with context.lab.channel.terminal("escalus console typed") as terminal:
        terminal.expect(r"Ctrl-\] leaves")
        terminal.type("\x15poweroff -f\r")
        require(terminal.wait(60) == 0, f"`console` returned {terminal.code} at the guest's end")
    wait_for("the guest has ended", lambda: guest.state() is None, 60)


@boot_test("console-vga", "console --vga: the text screen in a terminal, its keys on the keyboard, Ctrl-] leaves")
def console_vga(context):
    guest = context.create("mirrored", _rescue(context, "mirrored", display=0), 0)
    guest.wait_text(r"GNU GRUB", 240)
    with context.lab.channel.terminal("escalus console --vga mirrored") as terminal:
        terminal.expect(r"GNU GRUB", 60)
        terminal.type("c")
        terminal.expect(r"grub>", 60)
        terminal.type("echo seen\r")
        terminal.expect(r"seen\s+.*grub>", 60)
        terminal.type("\x1b[A")  # the arrow brings the line back
        terminal.expect(r"grub> echo seen", 60)
        terminal.type(LEAVE)
        require(terminal.wait() == 0, f"`console --vga` returned {terminal.code} after Ctrl-]")
    require(guest.state() is not None, "the guest ended with its console")
    # The guest's end ends the command.
    with context.lab.channel.terminal("escalus console --vga mirrored") as terminal:
        terminal.expect(r"grub>", 60)
        guest.destroy()
        require(terminal.wait(60) == 0, f"`console --vga` returned {terminal.code} at the guest's end")


@boot_test("vnc-password", "a VNC password: the right one is let in, a wrong or no one is not, the guest goes on")
def vnc_password(context):
    guest = context.create("secret", _rescue(context, "secret", display=0, vncpasswd="romeo97"), 0)
    port = context.lab.port(VNC_PORTS[0])
    for wrong in ("romeo98", "", "romeo", "juliet"):
        try:
            rfb.Viewer(port, wrong).close()
        except LabError as error:
            require(re.search("password|authentication", str(error)), f"a wrong password is answered by: {error}")
        else:
            raise AssertionError(f"the password {wrong!r} is let in")
    guest.wait_text(r"GNU GRUB", 240)
    with rfb.Viewer(port, "romeo97") as viewer:
        shot = viewer.screenshot()
        shot.save(context.artefacts / "with-password.png")
        require(shot.colours() > 1, "the picture is of one colour")
        viewer.key("c")
    guest.wait_text(r"grub>", 60)
    public = context.run("su user -c 'cat /run/escalus/secret/config.json'")
    require(public.code != 0, "everybody can read the password")


REFERENCES = re.compile(r"""(?:\bfrom|\bimport|\bsrc=|\bhref=)\s*["']([^"':#]+)["']""")
WHOLE_LINE_COMMENT = re.compile(r"^\s*(//|\*|/\*).*$", re.MULTILINE)


def _whole_page(address):
    """Fetches a page with all that it refers to, scripts of scripts, too; how many files that were."""
    wanted, seen = ["vnc.html"], set()
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            with urllib.request.urlopen(f"{address}/{path}", timeout=60) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"the web console's {path}: {error}") from None
        if path.endswith((".html", ".js")):
            text = WHOLE_LINE_COMMENT.sub("", content.decode())
            wanted += [posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
                       for name in REFERENCES.findall(text)]
    return len(seen)


@boot_test("web-console", "the web console: noVNC's page with every script, and RFB over its WebSocket")
def web_console(context):
    context.create("web", _rescue(context, "web", display=0), 0)
    port = context.lab.port(VNC_PORTS[0])
    require(_whole_page(f"http://127.0.0.1:{port}") > 30, "noVNC has more files than that")
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        key = base64.b64encode(os.urandom(16)).decode()
        link.sendall(f"GET /websockify HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                     f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        stream = link.makefile("rb")
        status = stream.readline()
        require(b" 101 " in status, f"the WebSocket is answered by {status}")
        while stream.readline().strip():
            pass
        frame = stream.read(14)  # RFC 6455, section 5.2: final, binary, 12 bytes, not masked
        require(frame == b"\x82\x0cRFB 003.008\n", f"the first frame is {frame}")
