# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things lie. Everything the lab writes is under build/ or the user's cache."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LAB = BUILD / "lab"
LOGS = LAB / "logs"
MEDIA = LAB / "media"
ARTEFACTS = LAB / "artefacts"
RUN = LAB / "run"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "escalus"
AGENT_SOURCE = ROOT / "tools" / "agent" / "agent.cpp"
# Free systems that nobody adapted, kept beside the source tree and not in it.
GUESTS = Path(os.environ.get("ESCALUS_GUESTS", ROOT.parent / "shared/guests"))
BOOT_TESTS = ROOT / "test" / "boot"


def ensure(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
