"""The bench's time server as a process of its own: ``keyfob ntp up``, ``status``, ``down``.

Run as a module it is that process: it says on its output that it listens, or as JSON
why it cannot, and ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from keyfob_host import daemon
from keyfob_host.daemon import Detached
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.listeners import loopback_of
from keyfob_host.ntp import Mode, NtpServer, query

_LOG_KEPT_BYTES = 1 << 20


def ntp_up(
    home: Home, *, host: str, port: int, mode: Mode = Mode.OK, offset_s: float = 0.0
) -> tuple[dict[str, Any], bool]:
    """Start the time server, or find it running: (`ntp_status`, whether it was started now).

    Errors: ``ntp.already-up`` (with other settings), ``ntp.port-taken``,
    ``ntp.port-privileged``, ``ntp.bad-address``, ``ntp.died``.
    """
    wanted = {"host": host, "mode": mode.value, "offset_s": offset_s}
    with daemon.locked(home.ensure().ntp_dir):
        running = daemon.find(_record(home))
        if running is not None:
            _refuse_other(running, {**wanted, "port": port or running.extra["port"]})
            return ntp_status(home), False
        log = home.ntp_dir / "ntp.log"
        if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
            log.unlink()
        seen = log.stat().st_size if log.exists() else 0
        argv = [
            sys.executable, "-m", "keyfob_host.ntp_daemon",
            "--host", host, "--port", str(port), "--mode", mode.value,
            "--offset-s", str(offset_s),
        ]  # fmt: skip
        started = daemon.spawn(argv, record=_record(home), log=log, extra={**wanted, "port": port})
        try:
            daemon.wait_listening(started, log, seen, "ntp.died", "the time server did not start")
            return ntp_status(home), True
        except BaseException:
            daemon.stop(started)
            raise


def ntp_down(home: Home) -> int | None:
    """End the time server; its pid, or None if none ran."""
    with daemon.locked(home.ensure().ntp_dir):
        running = daemon.find(_record(home))
        if running is None:
            return None
        daemon.stop(running)
        return running.pid


def ntp_status(home: Home) -> dict[str, Any]:
    """The server's state as JSON-ready values, with what it answers right now.

    ``answer`` is None where it answers nothing of use (`Mode`). Error ``ntp.down``.
    """
    running = daemon.find(_record(home))
    if running is None:
        raise KeyfobHostError(
            "ntp.down",
            "this bench's time server is not running",
            fix="keyfob ntp up",
            status=ExitStatus.NETWORK,
        )
    host, port = str(running.extra["host"]), int(str(running.extra["port"]))
    answer: dict[str, Any] | None = None
    try:
        got = query(loopback_of(host), port)
        answer = {
            "leap": got.leap,
            "stratum": got.stratum,
            "reference_id": got.reference_id.decode("latin-1").rstrip("\0"),
            "offset_s": round(got.offset_s, 4),
        }
    except KeyfobHostError as error:
        if running.extra["mode"] == Mode.OK.value:
            raise error
    return {
        "pid": running.pid,
        "host": host,
        "port": port,
        "mode": running.extra["mode"],
        "uptime_s": round(running.uptime_s, 1),
        "answer": answer,
    }


def _record(home: Home) -> Path:
    return home.ntp_dir / "ntp.json"


def _words(settings: dict[str, Any]) -> str:
    known = {"port": "any port", **settings}
    return f"{known['host']}:{known['port']}, mode {known['mode']}, offset {known['offset_s']:g} s"


def _refuse_other(running: Detached, wanted: dict[str, object]) -> None:
    """Raise unless the running server is the one asked for."""
    if running.extra != wanted:
        raise KeyfobHostError(
            "ntp.already-up",
            "this bench's time server runs already, with other settings",
            evidence=f"pid {running.pid}: {_words(running.extra)}; asked for: {_words(wanted)}",
            fix="keyfob ntp down, then the same command again",
        )


def main() -> int:
    """The process itself: serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="keyfob_host.ntp_daemon")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mode", type=Mode, required=True)
    parser.add_argument("--offset-s", type=float, required=True)
    options = parser.parse_args()
    # Blocked in every thread, so that `sigwait` below is the only one to see it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = NtpServer(options.host, options.port, mode=options.mode, offset_s=options.offset_s)
    try:
        server.start()
    except KeyfobHostError as error:
        print(json.dumps(error.as_dict()), flush=True)
        return int(error.status)
    print(f"{daemon.LISTENS}{server.port}", flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
