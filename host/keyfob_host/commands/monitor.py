"""``keyfob monitor``: the board's console, its events made readable."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import click

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.commands.board_options import board_options
from keyfob_host.console import Console, Event, matches, parse_event
from keyfob_host.data import data_path
from keyfob_host.device_errors import DeviceError, load_device_errors
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.printable import printable
from keyfob_host.tracebacks import with_own_name
from keyfob_host.transport import open_transport
from keyfob_host.ui import Ui


@click.command()
@board_options
@click.option("--reset", is_flag=True, help="Restart the board first.")
@click.option("--events-only", is_flag=True, help="Leave out what is no event.")
@click.option("--for", "for_s", type=click.FloatRange(0, min_open=True), help="End after SECONDS.")
@click.option("--until", help="End with this event, e.g. mqtt.up or error.*")
@click.pass_obj
def monitor(
    ui: Ui,
    kind: str,
    port: str | None,
    name: str | None,
    reset: bool,
    events_only: bool,
    for_s: float | None,
    until: str | None,
) -> None:
    """Show the board's console and events until Ctrl-C.

    With --json, events only, one JSON object a line. With --until and --for, exit status
    5 says that the event did not come in time; the doctor says why, if it can see that.
    """
    home = find_home()
    ref = open_board(kind, port, name=name, home=home, on_step=ui.step)
    ref.check_free()
    errors = load_device_errors()
    if reset and ref.virtual is None:
        # Through its prompt: not every adapter has the lines to EN.
        with open_transport(ref, "mpremote") as board:
            board.reset()
    last_at: datetime | None = None
    with Console(ref.stream_url, baud=ref.kind.serial.baud) as console:
        ui.step(f"console of {ref.name} on {console.port}; Ctrl-C ends it")
        if reset and ref.virtual is not None:
            ref.virtual.reset()
        try:
            for line in console.follow(for_s):
                event = parse_event(line)
                last_at = datetime.now(timezone.utc) if event else last_at
                _show(ui, line, event, errors, events_only)
                if until and event and matches(event, until):
                    return
        except KeyboardInterrupt:
            if not until:  # the usual way to end it
                return
            raise
    if until:
        from keyfob_host.doctor.after_failure import diagnosed, sightings

        lines = console.lines()
        raise diagnosed(
            _no_event(ref, until, for_s, console.events),
            lambda: sightings(ref, home, lines=lines, last_at=last_at),
            on_step=ui.step,
        )


def _no_event(
    ref: BoardRef, until: str, for_s: float | None, events: list[Event]
) -> KeyfobHostError:
    within = f" within {for_s:g} s" if for_s is not None else ""
    counted = Counter(str(event["ev"]) for event in events)
    seen = [f"{name} ({count} times)" if count > 1 else name for name, count in counted.items()]
    return KeyfobHostError(
        "monitor.no-event",
        f"the event {until} did not come{within}",
        evidence=f"events seen: {', '.join(seen) or 'none'}",
        fix=f"wait longer with --for, or watch everything: keyfob monitor{ref.options}",
        status=ExitStatus.BOARD,
    )


def _show(
    ui: Ui, line: str, event: Event | None, errors: dict[str, DeviceError], events_only: bool
) -> None:
    if ui.as_json:
        if event is not None:
            sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        return
    if event is None:
        if not events_only:
            text = with_own_name(printable(line, keep="\t"), data_path("firmware"))
            ui.out.print(text, markup=False)
        return
    ui.out.print(printable(render(event), keep="\t"), markup=False, style=_style(event))
    known = errors.get(str(event.get("code"))) if event["ev"] == "error" else None
    if known is not None:
        ui.out.print(f"{'':11}cause  {known.cause}\n{'':11}fix    {known.fix}", markup=False)


def render(event: Event) -> str:
    """``12.345 s  mqtt.up        host=broker…``: seconds since boot, event, its fields."""
    t = event.get("t")
    when = f"{t / 1000:8.3f} s" if isinstance(t, (int, float)) else f"{'?':>8} s"
    fields = [f"{key}={_text(value)}" for key, value in event.items() if key not in ("t", "ev")]
    return f"{when}  {event['ev']:<13}  {'  '.join(fields)}".rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _style(event: Event) -> str | None:
    if event["ev"] == "error":
        return "bold red"
    return "green" if str(event["ev"]).endswith(".up") else None
