# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: installs, builds, and runs Escalus inside an emulator (see docs/LAB.md)."""
