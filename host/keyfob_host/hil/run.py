"""Run a suite with pytest, in this process: the work behind ``keyfob hil run``.

pytest's own output is what a person sees; a JUnit file is always written. What is
returned, or raised, says how it went, so that the command has an exit status that
tells a failed story from a bench that did not come up.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.hil.bench import BenchOptions
from keyfob_host.hil.plugin import BENCH_ERROR, BENCH_OPTIONS, DIAGNOSIS

_PREFIX, _SUFFIX = "test_", ".py"
# Without a suite's name. Smoke is a part of these again, for every commit.
DEFAULT_SUITES = ("keyfob",)


@dataclass(frozen=True)
class Story:
    """One story: its suite, its name as a sentence, and how it ended ("" before it ran).

    ``diagnosis``: the doctor's of board and broker where it failed, in its ``--json`` shape.
    """

    suite: str
    name: str
    outcome: str = ""
    seconds: float = 0.0
    diagnosis: dict[str, object] | None = None


@dataclass
class Outcome:
    """What a run came to; also the pytest plugin that hands over ``options`` and watches."""

    options: BenchOptions
    stories: list[Story] = field(default_factory=list)
    bench_error: Exception | None = None

    def count(self, outcome: str) -> int:
        """How many stories ended as ``passed``, ``failed`` or ``skipped``."""
        return sum(story.outcome == outcome for story in self.stories)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[BENCH_OPTIONS] = self.options

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A story's report is its call's; one that never got there, or that could not
        # be cleaned up after, has failed or was skipped.
        if report.when == "call" or report.outcome != "passed":
            told = getattr(report, DIAGNOSIS, None)
            self.stories.append(_story(report.nodeid, report.outcome, report.duration, told))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.bench_error = session.config.stash.get(BENCH_ERROR, None)


class _Collected:
    """The pytest plugin that only notes which stories there are."""

    def __init__(self) -> None:
        self.stories: list[Story] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.stories = [_story(item.nodeid) for item in session.items]


def list_stories(paths: Sequence[Path], expression: str | None = None) -> list[Story]:
    """The stories in ``paths`` that ``expression`` (as pytest's ``-k``) picks; runs none."""
    collected, said = _Collected(), io.StringIO()
    arguments = [*_arguments(paths, expression), "--collect-only", "--quiet"]
    with contextlib.redirect_stdout(said):
        status = pytest.main(arguments, plugins=[collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.stderr.write(said.getvalue())
    _judge(status, paths, expression)
    return collected.stories


def run_stories(
    paths: Sequence[Path],
    options: BenchOptions,
    junit: Path,
    *,
    expression: str | None = None,
    exit_first: bool = False,
    to_stderr: bool = False,
) -> tuple[Outcome, float]:
    """Run the stories in ``paths``; the outcome and how many seconds it took.

    ``junit`` is the report's file. Errors: ``hil.no-stories``, ``hil.bad-suite``,
    ``file.*`` for the report, those of the bench; `KeyboardInterrupt` after everything
    was taken down.
    """
    with explain_os_error(junit, "write the report"):
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.touch()
    arguments = [*_arguments(paths, expression), "--verbose", "--no-header"]
    arguments += [f"--junitxml={junit}", "-o", "junit_suite_name=keyfob-hil"]
    arguments += ["-x"] if exit_first else []
    outcome = Outcome(options)
    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr) if to_stderr else contextlib.nullcontext():
        status = pytest.main(arguments, plugins=[outcome])
    if outcome.bench_error is not None:
        raise outcome.bench_error
    _judge(status, paths, expression)
    return outcome, time.monotonic() - began


def find_suites(names: Sequence[str]) -> list[Path]:
    """Files and folders for what a person wrote; none: `DEFAULT_SUITES`.

    A suite (``smoke``), one of its files (``tls``, ``keyfob/tls``) or a path.
    Errors: ``hil.unknown-suite``.
    """
    folder = data_path("hil")
    return [_find_suite(folder, name) for name in names or DEFAULT_SUITES]


def _find_suite(folder: Path, name: str) -> Path:
    parts = {
        f"{path.parent.name}/{path.name[len(_PREFIX) : -len(_SUFFIX)]}": path
        for path in sorted(folder.glob(f"*/{_PREFIX}*{_SUFFIX}"))
    }
    suites = {path.parent.name: path.parent for path in parts.values()}
    for known in (suites, parts, {part.partition("/")[2]: path for part, path in parts.items()}):
        if name in known:
            return known[name]
    file, separator, story = name.partition("::")
    if Path(file).exists():
        return Path(f"{Path(file).resolve()}{separator}{story}")
    short = {part.partition("/")[2] for part in parts}
    near = difflib.get_close_matches(name, sorted({*suites, *parts, *short}), 1)
    raise KeyfobHostError(
        "hil.unknown-suite",
        f"there is no suite and no file {name!r}",
        evidence=f"suites: {', '.join(sorted(suites))}; parts of them: {', '.join(sorted(short))}",
        fix=f"keyfob hil run {near[0]}" if near else "keyfob hil run --list",
        status=ExitStatus.USAGE,
    )


def _arguments(paths: Sequence[Path], expression: str | None) -> list[str]:
    # keyfob itself is imported already, which pytest warns about in vain: it has no
    # assertions to be rewritten.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    picked = ["-k", expression] if expression else []
    # Hypothesis, which the suites don't use, takes longer to begin than all the rest.
    without = ["-p", "no:xdist", "-p", "no:hypothesispytest"]
    own = ["-c", str(data_path("hil") / "pytest.ini"), *without]
    return [*(str(path) for path in paths), *own, *quiet, *picked]


def _judge(status: int, paths: Sequence[Path], expression: str | None) -> None:
    """Raise what pytest's exit status means, unless stories simply passed or failed."""
    if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        where = ", ".join(path.name for path in paths)
        raise KeyfobHostError(
            "hil.no-stories",
            "no story was picked, so nothing was tested",
            evidence=f"in {where}" + (f", with -k {expression!r}" if expression else ""),
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


def _story(
    nodeid: str,
    outcome: str = "",
    seconds: float = 0.0,
    diagnosis: dict[str, object] | None = None,
) -> Story:
    file, _, name = nodeid.partition("::")
    suite = Path(file).name[len(_PREFIX) : -len(_SUFFIX)]
    return Story(suite, name.removeprefix(_PREFIX).replace("_", " "), outcome, seconds, diagnosis)


def summary(outcome: Outcome, seconds: float, junit: Path) -> tuple[str, dict[str, Any]]:
    """The result for a person and as data."""
    counts = {name: outcome.count(name) for name in ("passed", "failed", "skipped")}
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    stories = [vars(story) for story in outcome.stories]
    data = {**counts, "seconds": round(seconds, 1), "junit": str(junit), "stories": stories}
    return f"{text} in {seconds:.0f} s; report: {junit}", data
