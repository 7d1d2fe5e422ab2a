"""What puts a virtual board into another room: RFC 2217 servers, labgrid's two programs.

None of them is ours. A pseudo terminal has no control lines, so Espressif's server stands
before the board's own RFC 2217 port, which has; it is told to set them one after the other,
because setting both at once takes a device of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from virtual_rig import WAIT_S

from keyfob_host.listeners import free_port
from keyfob_host.virtual import VirtualBoard

SER2NET = shutil.which("ser2net", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NO_SER2NET = "ser2net is not installed (apt install ser2net)"
_LINES = (
    "[esptool]\n"
    "custom_reset_sequence = D0|R1|W0.1|D1|R0|W0.05|D0\n"
    "custom_hard_reset_sequence = R1|W0.1|R0\n"
)


def own_url(board: VirtualBoard) -> str:
    """The board's own RFC 2217 port, as a person would write it."""
    return str(board.info()["rfc2217_url"]).partition("?")[0]


@contextmanager
def program(
    words: Sequence[str], log: Path, ready: Callable[[str], bool], **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until the end of the body; ``ready`` looks at what it printed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            **options,  # type: ignore[call-overload]
        )  # fmt: skip
    try:
        end = time.monotonic() + WAIT_S
        while not ready(log.read_text(errors="replace")):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def of_this_environment(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@contextmanager
def served_by_esptool(board: VirtualBoard, folder: Path) -> Iterator[str]:
    """Espressif's ``esp_rfc2217_server`` before the board; its address."""
    (folder / "esptool.cfg").write_text(_LINES)
    port = free_port()
    words = [of_this_environment("esp_rfc2217_server"), "-p", str(port), own_url(board)]
    with program(
        words, folder / "server.log", lambda text: "Waiting for connection" in text, cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ):  # fmt: skip
        yield f"rfc2217://127.0.0.1:{port}"


@contextmanager
def served_by_ser2net(board: VirtualBoard, folder: Path) -> Iterator[str]:
    """ser2net before the board's pseudo terminal; its address."""
    assert SER2NET is not None
    port = free_port()
    lines = (
        f"connection: &board#  accepter: telnet(rfc2217),tcp,127.0.0.1,{port}",
        f"  connector: serialdev(nouucplock=true),{Path(board.info()['pty']).resolve()},"
        "115200n81,local",
    )
    words = [SER2NET, "-d", "-n", *(word for line in lines for word in ("-Y", line))]
    with program(words, folder / "ser2net.log", lambda _: _listens(port)):
        yield f"rfc2217://127.0.0.1:{port}"


@contextmanager
def labgrid(exports: str, folder: Path) -> Iterator[str]:
    """A coordinator, and an exporter of ``exports`` (its YAML) called ``shelf``; the
    coordinator's address."""
    folder.mkdir()
    (folder / "exports.yaml").write_text(exports)
    coordinator, exporter = map(of_this_environment, ("labgrid-coordinator", "labgrid-exporter"))
    own = {**os.environ, "PYTHONUNBUFFERED": "1"}
    port = free_port()
    address = f"127.0.0.1:{port}"
    with (
        program(
            [coordinator, "-l", address], folder / "coordinator.log",
            lambda text: "Coordinator ready" in text,
            cwd=folder, env=own,
        ),
        program(
            [exporter, "-c", address, "-n", "shelf", "--hostname", "127.0.0.1", "exports.yaml"],
            folder / "exporter.log", lambda text: "connected to coordinator" in text,
            cwd=folder, env=own,
        ),
    ):  # fmt: skip
        yield address


def labgrid_client(address: str, *words: str, user: str | None = None) -> str:
    """What stock ``labgrid-client`` printed; it must succeed."""
    who = {} if user is None else {"LG_USERNAME": user}
    done = subprocess.run(
        [of_this_environment("labgrid-client"), "-x", address, *words],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **who},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _listens(port: int) -> bool:
    # Looked up, not tried: ser2net would open its device for whoever connects.
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
