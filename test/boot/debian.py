# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer beyond its first page."""
from lab.testing import boot_test, require, wait_for

PAGES = 10
TITLE = 0.14, 0.20     # of the height: the strip that has the question's title, below the banner
BUTTON = 0.80, 0.94    # of the width and height: the corner that has the button Continue


def _part(picture, left, top, right, bottom):
    x0, x1 = (int(picture.width * x) for x in (left, right))
    return b"".join(picture.row(y)[3 * x0:3 * x1]
                    for y in range(int(picture.height * top), int(picture.height * bottom)))


class _Pages:
    """Tells the pages of the graphical installer apart: each question has a title, and Continue where the first has it.
    What only shows progress has no such button."""

    def __init__(self, guest):
        self.guest, self.titles, self.button, self.shot = guest, [], None, None

    def _look(self):
        self.shot = shot = self.guest.picture(f"page-{len(self.titles) + 1}")
        if shot.width < 640 or shot.colours() <= 20:
            return None
        return _part(shot, 0, TITLE[0], 1, TITLE[1]), _part(shot, *BUTTON, 1, 1)

    def first(self, timeout):
        def drawn():
            seen = self._look()
            if seen is None or len(set(seen[1])) < 8 or len(set(seen[0])) < 4:
                return None
            again = self._look()
            return again if again == seen else None  # it has come to rest

        title, self.button = wait_for("the first page", drawn, timeout, pause=3)
        self.titles.append(title)

    def next(self, how, timeout=300):
        """`how` answers the page with a viewer."""
        with self.guest.viewer() as viewer:
            how(viewer)

        def another():
            seen = self._look()
            return seen is not None and seen[1] == self.button and seen[0] not in self.titles and seen[0]

        self.titles.append(wait_for(f"page {len(self.titles) + 1}", another, timeout, pause=2))


# Eight questions to the choice of a mirror and its proxy. What comes then depends on what the mirror has: the password
# of the administrator, or a page that says what could not be loaded.
@boot_test("installer-gtk-pages", f"Debian installer, graphical: its first {PAGES} pages, by keyboard and mouse", long=True)
def gtk_pages(context):
    guest = context.create("pages", display=0, memory=1024, boot="d", usbdevice="tablet",
                           disks=[f"{context.media('installer-gtk')},raw,hdc,cdrom"], vif=["type=user,model=e1000"])
    pages = _Pages(guest)
    pages.first(600)

    def by_key(viewer):
        viewer.key("Return")

    def by_mouse(viewer):
        shot = pages.shot
        viewer.pointer(shot.width // 2, shot.height // 2)
        viewer.click(int(shot.width * 0.93), int(shot.height * 0.965))

    for number in range(1, PAGES):
        pages.next(by_mouse if number % 2 == 0 else by_key)
    require(len(set(pages.titles)) == PAGES, "not as many different pages")
    guest.picture(f"page-{PAGES}")
