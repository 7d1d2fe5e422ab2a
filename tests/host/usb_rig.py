"""USB serial ports that pyserial finds as it finds real ones, in a mount namespace of their own.

The kernel's ``/sys/class/tty`` and ``/dev`` are replaced for one command: a folder with the
files that a USB adapter has there, and device files that are pseudo terminals. What is not
the kernel's is the adapter alone; pyserial, Keyfob and esptool are the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CP2102 = (0x10C4, 0xEA60, "CP2102 USB to UART Bridge Controller")
CH340 = (0x1A86, 0x7523, "USB Serial")
ESP_USB = (0x303A, 0x1001, "USB JTAG/serial debug unit")
ARDUINO = (0x2341, 0x0043, "Arduino Uno")

needs_namespace = pytest.mark.skipif(
    shutil.which("unshare") is None, reason="a mount namespace takes Linux and unshare"
)
# Another user than root gets one where the system allows user namespaces.
_UNSHARE = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.getuid() else [])]

_ENTER = """\
set -e
mount -t tmpfs -o size=1m none "$1/dev"
for one in null zero full random urandom tty; do touch "$1/dev/$one"; done
for one in null zero full random urandom tty; do mount --bind "/dev/$one" "$1/dev/$one"; done
mkdir "$1/dev/pts" "$1/dev/shm"
mount --bind /dev/pts "$1/dev/pts"
mount --bind /dev/shm "$1/dev/shm"
ln -s pts/ptmx "$1/dev/ptmx"
while read -r name terminal; do
  touch "$1/dev/$name"
  mount --bind "$terminal" "$1/dev/$name"
done < "$1/terminals"
mount --bind "$1/sys" /sys/class/tty
mount --rbind "$1/dev" /dev
shift
exec "$@"
"""


@dataclass(frozen=True)
class Adapter:
    """One port: its device's name, where it is plugged in, and what the adapter says of itself.

    ``terminal``: what answers behind it; nobody if None.
    """

    name: str
    location: str
    model: tuple[int, int, str]
    serial: str | None = None
    terminal: str | None = None
    interfaces: int = 1


class UsbMachine:
    """A machine with these adapters; `run` runs a command on it."""

    def __init__(self, folder: Path, home: Path, adapters: Sequence[Adapter]) -> None:
        self._folder = folder
        self._home = home
        self._masters: list[int] = []
        for name in ("dev", "sys"):
            (folder / name).mkdir(parents=True)
        terminals = [f"{one.name} {one.terminal or self._nobody()}\n" for one in adapters]
        (folder / "terminals").write_text("".join(terminals))
        for one in adapters:
            _make(folder, one)

    def close(self) -> None:
        for master in self._masters:
            os.close(master)

    def _nobody(self) -> str:
        master, slave = os.openpty()
        self._masters.append(master)
        name = os.ttyname(slave)
        os.close(slave)
        return name

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``keyfob ARGUMENTS`` with these ports."""
        command = [*_UNSHARE, "sh", "-c", _ENTER, "sh", str(self._folder),
                   sys.executable, "-m", "keyfob_host", *arguments]  # fmt: skip
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
            check=False, env={**os.environ, "KEYFOB_HOME": str(self._home), **environment},
        )  # fmt: skip
        if "unshare:" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no mount namespace of one's own here: {done.stderr.strip()}")
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> dict[str, Any]:
        """The result as data; a failure is the test's."""
        done = self.run("--json", *arguments)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def _make(folder: Path, adapter: Adapter) -> None:
    """The files of one adapter below ``/sys``, as far as pyserial reads them."""
    bus, path = adapter.location.partition(":")[0].split("-")
    places = [f"{bus}-{'.'.join(path.split('.')[:end])}" for end in range(1, path.count(".") + 2)]
    device = folder / "usb" / f"usb{bus}" / Path(*places)
    number = adapter.location.partition(":")[2] or "1.0"
    interface = device / f"{device.name}:{number}"
    port = interface / adapter.name
    port.mkdir(parents=True)
    vid, pid, product = adapter.model
    files = {
        "idVendor": f"{vid:04x}", "idProduct": f"{pid:04x}", "product": product,
        "bNumInterfaces": f"{adapter.interfaces:2d}", "serial": adapter.serial,
    }  # fmt: skip
    for name, text in files.items():
        if text is not None:
            (device / name).write_text(text + "\n")
    drivers = folder / "bus" / "usb-serial"
    drivers.mkdir(parents=True, exist_ok=True)
    (port / "subsystem").symlink_to(drivers)
    tty = folder / "sys" / adapter.name
    tty.mkdir()
    (tty / "device").symlink_to(port)
