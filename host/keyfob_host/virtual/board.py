"""A virtual board from outside: start, find, ask, end. One method is one command.

The board itself is another process (`keyfob_host.virtual.supervisor`), so it outlives
the command that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keyfob_host.boards import DEFAULT_KIND, kind_names, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.virtual.control import WANTED, ask
from keyfob_host.virtual.micropython import prepare

_END_S = 10.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class VirtualBoard:
    """A virtual board that is up. Make one with `up` or `attach`."""

    def __init__(self, home: Home, name: str) -> None:
        self.home = home
        self.name = name

    @classmethod
    def up(
        cls,
        home: Home,
        kind: str = "virtual-esp32",
        name: str | None = None,
        *,
        powered: bool = True,
        fresh: bool = False,
    ) -> VirtualBoard:
        """Start the board ``name`` (the kind's name if None); one that is up stays as it is.

        ``fresh`` starts with erased flash. Errors: ``board.unknown-kind``,
        ``board.not-virtual``, ``board.bad-name``, ``board.did-not-start``,
        ``host.no-micropython``, and ``board.already-up`` for ``fresh`` on a running one.
        """
        return cls.start(home, kind, name, powered=powered, fresh=fresh)[0]

    @classmethod
    def start(
        cls,
        home: Home,
        kind: str,
        name: str | None,
        *,
        powered: bool,
        fresh: bool,
        on_step: Callable[[str], None] | None = None,
    ) -> tuple[VirtualBoard, bool]:
        """As `up`, and whether it was started now; ``on_step`` is told before a download."""
        name = name or kind
        _check(kind, name)
        board = cls(home, name)
        if board.is_up():
            if fresh:
                raise KeyfobHostError(
                    "board.already-up", f"the virtual board {name!r} is up; its flash is in use",
                    evidence=str(board.folder), fix=f"keyfob board down {name}",
                    status=ExitStatus.BOARD,
                )  # fmt: skip
            return board, False
        home.ensure()
        prepare(load_kind(kind), on_step)
        started = board._start(kind, fresh=fresh)
        if powered:
            board.power(True)
        return board, started

    @classmethod
    def attach(cls, home: Home, name: str) -> VirtualBoard:
        """The board ``name``, which must be up; errors: ``board.not-up``."""
        board = cls(home, name)
        if not board.is_up():
            raise board._not_up()
        return board

    @property
    def folder(self) -> Path:
        """``boards/NAME`` in the bench's folder."""
        return self.home.boards_dir / self.name

    def is_up(self) -> bool:
        """Whether its process answers."""
        try:
            ask(self._socket, {"do": "info"})
        except OSError:
            return False
        return True

    def info(self) -> dict[str, Any]:
        """State, ports, process ids, flash path: see ``keyfob board info``."""
        found: dict[str, Any] = self._do("info")
        return found

    def down(self) -> None:
        """Power off and end the process; the flash image stays."""
        pid = int(self.info()["pid"])
        self._do("down")
        end = time.monotonic() + _END_S
        while not _ended(self.folder) and time.monotonic() < end:
            time.sleep(0.01)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)  # started by this very process: leave no zombie

    def power(self, on: bool) -> None:
        """Switch the supply. Off loses the clock and RTC memory."""
        self._do("power", on=on)

    def reset(self) -> None:
        """Press EN: start again from the ROM."""
        self._do("reset")

    def download_mode(self) -> None:
        """Hold IO0 and press EN: the ROM waits for esptool."""
        self._do("download")

    def wifi(self, up: bool) -> None:
        """Switch the access point; connections are cut when it goes."""
        self._do("wifi", up=up)

    def set_clock(self, unix_s: float | None) -> None:
        """Make it ``unix_s`` on the board now; None: the time after power-on."""
        self._do("clock", unix_s=unix_s)

    def link(self, kind: str | None, **details: Any) -> None:
        """Make every connection fail as `keyfob_host.relay.Fault` says; None: none any more."""
        self._do("link", fault=None if kind is None else {"kind": kind, **details})

    def cut_connections(self) -> int:
        """Reset the connections that live now; how many there were."""
        return int(self._do("cut"))

    def dht(self, temperature_c: float | None, humidity_percent: float | None) -> None:
        """What the sensor measures; None: it does not answer."""
        self._do("dht", temperature_c=temperature_c, humidity_percent=humidity_percent)

    def sensor(
        self,
        temperature_c: float | None,
        humidity_percent: float | None,
        *,
        unplugged: bool = False,
    ) -> tuple[float, float] | None:
        """Change what is given of the sensor's values; what it measures then."""
        if unplugged:
            self.dht(None, None)
            return None
        before = self.info()["dht"] or (20.0, 50.0)
        after = (
            before[0] if temperature_c is None else temperature_c,
            before[1] if humidity_percent is None else humidity_percent,
        )
        if temperature_c is not None or humidity_percent is not None:
            self.dht(*after)
        elif self.info()["dht"] is None:
            return None
        return after

    def neopixel(self, pin: int | None = None) -> list[tuple[int, ...]]:
        """The colours last written to the LEDs on ``pin``, or on the only pin that has any."""
        pixels: dict[str, list[list[int]]] = self._do("pixels")
        chosen = next(iter(pixels.values()), []) if pin is None else pixels.get(str(pin), [])
        return [tuple(color) for color in chosen]

    def pin(self, n: int, level: int | None = None) -> int:
        """The level of pin ``n``; with ``level``, put that on it from outside first."""
        return int(self._do("pin", n=n, level=level))

    def flash_fault(self, cut_after_writes: int | None, done: float = 0.5) -> None:
        """Cut the power in the n-th flash write or erase from now, that share of it ``done``;
        None: never."""
        self._do("flash_fault", cut_after_writes=cut_after_writes, done=done)

    def serial_throttle(self, baud: int | None) -> None:
        """Slow the console to ``baud``; None: as fast as it goes."""
        self._do("throttle", baud=baud)

    # -- inside

    @property
    def _socket(self) -> Path:
        return self.home.runtime_dir / f"board-{self.name}.sock"

    def _do(self, command: str, **arguments: Any) -> Any:
        try:
            return ask(self._socket, {"do": command, **arguments})
        except OSError as error:
            raise self._not_up() from error

    def _not_up(self) -> KeyfobHostError:
        up = [board.name for board in running(self.home)]
        kind = self.name if self.name in kind_names() else DEFAULT_KIND
        option = "" if self.name == kind else f" --name {self.name}"
        return KeyfobHostError(
            "board.not-up", f"the virtual board {self.name!r} is not up",
            evidence=f"up: {', '.join(up) or 'none'} (in {self.home.root})",
            fix=f"keyfob board up {kind}{option}",
            status=ExitStatus.BOARD,
        )  # fmt: skip

    def _start(self, kind: str, *, fresh: bool) -> bool:
        with explain_os_error(self.folder, "make the virtual board's folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if fresh:
                (self.folder / "flash.bin").unlink(missing_ok=True)
            log = (self.folder / "supervisor.log").open("wb")
        read, write = os.pipe()
        heard, said = os.pipe()
        arguments = [str(self.home.root), self.name, kind, str(write)]
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "keyfob_host.virtual.supervisor", *arguments],
                stdin=heard, stdout=log, stderr=log, cwd="/",
                pass_fds=[write], start_new_session=True,
            )  # fmt: skip
        os.close(write)
        os.close(heard)
        # Interrupted anywhere from here on, its input closes and the process ends by itself.
        with os.fdopen(read, "rb") as pipe, os.fdopen(said, "wb") as wanted:
            answer = json.loads(pipe.read() or b"{}")
            if answer.get("ok"):
                wanted.write(WANTED)
                return True
        process.wait()
        told = answer.get("error")
        if told and told["code"] == "board.already-up":
            # Another command was faster; the board is up, as asked, or about to answer.
            end = time.monotonic() + _END_S
            while not self.is_up() and time.monotonic() < end:
                time.sleep(0.01)
            return False
        if told:
            raise KeyfobHostError(
                told["code"], told["cause"], evidence=told["evidence"], fix=told["fix"],
                status=ExitStatus(told["status"]),
            )  # fmt: skip
        raise KeyfobHostError(
            "board.did-not-start", f"the virtual board {self.name!r} did not start",
            evidence=(self.folder / "supervisor.log").read_text(errors="replace")[-2000:].strip(),
            fix=f"cat {self.folder / 'supervisor.log'}", status=ExitStatus.HOST,
        )  # fmt: skip


def running(home: Home) -> list[VirtualBoard]:
    """The virtual boards of this bench that are up, by name."""
    names = sorted(path.name[6:-5] for path in home.runtime_dir.glob("board-*.sock"))
    return [board for name in names if (board := VirtualBoard(home, name)).is_up()]


def known(home: Home) -> list[str]:
    """The names of all virtual boards of this bench that ever were started."""
    return sorted(path.parent.name for path in home.boards_dir.glob("*/flash.bin"))


def _check(kind: str, name: str) -> None:
    if not load_kind(kind).virtual:
        raise KeyfobHostError(
            "board.not-virtual", f"{kind} is a real board, which needs no starting",
            fix="keyfob board up virtual-esp32", status=ExitStatus.USAGE,
        )  # fmt: skip
    if not _NAME.fullmatch(name):
        raise KeyfobHostError(
            "board.bad-name", f"{name!r} cannot be a board's name",
            evidence="wanted: up to 32 of a-z, 0-9, dot, dash, underscore; first a letter or digit",
            fix="keyfob board up virtual-esp32 --name board-1", status=ExitStatus.USAGE,
        )  # fmt: skip


def _ended(folder: Path) -> bool:
    """Whether no process holds the board's folder; asked by its lock, since a process id
    may live on as a zombie, or as somebody else's."""
    try:
        handle = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)
