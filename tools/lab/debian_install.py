# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's network installer as a CD that asks nothing (preseeding, see the appendix of Debian's installation guide).

It installs Debian 12. The installer itself is that of Debian 13, whose components are on the mirrors: most of those of
Debian 12 are not, there is only its installer's image. Their kernel modules must be of the installer's kernel, which
fixes the image's version."""
import shutil
import subprocess

from . import debian_mirror, media, paths
from .cpio import Archive

IMAGE = ("pool/main/d/debian-installer-netboot-images/debian-installer-13-netboot-amd64_20250803+deb13u6_all.deb",
         "b14500fba1c068c7d818de1376e46151628d96d8b2f322dfcbe7a16b7b8c2fa4")
FOLDER = "usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64"
MIRROR_PORT = 3142  # in the control OS
MIRROR = f"10.0.2.2:{MIRROR_PORT}"  # for a guest behind the address translation
PASSWORD = "escalus"

# GRUB of Debian 12 does not know two features that the newer mke2fs gives a file system.
OLD_FEATURES = "sed -i 's/,metadata_csum_seed//; s/,orphan_file//' /etc/mke2fs.conf"
# The indices of what is installed are signed; those of the installer's components are the lab's own.
CHECK_SIGNATURES = "debconf-set debian-installer/allow_unauthenticated false"

PRESEED = f"""d-i debian-installer/locale string en_US.UTF-8
d-i debian-installer/allow_unauthenticated boolean true
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string installed
d-i netcfg/get_domain string example.org
d-i mirror/country string manual
d-i mirror/protocol string http
d-i mirror/http/hostname string {MIRROR}
d-i mirror/http/directory string /debian
d-i mirror/http/proxy string
d-i mirror/suite string bookworm
d-i mirror/udeb/suite string {debian_mirror.SUITE}
d-i passwd/make-user boolean false
d-i passwd/root-password password {PASSWORD}
d-i passwd/root-password-again password {PASSWORD}
d-i clock-setup/utc boolean true
d-i clock-setup/ntp boolean false
d-i time/zone string UTC
d-i partman/early_command string {CHECK_SIGNATURES}; {OLD_FEATURES}
d-i partman-auto/method string regular
d-i partman-auto/choose_recipe select atomic
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i base-installer/install-recommends boolean false
d-i base-installer/kernel/image select linux-image-amd64
d-i base-installer/initramfs-tools/driver-policy select dep
d-i apt-setup/services-select multiselect
d-i apt-setup/enable-source-repositories boolean false
d-i pkgsel/run_tasksel boolean false
d-i pkgsel/upgrade select none
d-i pkgsel/updatedb boolean false
popularity-contest popularity-contest/participate boolean false
d-i grub-installer/only_debian boolean true
d-i grub-installer/bootdev string default
d-i cdrom-detect/eject boolean false
d-i finish-install/reboot_in_progress note
"""

MENU = """set timeout=0
menuentry "Debian 12, unattended" {
  linux /install/vmlinuz console=ttyS0 priority=critical auto=true DEBIAN_FRONTEND=text --- quiet console=ttyS0
  initrd /install/initrd.gz
}
"""


def _image():
    """The folder with the installer's kernel and initrd."""
    package = debian_mirror.fetched(*IMAGE)
    target = paths.CACHE / "packages" / package.stem
    if not target.exists():
        partial = target.with_name(f".{target.name}")
        shutil.rmtree(partial, ignore_errors=True)
        paths.ensure(partial)
        subprocess.run(["dpkg-deb", "-x", package, partial], check=True)
        partial.rename(target)
    return target / FOLDER


def iso():
    """The CD, for BIOS and UEFI."""
    folder = _image()
    answers = Archive()
    answers.file("preseed.cfg", PRESEED.encode())

    def make(target):
        initrd = (folder / "initrd.gz").read_bytes()
        combined = target.with_suffix(".initrd")
        combined.write_bytes(initrd + b"\0" * (-len(initrd) % 4) + answers.bytes())
        try:
            media.make_grub_iso(target, MENU, {"install/vmlinuz": folder / "linux", "install/initrd.gz": combined},
                                ("i386-pc", "x86_64-efi"))
        finally:
            combined.unlink()

    return media.made("debian-12-unattended.iso", [MENU, PRESEED, folder / "linux", folder / "initrd.gz"], make)
