"""``keyfob doctor``: a board and its broker, or what a number or a line of a log means."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import rich_click as click

from keyfob_host.doctor.explain import MAX_CHARS, explain
from keyfob_host.doctor.report import as_text
from keyfob_host.ui import Ui

_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")
# What follows --explain is text, also where it begins with a dash: -30592.
_TEXT = {"ignore_unknown_options": True}


@click.command(context_settings=_TEXT)
@click.option(
    "--explain", "first", metavar="TEXT",
    help="A number, an error or log lines; - reads them from standard input.",
)  # fmt: skip
@click.option("--board", "kind", metavar="KIND", help="Kind of the board, if not BOARD says it.")
@click.option(
    "--files", multiple=True, metavar="PATH…",
    help="Certificates, mosquitto.conf and logs, or folders of them; no board.",
)  # fmt: skip
@click.option("--host", metavar="NAME|IP", help="With --files: what boards connect to.")
@click.option("--at", metavar="TIME", help="With --files: judge at this moment.")
@click.option(
    "--board-ahead", type=float, default=0.0, metavar="SECONDS",
    help="With --files: by how much the board's clock is ahead.",
)  # fmt: skip
@click.option("--port", help="Real board: its device, rfc2217://… or labgrid://…")
@click.option("--name", help="Name of a virtual board, if not its kind.")
@click.option("--reset", is_flag=True, help="Let the board boot while it is listened to.")
@click.option(
    "--read-files", is_flag=True,
    help="Read a real board's files too, which restarts its program.",
)  # fmt: skip
@click.option(
    "--broker-log", type=click.Path(path_type=Path), metavar="FILE",
    help="Log of a mosquitto that is not this bench's.",
)  # fmt: skip
@click.option("--timeline", is_flag=True, help="Show all that was seen in the order of time.")
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE",
    help="Write verdict and time line as one page, to be read or sent anywhere.",
)  # fmt: skip
@click.argument("rest", nargs=-1, metavar="[BOARD]")
@click.pass_context
def doctor(
    ctx: click.Context,
    first: str | None,
    kind: str | None,
    port: str | None,
    name: str | None,
    reset: bool,
    read_files: bool,
    broker_log: Path | None,
    timeline: bool,
    html: Path | None,
    files: tuple[str, ...],
    host: str | None,
    at: str | None,
    board_ahead: float,
    rest: tuple[str, ...],
) -> int:
    """Find what keeps a board from its broker, or say what a number or a log line means.

    BOARD is a virtual board that is up, or a kind; without it, the one board that is up. The
    doctor listens to it for a few seconds, holds what it says against the broker's log, the
    tap (keyfob broker up --tap), certificates, lists and clocks, and names the first rung
    that is broken, from its settings to its messages. Changes nothing on board and broker
    without --reset or --read-files.

    With --files: the same from files alone, sorted by what they hold; --board then is the kind
    of board that they are for.

    With --explain: it knows errors of MicroPython, mbedTLS, axTLS, BearSSL and OpenSSL, TLS alerts,
    mosquitto's log, MQTT's codes, esptool, mpremote, Wi-Fi, resets, and Keyfob's own codes.
    It reads only what it is given: no board, no broker.

    \b
    keyfob doctor virtual-esp32
    keyfob doctor esp32 --port /dev/ttyUSB0 --html doctor.html
    keyfob doctor --files mosquitto.conf mosquitto.log certs/ --host NAME
    keyfob doctor --explain -30592
    keyfob doctor --explain "OSError: [Errno 104] ECONNRESET"
    keyfob broker log | keyfob doctor --explain -

    \b
    Exit status
     0  every rung was seen to hold, or nothing is wrong in the files,
        or the text is known
     2  the command line; no board of that name
     3  broken: the board's settings. Or a file that was given
     4  this machine: the page cannot be written
     5  broken: serial line or firmware. Or the board is not up
     6  broken: certificate store, broker's or board's certificate
     7  broken: Wi-Fi, clock, name, TCP, TLS, MQTT, authorization, traffic
    10  nothing is seen to be broken, but not everything was seen;
        or nothing is known of the text
    """
    ui: Ui = ctx.obj
    if files:
        from keyfob_host.commands.doctor_files import diagnose_files

        if timeline or html is not None:
            raise click.UsageError("--timeline and --html go with a board.")
        unknown = [one for one in rest if one.startswith("-")]
        if first is not None or unknown:
            raise click.UsageError(f"--files takes no {unknown[0] if unknown else '--explain'}.")
        return diagnose_files(
            ui, (*files, *rest), kind=kind, host=host, at=at, board_ahead_s=board_ahead
        )
    if host is not None or at is not None or board_ahead:
        raise click.UsageError("--host, --at and --board-ahead go with --files.")
    if first is None:
        word = _board(ctx, kind, rest)
        from keyfob_host.commands.doctor_board import diagnose

        return diagnose(
            ui, (word, kind, port, name), reset=reset, read_files=read_files,
            broker_log=broker_log, timeline=timeline, html=html,
        )  # fmt: skip
    if kind is not None:
        raise click.UsageError("Give a board, or --explain with a text, one at a time.")
    if timeline or html is not None:
        raise click.UsageError("--timeline and --html go with a board.")
    text = _read(ui) if first == "-" and not rest else " ".join((first, *rest))
    explanation = explain(text)
    ui.result(as_text(explanation), explanation.as_dict())
    return 0


def _board(ctx: click.Context, kind: str | None, rest: tuple[str, ...]) -> str | None:
    """The board that is named in a word, None if none is; what else it could be is refused."""
    option = next((one for one in rest if one.startswith("-") and not _NUMBER.fullmatch(one)), None)
    if option is not None:
        known = [name for one in ctx.command.params for name in one.opts if name.startswith("--")]
        near = difflib.get_close_matches(option.partition("=")[0], known)
        raise click.NoSuchOption(option, possibilities=near, ctx=ctx)
    if len(rest) > 1 or any(_NUMBER.fullmatch(one) for one in rest):
        raise click.UsageError(
            f'One board at a time; to have a text explained: --explain "{" ".join(rest)}"'
        )
    if rest and kind is not None:
        raise click.UsageError(f"Give the board once: {rest[0]}, or --board {kind}.")
    return rest[0] if rest else None


def _read(ui: Ui) -> str:
    if sys.stdin.isatty():
        ui.step("paste the lines, then press Ctrl-D on a line of its own")
    # One more than is taken, so that too much is refused and not cut.
    return sys.stdin.buffer.read(4 * MAX_CHARS + 1).decode("utf-8", "replace")
