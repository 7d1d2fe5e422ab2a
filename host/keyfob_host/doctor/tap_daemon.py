"""The bench's tap as a process of its own, on the broker's port: ``keyfob broker up --tap``.

Run as a module it is that process: it says on its output that it listens, or as JSON why it
cannot, and ends on SIGTERM. What it sees goes to ``tap.jsonl`` in the broker's folder, which
is bounded (`tap_capture.EventFile`).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from keyfob_host import daemon
from keyfob_host.daemon import Detached
from keyfob_host.doctor.tap import Tap
from keyfob_host.doctor.tap_capture import EventFile
from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded

EVENTS = "tap.jsonl"  # in the broker's folder; kept when the tap has ended
_RECORD = "tap.json"
_LOG = "tap.log"
_LOG_KEPT_BYTES = 1 << 20


def start_tap(folder: Path, host: str, port: int, target: tuple[str, int]) -> Detached:
    """Listen on ``(host, port)``, pass to ``target``; its record has the port it got.

    The caller holds the lock of ``folder``. Errors: as `Tap.start`, and ``tap.died``.
    """
    log = folder / _LOG
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.unlink()
    seen = log.stat().st_size if log.exists() else 0
    argv = [
        sys.executable, "-m", "keyfob_host.doctor.tap_daemon",
        "--host", host, "--port", str(port), "--to-host", target[0], "--to-port", str(target[1]),
        "--events", str(folder / EVENTS),
    ]  # fmt: skip
    extra = {"host": host, "port": port, "target": f"{target[0]}:{target[1]}"}
    started = daemon.spawn(argv, record=folder / _RECORD, log=log, extra=extra)
    try:
        return daemon.wait_listening(
            started, log, seen, "tap.died", "the tap before the broker did not start"
        )
    except BaseException:
        daemon.stop(started)
        raise


@dataclass(frozen=True)
class TapState:
    """Where boards connect; ``pid`` is None if the tap should run and does not.

    ``target``: host and port of the broker behind it.
    """

    host: str
    port: int
    pid: int | None
    target: tuple[str, int]


def tap_of(folder: Path) -> TapState | None:
    """The tap that belongs to the broker of ``folder``, running or not; None: it has none."""
    record = folder / _RECORD
    if not record.exists():
        return None
    running = daemon.find(record)
    try:
        extra = json.loads(read_bounded(record, "read the tap's record"))["extra"]
        pid = running.pid if running else None
        host, _, port = str(extra["target"]).rpartition(":")
        return TapState(str(extra["host"]), int(extra["port"]), pid, (host, int(port)))
    except (ValueError, KeyError, TypeError):
        return None  # damaged: as `daemon.find`, it proves nothing


def stop_tap(folder: Path) -> None:
    """End it, and forget that there was one; harmless without."""
    record = folder / _RECORD
    running = daemon.find(record)
    if running is not None:
        daemon.stop(running)
    record.unlink(missing_ok=True)


def main() -> int:
    """The process itself: pass and tell until SIGTERM."""
    parser = argparse.ArgumentParser(prog="keyfob_host.doctor.tap_daemon")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to-host", required=True)
    parser.add_argument("--to-port", type=int, required=True)
    parser.add_argument("--events", type=Path, required=True)
    options = parser.parse_args()
    # Blocked in every thread, so that `sigwait` below is the only one to see it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        events = EventFile(options.events)
        tap = Tap(
            (options.to_host, options.to_port), options.host, options.port,
            on_event=lambda event: events.write(event.as_dict()),
        ).start()  # fmt: skip
    except KeyfobHostError as error:
        print(json.dumps(error.as_dict()), flush=True)
        return int(error.status)
    print(f"{daemon.LISTENS}{tap.port}", flush=True)
    signal.sigwait({signal.SIGTERM})
    tap.stop()
    events.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
