# SPDX-License-Identifier: GPL-2.0-or-later
"""Old systems, as their makers left them. Their media stand beside the source tree; without them the tests are
skipped."""
from lab.testing import boot_test


@boot_test("netbsd-5.99", "NetBSD 5.99 from a hard disk: its boot blocks, autoconfiguration, g4u's shell")
def netbsd(context):
    # In memory, so that the guest may write.
    context.run(f"cp {context.media('netbsd-5.99')} /tmp/netbsd.img", check=True)
    guest = context.create("netbsd", display=0, memory=96, boot="c", disks=["/tmp/netbsd.img,raw,hda,w"])
    guest.wait_text(r"Kernelized RAIDframe activated", 400)
    guest.picture("autoconfiguration")
    guest.wait_text(r"g4u>", 400)
    guest.picture("shell")
    guest.keep_text("shell")
    with guest.viewer() as viewer:
        viewer.type("disks\n")
    guest.wait_text(r"g4u> disks[\s\S]*wd0", 60)
    guest.keep_text("disks")
