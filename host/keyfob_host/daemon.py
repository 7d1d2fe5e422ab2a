"""Programs that go on after the command that started them: mosquitto, the time server.

A record (JSON: pid, start time, what the caller adds) says which process
is ours. A pid alone proves nothing after a reboot or a crash, so a record counts only
while the process of that pid has the start time written down. Nothing is ended that
was not started here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error, from_os_error
from keyfob_host.files import read_bounded, write_atomic

# What a program of ours prints, and its port behind it, when clients can come.
LISTENS = "listening on port "
_LISTENING_S = 10.0
# The program starts when its record stands: if we are killed before, the pipe closes and
# nothing runs that nobody knows of.
_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")


@dataclass(frozen=True)
class Detached:
    """A running program of ours. ``extra`` is what `spawn` was given."""

    pid: int
    born: str
    started_s: float
    record: Path
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return bool(self.born) and birth(self.pid) == self.born

    @property
    def uptime_s(self) -> float:
        return max(0.0, time.time() - self.started_s)


def spawn(
    argv: Sequence[str],
    *,
    record: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> Detached:
    """Start ``argv`` in a session of its own, its output appended to ``log``.

    Written to ``record`` before this returns; a program that ends at once still has
    its words in ``log``. Errors: ``file.*``, ``host.*``.
    """
    with explain_os_error(log, f"write {log.name}"):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("ab")
    with output, explain_os_error(argv[0], f"start {Path(argv[0]).name}"):
        if shutil.which(argv[0]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
        child = subprocess.Popen(
            [*_GATE, *argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the terminal is for the command alone
            env={**os.environ, **(environment or {})},
        )
    _children[child.pid] = child
    try:
        running = Detached(child.pid, birth(child.pid), time.time(), record, dict(extra or {}))
        _write(running)
        assert child.stdin  # noqa: S101 - it is a pipe
        child.stdin.write(b"go\n")
        child.stdin.close()
    except BaseException:
        child.kill()
        child.wait()
        raise
    return running


def amend(running: Detached, **extra: object) -> Detached:
    """Add to what the record says of ``running``."""
    amended = replace(running, extra={**running.extra, **extra})
    _write(amended)
    return amended


def find(record: Path) -> Detached | None:
    """The program that ``record`` speaks of if it still runs, else None."""
    if not record.exists():
        return None
    try:
        state = json.loads(read_bounded(record, f"read {record.name}"))
        running = Detached(
            int(state["pid"]), str(state["born"]), float(state["started_s"]),
            record, dict(state["extra"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None  # damaged: it can prove nothing, so nothing is ours
    return running if running.alive else None


def stop(running: Detached, *, timeout_s: float = 5.0) -> None:
    """End the program (SIGTERM, then SIGKILL after ``timeout_s``) and remove its record."""
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, timeout_s)):
        if not running.alive:
            break
        with (
            contextlib.suppress(ProcessLookupError),
            explain_os_error(f"process {running.pid}", "end the program"),
        ):
            os.kill(running.pid, number)
        deadline = time.monotonic() + patience_s
        while running.alive and time.monotonic() < deadline:
            time.sleep(0.01)
    child = _children.pop(running.pid, None)
    if child is not None:
        child.wait()
    running.record.unlink(missing_ok=True)


def wait_listening(running: Detached, log: Path, seen: int, code: str, cause: str) -> Detached:
    """Wait until a program of ours says in ``log``, behind ``seen`` bytes, on which port it
    listens; that is the extra ``port`` from then on.

    It prints `LISTENS` and the port, or its error as JSON, which is raised here. One that
    ends or stays silent for 10 s is the error ``code`` with ``cause``.
    """
    deadline = time.monotonic() + _LISTENING_S
    while True:
        # Asked first, read after: what an ended process wrote is then all there.
        alive = running.alive
        text = log.read_bytes()[seen:].decode("utf-8", "replace")
        lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
        for line in lines:
            if line.startswith(LISTENS):
                return amend(running, port=int(line.removeprefix(LISTENS)))
            if line.startswith("{"):
                failure = json.loads(line)
                raise KeyfobHostError(
                    failure["code"], failure["cause"], evidence=failure["evidence"],
                    fix=failure["fix"], status=ExitStatus(failure["status"]),
                )  # fmt: skip
        if not alive or time.monotonic() > deadline:
            raise KeyfobHostError(
                code,
                cause,
                evidence="\n".join(lines[-6:]) or "it wrote nothing",
                fix=f"cat {log}",
                status=ExitStatus.HOST,
            )
        time.sleep(0.02)


def exit_status(running: Detached) -> int | None:
    """The exit status of a program started by this very process, once it has ended."""
    child = _children.get(running.pid)
    return None if child is None else child.poll()


def birth(pid: int) -> str:
    """When ``pid`` was started, in a form that only compares; "" if there is no such process.

    A zombie counts as gone: it runs no more, and in a container nobody may reap it.
    """
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        return ""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The program's name, in brackets, may hold spaces and brackets itself.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(None, 1)
    return "" if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


@contextmanager
def locked(folder: Path, *, timeout_s: float = 30.0) -> Iterator[None]:
    """One command at a time starts or ends what lives in ``folder``; makes it (0700).

    Error ``host.busy`` after ``timeout_s``.
    """
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock.acquire(timeout=timeout_s)
    except Timeout:  # an OSError too, so it goes first
        raise KeyfobHostError(
            "host.busy",
            "another keyfob command is starting or ending the same program",
            evidence=f"{lock.lock_file} was held for {timeout_s:g} s",
            fix="wait for it, then run the command again",
            status=ExitStatus.HOST,
        ) from None
    except OSError as error:
        raise from_os_error(error, folder, "lock the folder") from error
    try:
        yield
    finally:
        lock.release()


def _write(running: Detached) -> None:
    state = {
        "pid": running.pid,
        "born": running.born,
        "started_s": running.started_s,
        "extra": running.extra,
    }
    write_atomic(running.record, json.dumps(state, indent=1) + "\n")


# Programs started by this process, by pid: they must be reaped by it.
_children: dict[int, subprocess.Popen[bytes]] = {}
