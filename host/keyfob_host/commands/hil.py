"""``keyfob hil``: hardware-in-the-loop suites, on a virtual board or a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import rich_click as click

from keyfob_host.boards import DEFAULT_KIND
from keyfob_host.commands.hil_compare import compare
from keyfob_host.commands.hil_device import DEFAULT_SUITES, chosen_device, device_options
from keyfob_host.commands.hil_reports import reports
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.ui import Ui

_FILE = click.Path(path_type=Path, resolve_path=True)
_BOARD = "Board kind, or name in bench.toml."
_RERUNS = "Try a case that failed so often again; each attempt is counted and shown."


@click.group()
def hil() -> None:
    """Prove a board on the bench: it alone, with its broker, its time and its link failing."""


hil.add_command(compare)
hil.add_command(reports)


@hil.command()
@click.argument("suites", nargs=-1, metavar="[SUITE|PART|PATH]...")
@click.option("--board", "kind", default=DEFAULT_KIND, show_default=True, help=_BOARD)
@click.option("--port", help="Real board: its device, rfc2217://… or labgrid://…")
@click.option("--name", help="A virtual board of this bench, in place of the suites' own.")
@click.option("--boards", metavar="N|NAMES", help="So many virtual ones, or names of bench.toml.")
@click.option("--bench", "bench_file", type=_FILE, help="bench.toml, in place of the bench's.")
@click.option("--bench-address", metavar="ADDRESS", help="This machine's, as a real board sees it.")
@click.option("--wifi-ssid", metavar="SSID", help="Its password: KEYFOB_WIFI_PASSWORD.")
@device_options
@click.option("--report", type=_FILE, metavar="FOLDER", help="Where the report goes.")
@click.option("--junit", type=_FILE, metavar="FILE", help="Where its JUnit file goes as well.")
@click.option("-k", "expression", metavar="EXPR", help="Only cases that match, as in pytest.")
@click.option("--rung", "rungs", metavar="RUNG,…", help="Only cases about these of the ladder.")
@click.option("--long", "is_long", is_flag=True, help="Cases that take long, too.")
@click.option("--reruns", metavar="N", type=click.IntRange(0, 10), default=0, help=_RERUNS)
@click.option("-x", "--exitfirst", "exit_first", is_flag=True, help="Stop at the first failure.")
@click.option("--list", "only_list", is_flag=True, help="Show the cases, run none.")
@click.pass_obj
def run(
    ui: Ui,
    /,
    suites: tuple[str, ...],
    report: Path | None,
    junit: Path | None,
    expression: str | None,
    rungs: str | None,
    is_long: bool,
    reruns: int,
    exit_first: bool,
    only_list: bool,
    **board: Any,
) -> int:
    """Run suites (advisor and keyfob, or those named: smoke, keyfob/tls, boot …) on boards.

    Everything else is brought along: broker, certificate authority, time servers and
    a link that fails on command. A virtual board is started if it is not up, and
    ended with the run. Another board's own identity and settings are put aside on it
    and come back with the run's end. Several boards run side by side, each every case.
    With --device external it is any device that connects to the broker, whose
    certificate is of this bench's CA: how to connect it is told before the first case.
    """
    with _packages():
        from keyfob_host.commands.hil_report import finish, prepare
        from keyfob_host.hil.lineup import Asked, line_up
        from keyfob_host.hil.report.data import run_id
        from keyfob_host.hil.run import Choice, find_suites, list_cases, run_suites
    paths = find_suites(suites or (DEFAULT_SUITES if board["device"] else ()))
    choice = Choice(expression, rungs, is_long, reruns, exit_first)
    if only_list:
        cases = list_cases(paths, choice)
        width = max([20, *(len(f"{one.suite}/{one.part}") + 2 for one in cases)])
        lines = [f"{one.suite + '/' + one.part:<{width}}{one.name}" for one in cases]
        ui.result("\n".join(lines), {"cases": [vars(one) for one in cases]})
        return 0
    # Resolved here, so that what is missing is told before pytest starts.
    home = find_home()
    asked = Asked(
        kind=board["kind"], port=board["port"], name=board["name"], boards=board["boards"],
        bench_file=board["bench_file"], home=home, address=board["bench_address"],
        wifi_ssid=board["wifi_ssid"],
    )  # fmt: skip
    device = chosen_device(home, board)
    boards = (device,) if device else line_up(asked)
    started = datetime.now(timezone.utc)
    folder = prepare(home, report, junit, run_id(started))
    found = run_suites(paths, asked, boards, choice, started, to_stderr=ui.as_json)
    return finish(ui, home, found, folder, junit)


@contextmanager
def _packages() -> Iterator[None]:
    """Say how to get pytest and paho-mqtt where they are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise KeyfobHostError(
            "hil.package-missing",
            "the suites need packages that are not installed",
            evidence=str(error),
            fix="pip install 'keyfob[dev]'",
            status=ExitStatus.HOST,
        ) from error
