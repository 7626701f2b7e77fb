# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified boot media, seen as a person sees them: the VNC picture, the text screen, the keyboard, the mouse."""
import time

from lab.testing import boot_test, require, wait_for


def _cd(context, name, medium, memory=128):
    return context.create(name, display=0, memory=memory, boot="d",
                          disks=[f"{context.media(medium)},raw,hdc,cdrom"])


@boot_test("grub-rescue", "GRUB's rescue CD: its prompt; `ls` typed over VNC is answered", quick=True,
           also_on=("vmx",), also_long_on=("bochs-svm",))
def grub_rescue(context):
    guest = _cd(context, "rescue", "grub-rescue")
    guest.grub_prompt()
    guest.picture("prompt")
    with guest.viewer() as viewer:
        viewer.type("ls\n")
    guest.wait_text(r"\((cd|hd)\d*[^)]*\)", 60)
    guest.keep_text("answered")
    shot = guest.picture("answered")
    require(shot.colours() > 1, "the picture is of one colour")


def _memtest(context, bits):
    guest = _cd(context, f"memtest-{bits}", f"memtest-{bits}")
    guest.wait_text(r"Memtest86\+", 120)
    # Tests 0 to 2 (addresses, own address) have gone through when test 3 runs.
    text = guest.wait_text(r"Test #[3-9]", 400)
    guest.picture("tests")
    guest.keep_text("tests")
    require("Errors: 0" in " ".join(text.split()), f"memtest86+ found errors:\n{text}")


@boot_test("memtest-x64", "memtest86+ x64: draws its screen, the first tests find no error")
def memtest_x64(context):
    _memtest(context, "x64")


@boot_test("memtest-ia32", "memtest86+ ia32: draws its screen, the first tests find no error")
def memtest_ia32(context):
    _memtest(context, "ia32")


@boot_test("ipxe", "iPXE's CD: its banner")
def ipxe(context):
    guest = _cd(context, "ipxe", "ipxe")
    guest.wait_text(r"iPXE \d.*Open Source Network Boot Firmware", 120)
    guest.picture("banner")
    guest.keep_text("banner")


@boot_test("installer-text", "Debian installer, text: the language dialog; an arrow key moves the choice")
def installer_text(context):
    guest = _cd(context, "installer-text", "installer-text", memory=1024)
    before = guest.wait_text(r"Select a language", 400)
    guest.picture("language")
    guest.keep_text("language")
    require("English" in before, f"no English to choose:\n{before}")
    first = guest.picture("before-key")
    with guest.viewer() as viewer:
        viewer.key("Down")
    # The text is the same: the choice is a matter of colour.
    wait_for("an arrow key moves the choice",
             lambda: 0.005 < guest.picture("after-key").fraction_different(first) < 0.5, 30)


HIGHLIGHT_X = 0.8  # of the width: right of the names, in the highlighted row


def _highlight(picture):
    """The middle of the highlighted row of the list, or None."""
    x = int(picture.width * HIGHLIGHT_X)
    rows = []
    for y in range(picture.height // 5, picture.height * 9 // 10):
        red, green, blue = picture.pixel(x, y)
        if red < 90 and 90 < green < 180 and 80 < blue < 170:
            rows.append(y)
    return rows[len(rows) // 2] if len(rows) >= 8 else None


def _point_at(guest, viewer, x, y):
    """Moves the guest's pointer to a place as a person would, who looks where it is: a PS/2 mouse is relative, and the
    guest accelerates it as it likes."""
    size = guest.picture("before-move")
    width, height = size.width, size.height
    for at in ((width // 2, height // 2), (0, 0), (width - 1, height - 1), (0, 0), (width - 1, height - 1)):
        viewer.pointer(*at)
        time.sleep(0.3)  # so that these are movements, not one that comes to nothing
    at = there = [width - 1, height - 1]
    without = _settled(guest)  # of the pointer no more than its tip is left
    for _ in range(12):
        start, at, steps = at, list(at), 20
        for axis, far, most in ((0, x - there[0], width - 2), (1, y - there[1], height - 2)):
            at[axis] = max(1, min(most, at[axis] + far * 2 // 3))
        for step in range(1, steps + 1):
            viewer.pointer(*(start[axis] + (at[axis] - start[axis]) * step // steps for axis in (0, 1)))
            time.sleep(0.03)
        there = _settled(guest).place_of_change(without) or there
        if abs(there[0] - x) < width // 10 and abs(there[1] - y) < height // 20:
            return
    raise AssertionError(f"the pointer does not come near {x}, {y}: it is at {there}")


def _settled(guest):
    """A picture that the next one does not differ from."""
    before = guest.picture("after-move")
    while True:
        now = guest.picture("after-move")
        if now.fraction_different(before) == 0:
            return now
        before = now


@boot_test("installer-gtk", "Debian installer, graphical: its first page; keyboard and mouse work")
def installer_gtk(context):
    guest = _cd(context, "installer-gtk", "installer-gtk", memory=1024)
    first = {}

    def page():
        shot = guest.picture("first-page")
        first["y"] = _highlight(shot) if shot.width >= 640 and shot.colours() > 20 else None
        first["shot"] = shot
        return first["y"]

    wait_for("the list of languages with one highlighted", page, 600, pause=3)
    with guest.viewer() as viewer:
        viewer.key("Down")

    def moved_by(label):
        shot = guest.picture(label)
        y = _highlight(shot)
        return y is not None and y != first["y"] and (y, shot)

    first["y"], shot = wait_for("the Down key moves the highlight", lambda: moved_by("after-key"), 60)
    with guest.viewer() as viewer:
        _point_at(guest, viewer, shot.width // 4, first["y"] - shot.height // 6)
        viewer.press()
    wait_for("a click moves the highlight", lambda: moved_by("after-click"), 60)
