"""One user of a board at a time: the second is told who holds it.

A board has one lock by whatever name, port or URL it is reached. The lock is the operating
system's own, so it ends with its holder however that ends; in the locked file stands who
that is. A virtual board's lock is in its bench's folder, a real one's in a folder that all
users of this machine share. It binds Keyfob alone: a terminal program that opens the port
is not kept out. A board on another machine's RFC 2217 port is locked by its URL on this
machine only, and under the name or address that the URL has.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import shlex
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from serial.tools import list_ports

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.ports import is_url
from keyfob_host.printable import LINE_CHARS, printable

# Where every user may make files and remove only their own.
_SHARED = (Path("/run/lock"), Path("/var/lock"), Path("/tmp"))  # noqa: S108
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NOTE_BYTES = 4096
# Who only looks has the lock for a moment, and leaves no note.
_LOOK_S = 2.0
_LOOK_STEP_S = 0.02
_PROC = Path("/proc")


@dataclass(frozen=True)
class LockHolder:
    """Who holds a board; ``pid`` 0 if it has not said so yet."""

    pid: int
    command: str
    since_s: float
    user: str

    @property
    def words(self) -> str:
        """``pid 4711: keyfob hil run smoke, for 12 s``, and whose it is if not ours."""
        if not self.pid:
            return "a run that has just begun"
        whose = "" if self.user == _user() else f" (user {self.user})"
        return f"pid {self.pid}{whose}: {self.command}, for {time.time() - self.since_s:.0f} s"

    @property
    def is_ours(self) -> bool:
        """Whether it is this process, or one that this one was started by."""
        pid = os.getpid()
        while pid > 1:
            if pid == self.pid:
                return True
            pid = _parent(pid)
        return False


def lock_path(home: Home, name: str, port: str | None) -> Path:
    """Where the lock of a board is.

    A virtual board belongs to its bench, also when it is reached by its port; a real one to
    the machine, whichever bench asks for it and by whatever link the port is named.
    """
    if port is None:
        return home.boards_dir / f"{name}.lock"
    virtual = _virtual_lock(home, port)
    if virtual is not None:
        return virtual
    real = _server(port) if is_url(port) else _plug(os.path.realpath(port))
    slug = re.sub(r"[^A-Za-z0-9]+", "-", real).strip("-")
    return _shared_folder() / f"keyfob-{slug}.lock"


@contextmanager
def board_lock(path: Path, board: str) -> Iterator[None]:
    """Hold the board's lock; error ``board.in-use`` says who holds it already."""
    with explain_os_error(path, "lock the board"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = _take(path)
    if handle is None:
        raise _in_use(path, board)
    try:
        note = {"pid": os.getpid(), "command": _own_command(), "since_s": time.time()}
        os.write(handle, json.dumps({**note, "user": _user()}).encode()[:_NOTE_BYTES])
        yield
    finally:
        os.ftruncate(handle, 0)
        # Another user's that it took over cannot be removed, and need not be.
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def holder_of(path: Path) -> LockHolder | None:
    """Who holds the lock now, None if nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_note(handle)
    else:
        return None
    finally:
        os.close(handle)


def check_not_held(path: Path, board: str) -> None:
    """Refuse a board that another run of Keyfob holds: ``port.busy``."""
    holder = holder_of(path)
    if holder is None or holder.is_ours:
        return
    raise KeyfobHostError(
        "port.busy", f"{board} is in use by another run of keyfob",
        evidence=holder.words, fix=_wait(holder), status=ExitStatus.HOST,
    )  # fmt: skip


def _take(path: Path) -> int | None:
    """A descriptor of the file, locked and empty; None if another process has it."""
    end = time.monotonic() + _LOOK_S
    while True:
        with suppress(FileExistsError):  # made by another process meanwhile
            handle = _open(path)
            if not _locked(handle):
                is_held = _lives(_read_note(handle).pid) or time.monotonic() > end
                os.close(handle)
                if is_held:
                    return None
                time.sleep(_LOOK_STEP_S)
            elif _is_at(path, handle):
                os.ftruncate(handle, 0)
                return handle
            else:
                os.close(handle)  # its holder has removed it, as holders do at the end


def _open(path: Path) -> int:
    """Not with O_CREAT where it is there: Linux keeps users from such a file of another's."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    if path.parent in _SHARED:
        os.fchmod(handle, 0o666)  # the next holder may be another user
    return handle


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _read_note(handle: int) -> LockHolder:
    try:
        told = json.loads(os.pread(handle, _NOTE_BYTES, 0))
        return LockHolder(
            int(told["pid"]),
            printable(str(told["command"]), limit=LINE_CHARS),
            float(told["since_s"]),
            printable(str(told["user"]), limit=LINE_CHARS),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Locked a moment ago, its note not yet written.
        return LockHolder(0, "", time.time(), "")


def _in_use(path: Path, board: str) -> KeyfobHostError:
    holder = holder_of(path) or LockHolder(0, "", time.time(), "")
    return KeyfobHostError(
        "board.in-use", f"the board {board} is in use by another run",
        evidence=holder.words, fix=_wait(holder) + ", or give another board",
        status=ExitStatus.HOST,
    )  # fmt: skip


def _wait(holder: LockHolder) -> str:
    return f"wait for it (ps -p {holder.pid})" if holder.pid else "wait for it"


def _virtual_lock(home: Home, port: str) -> Path | None:
    """The lock of the virtual board of this bench, or of its suites, that ``port`` leads to."""
    if is_url(port) and not _server(port).startswith("localhost:"):
        return None
    if not is_url(port) and not os.path.realpath(port).startswith("/dev/pts/"):
        return None
    from keyfob_host.virtual import running

    for place in (home, Home(home.root / "hil"), Home(home.root.parent)):
        for board in running(place):
            try:
                info = board.info()
            except KeyfobHostError:  # ended meanwhile
                continue
            ways = {_server(str(info[one])) for one in ("socket_url", "rfc2217_url")}
            ways.add(os.path.realpath(str(info["pty"])))
            if (_server(port) if is_url(port) else os.path.realpath(port)) in ways:
                return lock_path(place, board.name, None)
    return None


def _plug(device: str) -> str:
    """Where a USB port is plugged in, which stays when it is numbered anew; else ``device``."""
    ports = (port for port in list_ports.comports() if port.device == device)
    return next((f"usb {port.location}" for port in ports if port.location), device)


def _server(url: str) -> str:
    """Host and port of a URL, in one way of writing: the same line, whatever is spoken on it."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:  # no such address; who connects says what is wrong with it
        return url
    return f"{'localhost' if host in _LOOPBACK else host}:{port}"


def _shared_folder() -> Path:
    """The same for every user: a folder that only one of them could write is none."""
    return next((one for one in _SHARED if _is_for_all(one)), _SHARED[-1])


def _is_for_all(folder: Path) -> bool:
    wanted = stat.S_ISVTX | stat.S_IWOTH
    return folder.is_dir() and folder.stat().st_mode & wanted == wanted


def _own_command() -> str:
    """What a person typed; a worker of pytest-xdist has the command of the run that it is of."""
    words = sys.argv
    if words[0] == "-c" and "execnet" in sys.modules:
        with suppress(OSError):
            line = (_PROC / str(os.getppid()) / "cmdline").read_bytes().decode("utf-8", "replace")
            words = line.rstrip("\0").split("\0")
            words = words[1:] if Path(words[0]).name.startswith("python") else words
    program = Path(words[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *words[1:]])[:LINE_CHARS]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _parent(pid: int) -> int:
    if pid == os.getpid():
        return os.getppid()
    try:
        # The name in parentheses may hold anything; the state and the parent come after it.
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
