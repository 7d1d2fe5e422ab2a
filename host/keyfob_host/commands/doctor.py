"""``keyfob doctor``: what a number or a line of a log means, and what mends it."""

from __future__ import annotations

import sys

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
@click.argument("rest", nargs=-1, metavar="")
@click.pass_context
def doctor(ctx: click.Context, first: str | None, rest: tuple[str, ...]) -> int:
    """Say in words what a number or a line of a log means, what causes it and what mends it.

    It knows errors of MicroPython, mbedTLS, axTLS, BearSSL and OpenSSL, TLS alerts,
    mosquitto's log, MQTT's codes, esptool, mpremote, Wi-Fi, resets, and Keyfob's own codes.
    It reads only what it is given: no board, no broker. Exit status 10: nothing known in it.

    \b
    keyfob doctor --explain -30592
    keyfob doctor --explain "OSError: [Errno 104] ECONNRESET"
    keyfob broker log | keyfob doctor --explain -
    """
    ui: Ui = ctx.obj
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
