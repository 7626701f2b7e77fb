# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own installer: by itself, from its CD to a system that starts from the disk (tools/lab/debian_install.py), and
its graphical form answered page by page."""
import contextlib
import re
import time

from lab import debian_install, debian_mirror, emulator, media, paths
from lab.testing import Context, boot_test, patience, require, wait_for

DISK_BYTES = 3 << 30
MEMORY, POOL = 1024, 1216  # MiB
STEPS = {  # what the installer says, in its text interface, and how long it may take until then
    "the mirror is asked": (r"Checking the Debian archive mirror", 1800),
    "partitions are made": (r"Partitions formatting", 3600),
    "the base system is installed": (r"Installing the base system", 3600),
    "the boot loader is installed": (r"Installing GRUB boot loader", 4 * 3600),
    "the installation is finished": (r"Finishing the installation", 3600),
}


@contextlib.contextmanager
def _machine(context, name, cd):
    """A machine with a CD and an empty disk, and the mirror as a port of its control OS."""
    path = paths.ensure(paths.RUN) / f"{name}.img"
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    both = [emulator.Medium("debian", cd), emulator.Medium("disk", path, writable=True)]
    try:
        with (debian_mirror.Mirror() as mirror,
              context.shared.machine(name=name, media=both, pool=POOL) as lab):
            lab.run(f"nc -ll -p {debian_install.MIRROR_PORT} -e nc 10.0.2.2 {mirror.port} >/dev/null 2>&1 </dev/null &")
            inner = Context(lab, context.artefacts, context.shared)
            try:
                yield inner, mirror
            finally:
                inner.finish()
    finally:
        path.unlink()


def _install(context, name, device, model, vcpus=1, **keys):
    with _machine(context, name, debian_install.iso()) as (context, mirror):
        guest = context.adopt(name, context.domain(
            name, memory=MEMORY, display=0, boot="cd", vcpus=vcpus, on_reboot="restart", serial="unix",
            disks=[f"/media/disk,raw,{device},rw", "/media/debian,raw,hdc,cdrom"],
            vif=[f"type=user,model={model}"], **keys), 0)
        with context.lab.channel.terminal(f"escalus create -c /tmp/{name}.cfg",
                                          context.artefacts / f"{name}.serial.txt") as terminal:
            try:
                for what, (pattern, seconds) in STEPS.items():
                    found = terminal.expect(rf"(Prompt: '\?' for help)|{pattern}", seconds)
                    require(not found[1], f"the installer asks, before {what}; not on the mirror: {mirror.missing}\n"
                            f"{terminal.shown[-2000:]}")
                terminal.expect(r"installed login: ", 3600)
                guest.picture("installed")
                terminal.type("root\r")
                terminal.expect(r"Password: ")
                terminal.type(f"{debian_install.PASSWORD}\r")
                terminal.expect(r"root@installed:~# ", 600)
                terminal.type("findmnt -no SOURCE /; nproc; cat /etc/debian_version; systemctl --failed | cat\r")
                terminal.expect(r"root@installed:~# ", 300)
                terminal.type("poweroff\r")
                require(terminal.wait(1800) == 0, f"`create -c` returned {terminal.code}")
            finally:
                (context.artefacts / "not-on-the-mirror.txt").write_text("\n".join(mirror.missing))
        wait_for("the guest has ended", lambda: guest.state() is None, 60)
        said = terminal.shown
        root = "vda" if device.startswith("v") else "sda"
        require(re.search(rf"/dev/{root}\d\s+{vcpus}\s+12\.\d", said), said[-3000:])
        require("0 loaded units listed" in said, f"something has failed to start:\n{said[-3000:]}")


@boot_test("debian-ide", "Debian 12's installation by network, unattended, onto an IDE disk; log in, poweroff", long=True,
           own_machine=True)
def debian_ide(context):
    _install(context, "debian-ide", "hda", "e1000")


@boot_test("debian-virtio", "the same with virtio disk and card, and 2 vCPUs", long=True, own_machine=True)
def debian_virtio(context):
    _install(context, "debian-virtio", "vda", "virtio-net", vcpus=2)


@boot_test("debian-uefi", "the same with UEFI firmware", long=True, own_machine=True)
def debian_uefi(context):
    _install(context, "debian-uefi", "vda", "virtio-net", firmware="uefi", nvram="/tmp/debian-variables.fd")


# Parts of the graphical installer's screen, as fractions of its width and height.
QUESTION = 0.10, 0.21  # from where to where: below the banner, what is asked; above what blinks or is chosen from
BUTTON = 0.912, 0.94   # right of and below here: the button Continue, and nothing else
CONTINUE = 0.95, 0.965
PAGES = 10
AGAIN_AFTER = 30       # seconds until a page is answered again


def _part(picture, left, top, right, bottom):
    x0, x1 = (int(picture.width * x) for x in (left, right))
    return b"".join(picture.row(y)[3 * x0:3 * x1]
                    for y in range(int(picture.height * top), int(picture.height * bottom)))


class _Pages:
    """Tells the pages apart: each has a question of its own, and Continue where the first has it. What only shows
    progress has no such button."""

    def __init__(self, guest):
        self.guest, self.questions, self.button, self.shot = guest, [], None, None

    def _look(self):
        self.shot = shot = self.guest.picture(f"page-{len(self.questions) + 1}")
        if shot.width < 640 or shot.colours() <= 20:
            return None
        return _part(shot, 0, QUESTION[0], 1, QUESTION[1]), _part(shot, *BUTTON, 1, 1)

    def first(self):
        def drawn():
            seen = self._look()
            if seen is None or len(set(seen[0])) < 4 or len(set(seen[1])) < 8:
                return None
            return seen if self._look() == seen else None  # it has come to rest

        question, self.button = wait_for("the first page", drawn, 900, pause=5)
        self.questions.append(question)

    def next(self, answer, timeout=600):
        """`answer` answers the page with a viewer."""
        answered = None

        def another():
            nonlocal answered
            seen = self._look()
            if seen is None or seen[1] != self.button:
                return None  # it works
            if seen[0] not in self.questions:
                return seen[0] if self._look() == seen else None
            # A page takes no answer before it has come to rest, which is not to be seen.
            if answered is None or time.monotonic() - answered > patience(AGAIN_AFTER):
                with self.guest.viewer() as viewer:
                    answer(viewer)
                answered = time.monotonic()
            return None

        self.questions.append(wait_for(f"page {len(self.questions) + 1}", another, timeout, pause=3))

    # Answers.

    def by_key(self, viewer):
        viewer.key("Return")

    def by_mouse(self, viewer):
        width, height = self.shot.width, self.shot.height
        viewer.click(int(width * CONTINUE[0]), int(height * CONTINUE[1]))
        viewer.pointer(width // 2, 10)  # out of the way of what is compared

    def by_hand(self, viewer):  # the first of the list of mirrors' countries is: enter information manually
        viewer.key("Home")
        self.by_key(viewer)

    def cancel(self, viewer):  # the last of its list
        viewer.key("End")
        self.by_key(viewer)

    def mirror(self, viewer):
        viewer.type(f"{debian_install.MIRROR}\n")


# Language, location, keyboard, name, domain, the mirror's country, its name, a proxy. Then that a component is not to be had
# (see tools/lab/debian_install.py), where Cancel leads to a page that says which step failed.
@boot_test("installer-gtk-pages", f"Debian 12's graphical installer: its first {PAGES} pages, by keyboard and mouse", long=True,
           own_machine=True)
def gtk_pages(context):
    with _machine(context, "gtk-pages", media.installer(graphical=True)) as (context, _):
        guest = context.create("gtk-pages", display=0, memory=MEMORY, boot="d", usbdevice="tablet",
                               disks=["/media/disk,raw,hda,rw", "/media/debian,raw,hdc,cdrom"],
                               vif=["type=user,model=e1000"])
        pages = _Pages(guest)
        pages.first()
        for answer in (pages.by_key, pages.by_mouse, pages.by_key, pages.by_mouse, pages.by_key, pages.by_hand,
                       pages.mirror, pages.by_mouse, pages.cancel):
            pages.next(answer)
        require(len(set(pages.questions)) == PAGES, "not as many different pages")
