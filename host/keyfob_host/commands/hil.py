"""``keyfob hil``: hardware-in-the-loop suites, on a virtual board or a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click

from keyfob_host.boards import DEFAULT_KIND
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


@click.group()
def hil() -> None:
    """Prove a board on the bench: it alone, with its broker, its time and its link failing."""


@hil.command()
@click.argument("suites", nargs=-1, metavar="[SUITE|PATH]...")
@click.option("--board", "kind", default=DEFAULT_KIND, show_default=True, help="Board kind.")
@click.option("--port", help="Serial port of a real board.")
@click.option("--name", help="A virtual board of this bench, in place of the suites' own.")
@click.option("--bench-address", metavar="ADDRESS", help="This machine's, as a real board sees it.")
@click.option("--wifi-ssid", metavar="SSID", help="Its password: KEYFOB_WIFI_PASSWORD.")
@click.option("--junit", type=click.Path(path_type=Path), help="Where the JUnit file goes.")
@click.option("-k", "expression", metavar="EXPR", help="Only stories that match, as in pytest.")
@click.option("-x", "--exitfirst", "exit_first", is_flag=True, help="Stop at the first failure.")
@click.option("--list", "only_list", is_flag=True, help="Show the stories, run none.")
@click.pass_obj
def run(
    ui: Ui,
    suites: tuple[str, ...],
    kind: str,
    port: str | None,
    name: str | None,
    bench_address: str | None,
    wifi_ssid: str | None,
    junit: Path | None,
    expression: str | None,
    exit_first: bool,
    only_list: bool,
) -> int:
    """Run suites (all, or those named: boot, tls, recovery …) on a board.

    Everything else is brought along: broker, certificate authority, time servers and
    a link that fails on command. A virtual board is started if it is not up, and
    ended with the run. Another board is provisioned for the suite: give it its own
    identity again afterwards.
    """
    with _packages():
        from keyfob_host.hil.bench import BenchOptions
        from keyfob_host.hil.run import find_suites, list_stories, run_stories, summary
    paths = find_suites(suites)
    if only_list:
        stories = list_stories(paths, expression)
        lines = [f"{story.suite:<10}{story.name}" for story in stories]
        listed = [{"suite": story.suite, "name": story.name} for story in stories]
        ui.result("\n".join(lines), {"stories": listed})
        return 0
    # Resolved here, so that what is missing is told before pytest starts.
    home = find_home()
    bench = BenchOptions.resolve(
        kind=kind, port=port, name=name, home=home, address=bench_address,
        wifi_ssid=wifi_ssid, wifi_password=os.environ.get("KEYFOB_WIFI_PASSWORD"),
    )  # fmt: skip
    home.ensure()
    report = (junit or home.root / "reports" / f"hil-{name or kind}.xml").resolve()
    outcome, seconds = run_stories(
        paths, bench, report,
        expression=expression, exit_first=exit_first, to_stderr=ui.as_json,
    )  # fmt: skip
    text, data = summary(outcome, seconds, report)
    if not bench.is_own:
        text += "\nthe board has the suite's identity now; give it its own again: keyfob provision"
    ui.result(text, data)
    return ExitStatus.TESTS if outcome.count("failed") else 0


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
