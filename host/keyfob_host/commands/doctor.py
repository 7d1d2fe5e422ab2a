"""``keyfob doctor``: a board and its broker, or what a number or a line of a log means."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from keyfob_host.doctor.explain import MAX_CHARS, explain
from keyfob_host.doctor.report import as_text
from keyfob_host.errors import ExitStatus
from keyfob_host.ui import Ui

# What follows --explain is text, also where it begins with a dash: -30592.
_TEXT = {"ignore_unknown_options": True}


@click.command(context_settings=_TEXT)
@click.option(
    "--explain", "first", metavar="TEXT",
    help="A number, an error or log lines; - reads them from standard input.",
)  # fmt: skip
@click.option("--board", "kind", metavar="KIND", help="Find what this board fails at.")
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
@click.option("--port", help="Serial port of a real board.")
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
@click.argument("rest", nargs=-1, metavar="")
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
    files: tuple[str, ...],
    host: str | None,
    at: str | None,
    board_ahead: float,
    rest: tuple[str, ...],
) -> int:
    """Find what keeps a board from its broker, or say what a number or a log line means.

    With --board: listens to the board for a few seconds, holds what it says against the
    broker's log, the tap (keyfob broker up --tap), certificates, lists and clocks, and
    names the first rung that is broken, from its settings to its messages. Changes nothing
    on board and broker without --reset or --read-files. Exit status 0: every rung was seen
    to hold; 10: nothing is broken, but not everything was seen.

    With --files: the same from files alone, sorted by what they hold; --board then is the kind
    of board that they are for. Exit status 0: nothing wrong in what is there.

    With --explain: it knows errors of MicroPython, mbedTLS, axTLS, BearSSL and OpenSSL, TLS alerts,
    mosquitto's log, MQTT's codes, esptool, mpremote, Wi-Fi, resets, and Keyfob's own codes.
    It reads only what it is given: no board, no broker. Exit status 10: nothing known in it.

    \b
    keyfob doctor --board virtual-esp32
    keyfob doctor --files mosquitto.conf /var/log/mosquitto/mosquitto.log certs/ --host NAME
    keyfob doctor --explain -30592
    keyfob doctor --explain "OSError: [Errno 104] ECONNRESET"
    keyfob broker log | keyfob doctor --explain -
    """
    ui: Ui = ctx.obj
    if files:
        from keyfob_host.commands.doctor_files import diagnose_files

        unknown = [one for one in rest if one.startswith("-")]
        if first is not None or unknown:
            raise click.UsageError(f"--files takes no {unknown[0] if unknown else '--explain'}.")
        return diagnose_files(
            ui, (*files, *rest), kind=kind, host=host, at=at, board_ahead_s=board_ahead
        )
    if host is not None or at is not None or board_ahead:
        raise click.UsageError("--host, --at and --board-ahead go with --files.")
    if kind is not None and first is None and not rest:
        from keyfob_host.commands.doctor_board import diagnose

        return diagnose(
            ui, kind, port, name, reset=reset, read_files=read_files, broker_log=broker_log
        )
    if kind is not None:
        raise click.UsageError("Give --board, or --explain with a text, one at a time.")
    if first is None:
        if rest:
            raise click.UsageError(f'Give the text to --explain: --explain "{" ".join(rest)}"')
        click.echo(ctx.get_help())
        return ExitStatus.USAGE
    text = _read(ui) if first == "-" and not rest else " ".join((first, *rest))
    explanation = explain(text)
    ui.result(as_text(explanation), explanation.as_dict())
    return 0


def _read(ui: Ui) -> str:
    if sys.stdin.isatty():
        ui.step("paste the lines, then press Ctrl-D on a line of its own")
    # One more than is taken, so that too much is refused and not cut.
    return sys.stdin.buffer.read(4 * MAX_CHARS + 1).decode("utf-8", "replace")
