"""Run suites with pytest, in this process: the work behind ``keyfob hil run``.

What is returned, or raised, says how it went, so that the command has an exit status that
tells a failed case from a bench that did not come up. Several boards have a worker process
each (pytest-xdist), all of which run every case.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.lineup import Asked, Options, handed_over
from keyfob_host.hil.progress import Progress
from keyfob_host.hil.report.data import Case, Report, Run, Status, run_id
from keyfob_host.hil.report.versions import versions
from keyfob_host.hil.results import PREFIX, SUFFIX, Results, case_of, why_broken

# Without a suite's name. Smoke is a part of these again, for every commit.
DEFAULT_SUITES = ("advisor", "keyfob")


@dataclass(frozen=True)
class Choice:
    """Which cases are run and how; the fields are the command's options.

    ``rungs``: names with commas between them. ``reruns``: how often a case that failed is
    tried again, each attempt being counted and shown.
    """

    expression: str | None = None
    rungs: str | None = None
    is_long: bool = False
    reruns: int = 0
    exit_first: bool = False


class _Collected:
    """The pytest plugin that only notes which cases there are."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.broken: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken[report.nodeid] = why_broken(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.cases = [case_of(item.nodeid) for item in session.items]


def list_cases(paths: Sequence[Path], choice: Choice = Choice()) -> list[Case]:
    """The cases in ``paths`` that ``choice`` picks; runs none."""
    collected, said = _Collected(), io.StringIO()
    arguments = [*_arguments(paths, choice), "-p", "no:xdist", "--collect-only", "--quiet"]
    with contextlib.redirect_stdout(said):
        status = pytest.main(arguments, plugins=[collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.stderr.write(said.getvalue())
    _refuse_broken(collected.broken, paths)
    _judge(status, paths, choice)
    return collected.cases


def run_suites(
    paths: Sequence[Path],
    asked: Asked,
    boards: Sequence[Options],
    choice: Choice,
    started: datetime,
    *,
    to_stderr: bool = False,
) -> Report:
    """Run the cases in ``paths`` on ``boards``, which are those of ``asked``.

    ``started``: when the run began, which is its name.

    Interrupted, it returns what there is, with the status ``interrupted``, after everything
    was taken down. Errors: ``hil.no-cases``, ``hil.bad-suite``, those of the only board's
    bench.
    """
    began = time.monotonic()
    if asked.boards is not None:
        # A worker leaves out a file that cannot be loaded, and runs the rest.
        list_cases(paths, choice)
    arguments = [*_arguments(paths, choice), *_board_arguments(asked, boards)]
    with contextlib.redirect_stdout(sys.stderr) if to_stderr else contextlib.nullcontext():
        progress = Progress([one.name for one in boards])
        results = Results(progress, boards)
        plugins = [_Named("keyfob-results", results), progress, *handed_over(boards)]
        status = pytest.main(arguments, plugins=plugins)
        is_over = status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if is_over and not (choice.exit_first and results.has_failed):
            results.add_missing()
        cells = results.results.values()
        progress.show_failures([(results.cases[one.case], one) for one in cells])
    if results.bench_error is not None:
        raise results.bench_error
    _refuse_broken(results.broken, paths)
    if status != pytest.ExitCode.INTERRUPTED:
        _judge(status, paths, choice)
    order = {one.name: number for number, one in enumerate(boards)}
    suites = dict.fromkeys(case.suite for case in results.cases.values())
    run = Run(
        id=run_id(started),
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=time.monotonic() - began,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        suites=tuple(suites),
        status=_status(results),
    )
    return Report(
        run=run,
        versions=versions(),
        boards=tuple(sorted(results.boards.values(), key=lambda one: order.get(one.name, 0))),
        cases=tuple(results.cases.values()),
        results=tuple(results.results.values()),
    )


def find_suites(names: Sequence[str]) -> list[Path]:
    """Files and folders for what a person wrote; none: `DEFAULT_SUITES`.

    A suite (``smoke``), one of its files (``tls``, ``keyfob/tls``) or a path.
    Errors: ``hil.unknown-suite``.
    """
    folder = data_path("hil")
    return [_find_suite(folder, name) for name in names or DEFAULT_SUITES]


def _find_suite(folder: Path, name: str) -> Path:
    parts = {
        f"{path.parent.name}/{path.name[len(PREFIX) : -len(SUFFIX)]}": path
        for path in sorted(folder.glob(f"*/{PREFIX}*{SUFFIX}"))
    }
    suites = {path.parent.name: path.parent for path in parts.values()}
    for known in (suites, parts, {part.partition("/")[2]: path for part, path in parts.items()}):
        if name in known:
            return known[name]
    file, separator, story = name.partition("::")
    if Path(file).is_dir() or (Path(file).exists() and file.endswith(SUFFIX)):
        return Path(f"{Path(file).resolve()}{separator}{story}")
    short = {part.partition("/")[2] for part in parts}
    near = difflib.get_close_matches(name, sorted({*suites, *parts, *short}), 1)
    raise KeyfobHostError(
        "hil.unknown-suite",
        f"there is no suite and no file of tests {name!r}",
        evidence=f"suites: {', '.join(sorted(suites))}; parts of them: {', '.join(sorted(short))}",
        fix=f"keyfob hil run {near[0]}" if near else "keyfob hil run --list",
        status=ExitStatus.USAGE,
    )


def _arguments(paths: Sequence[Path], choice: Choice) -> list[str]:
    # keyfob itself is imported already, which pytest warns about in vain: it has no
    # assertions to be rewritten.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    # What the suites don't use of Hypothesis and labgrid takes longer to begin than the rest.
    own = ["-c", str(data_path("hil") / "pytest.ini")]
    own += ["-p", "no:hypothesispytest", "-p", "no:labgrid"]
    own += [f"--rootdir={_root(paths)}"]
    picked = ["-k", choice.expression] if choice.expression else []
    picked += [f"--keyfob-rungs={choice.rungs}"] if choice.rungs else []
    picked += ["--keyfob-long"] if choice.is_long else []
    picked += [f"--reruns={choice.reruns}"] if choice.reruns else ["-p", "no:rerunfailures"]
    picked += ["-x"] if choice.exit_first else []
    return [*(str(path) for path in paths), *own, *quiet, *picked]


def _root(paths: Sequence[Path]) -> Path:
    """Below which a file's folder is its suite."""
    files = [Path(str(path).partition("::")[0]) for path in paths]
    folder = data_path("hil")
    if all(file.is_relative_to(folder) for file in files):
        return folder
    parents = [file.parent.parent if file.is_file() else file.parent for file in files]
    return Path(os.path.commonpath(parents))


def _board_arguments(asked: Asked, boards: Sequence[Options]) -> list[str]:
    """What the plugin, here or in the workers, needs to find the same boards."""
    given = {
        "board": asked.kind, "port": asked.port, "name": asked.name, "boards": asked.boards,
        "bench": asked.bench_file, "home": asked.home.root if asked.home else None,
        "address": asked.address, "wifi-ssid": asked.wifi_ssid,
    }  # fmt: skip
    told = [f"--keyfob-{name}={value}" for name, value in given.items() if value is not None]
    if asked.boards is None:
        return [*told, "-p", "no:xdist"]
    # One worker a board, called as the board is; each runs every case.
    workers = [part for one in boards for part in ("--tx", f"popen//id={one.name}")]
    return [*told, *workers, "--dist", "each"]


class _Named:
    """A pytest plugin under a name by which the other one can tell that it is there."""

    def __init__(self, name: str, plugin: object) -> None:
        self._name, self._plugin = name, plugin

    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._plugin, self._name)


def _status(results: Results) -> Status:
    if results.is_interrupted:
        return "interrupted"
    if results.count("error"):
        return "error"
    return "failed" if results.count("fail") else "passed"


def _refuse_broken(broken: Mapping[str, str], paths: Sequence[Path]) -> None:
    """Raise that files of the suites cannot be loaded, so that their cases are not known."""
    if broken:
        raise KeyfobHostError(
            "hil.bad-suite",
            "not all of the suites can be loaded, so nothing was run",
            evidence="\n".join(f"{name}: {why}" for name, why in broken.items()),
            fix=shlex.join(["keyfob", "hil", "run", "--list", *(str(path) for path in paths)]),
            status=ExitStatus.USAGE,
        )


def _judge(status: int, paths: Sequence[Path], choice: Choice) -> None:
    """Raise what pytest's exit status means, unless cases simply passed or failed."""
    if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        where = ", ".join(path.name for path in paths)
        picked = [f"with -k {choice.expression!r}"] if choice.expression else []
        picked += [f"about {choice.rungs}"] if choice.rungs else []
        raise KeyfobHostError(
            "hil.no-cases",
            "no case was picked, so nothing was tested",
            evidence=", ".join([f"in {where}", *picked]),
            fix="keyfob hil run --list",
            status=ExitStatus.USAGE,
        )
    raise KeyfobHostError(
        "hil.bad-suite",
        "pytest could not run the suite",
        evidence=f"pytest's exit status {int(status)}; it said why above",
        fix="keyfob hil run --list",
        status=ExitStatus.USAGE,
    )
