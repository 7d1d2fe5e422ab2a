"""``keyfob tap``: see what board and broker say to each other in TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click

from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor.tap import Tap, TapEvent
from keyfob_host.doctor.tap_capture import Capture, EventFile
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.listeners import loopback_of
from keyfob_host.ui import Ui

_DEFAULT_PORT = 8884
_BROKER_PORT = 8883
_TICK_S = 0.2
_INDENT = 15  # behind the time of day
_LOUD = {"alert": "red", "not-tls": "red", "malformed": "red", "refused": "red", "reset": "yellow"}


def _address(
    _ctx: click.Context, _option: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """``HOST``, ``HOST:PORT`` or ``[IPv6]:PORT``."""
    if value is None:
        return None
    host, port = value, str(_BROKER_PORT)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, port = host.split(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.BadParameter(f"{value!r} is no HOST:PORT, as broker.example.org:8883")
    return host, int(port)


@click.command()
@click.option(
    "--listen", "port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True,
    metavar="PORT", help="Where boards connect; 0 takes a free port.",
)  # fmt: skip
@click.option(
    "--to", "target", callback=_address, metavar="HOST:PORT",
    help="The broker.  [default: this bench's, if it runs]",
)  # fmt: skip
@click.option(
    "--bind", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 for real boards.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.jsonl",
    help="Add the events to a file, with the certificates seen.",
)  # fmt: skip
@click.option(
    "--pcap", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write what is plain for Wireshark; what is encrypted is zeros in it.",
)  # fmt: skip
@click.option("--for", "for_s", type=click.FloatRange(0, min_open=True), help="End after SECONDS.")
@click.option("--once", is_flag=True, help="End when the first connection has ended.")
@click.pass_obj
def tap(
    ui: Ui,
    port: int,
    target: tuple[str, int] | None,
    bind: str,
    save: Path | None,
    pcap: Path | None,
    for_s: float | None,
    once: bool,
) -> None:
    """See what board and broker say to each other in TLS, until Ctrl-C.

    Stands between the two and passes every byte unchanged. It needs no key: the handshake
    is plain up to where it turns encrypted, and in TLS 1.2 that shows certificates and
    alerts. With --json, one event a line. "keyfob broker up --tap" puts one before this
    bench's broker for good.
    """
    host, to_port = target or _bench_broker()
    _check_target(host, to_port, bind, port)
    with _files(ui, save, pcap) as (events, capture):
        unread = threading.Event()

        def show(event: TapEvent) -> None:
            if events is not None:
                events.write(event.as_dict())
            if not unread.is_set():
                try:
                    _show(ui, event)
                except (OSError, SystemExit):  # the reader went away: `keyfob tap | head`
                    unread.set()

        with Tap((host, to_port), bind, port, on_event=show, capture=capture) as running:
            shown = f"{bind}:{running.port}"
            ui.step(f"tap on {shown}, to {host}:{to_port}; Ctrl-C ends it")
            end = time.monotonic() + for_s if for_s is not None else None
            with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
                _wait(running, end, once, unread)
    if unread.is_set():
        raise BrokenPipeError


def _wait(running: Tap, end: float | None, once: bool, unread: threading.Event) -> None:
    while (end is None or time.monotonic() < end) and not unread.is_set():
        if running.wait(lambda ones: once and ones and not ones[0].alive, _TICK_S):
            return


def _show(ui: Ui, event: TapEvent) -> None:
    if ui.as_json:
        sys.stdout.write(json.dumps(event.as_dict(), separators=(",", ":")) + "\n")
        sys.stdout.flush()
        return
    style = _LOUD.get(event.what)
    if event.what == "summary":
        style = "bold green" if event.fields["is_well"] else "bold"
    line = str(event)
    if ui.out.is_terminal:
        indent = " " * _INDENT
        width = max(ui.out.width, 2 * _INDENT)
        line = "\n".join(textwrap.wrap(line, width, subsequent_indent=indent)) or line
    ui.out.print(line, markup=False, style=style)


@contextmanager
def _files(
    ui: Ui, save: Path | None, pcap: Path | None
) -> Iterator[tuple[EventFile | None, Capture | None]]:
    """What was asked for, closed at the end; says what went wrong with it meanwhile."""
    events = EventFile(save) if save else None
    capture = Capture(pcap) if pcap else None
    try:
        yield events, capture
    finally:
        for one in (events, capture):
            if one is not None:
                one.close()
                if one.trouble:
                    ui.err.print(f"not all was written: {one.trouble}", markup=False)


def _bench_broker() -> tuple[str, int]:
    running = MosquittoBroker.attach(find_home().broker_dir)
    if running is None:
        raise KeyfobHostError(
            "tap.no-target",
            "say which broker the tap shall pass to: this bench's is not running",
            fix=f"keyfob tap --to broker.example.org:{_BROKER_PORT}  # or: keyfob broker up",
            status=ExitStatus.USAGE,
        )
    return loopback_of(running.host), running.port


def _check_target(host: str, to_port: int, bind: str, port: int) -> None:
    """Refuse a name that does not resolve, and a tap that would pass to itself."""
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host, to_port, 0, socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise KeyfobHostError(
            "tap.unknown-host",
            "the broker's name does not resolve",
            evidence=f"{host}: {getattr(error, 'strerror', None) or error}",
            fix=f"getent hosts {host}; or give its address: keyfob tap --to 192.0.2.10:{to_port}",
            status=ExitStatus.NETWORK,
        ) from error
    if to_port == port and (bind in found or loopback_of(bind) in found):
        raise KeyfobHostError(
            "tap.loop",
            "the tap would pass to itself: broker and tap have one address and port",
            evidence=f"listens on {bind}:{port}, passes to {host}:{to_port}",
            fix=f"keyfob tap --listen 0 --to {host}:{to_port}",
            status=ExitStatus.USAGE,
        )
