# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with UEFI firmware (Debian's ovmf)."""
from lab.testing import boot_test, require


def _linux(context, name, disk, boot):
    guest = context.create(name, display=0, memory=256, boot=boot, disks=[f"{context.media('uefi-linux')},raw,{disk}"],
                           firmware="uefi", nvram="/tmp/uefi-variables.fd")
    guest.wait_serial(r"Welcome to GRUB", 600)  # OVMF's console is on the serial port, too
    guest.picture(name)
    text = guest.wait_serial(r"variable: .*", 600)
    require(guest.wait_end(120) == 0, guest.log())
    return text


@boot_test("uefi-variables", "OVMF boots Linux from a CD, then from a disk; a variable of the first start is there "
           "in the second")
def uefi_variables(context):
    context.run("rm -f /tmp/uefi-variables.fd")
    text = _linux(context, "uefi-cd", "hdc,cdrom", "d")
    require("variable: it was 0" in text, f"no new variable could be written:\n{text}")
    for table in ("acpi/tables/FACP", "dmi/tables/DMI"):
        require(f"/sys/firmware/{table}" in text, f"no {table}:\n{text}")
    # The whole image, and no more, once nobody writes to it.
    size = int(context.run("stat -c %s /tmp/uefi-variables.fd", check=True).text)
    require(size == 540672, f"the file of variables has {size} bytes")
    text = _linux(context, "uefi-disk", "xvda,r", "c")
    require("variable: it was 1" in text, f"the variable of the first start is not there:\n{text}")
