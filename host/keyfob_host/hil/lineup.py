"""The boards of a run, and which of them a worker has.

One board: named by kind, port and name. Several: so many virtual ones of the suites' own,
or those that ``bench.toml`` knows by name. With pytest-xdist each worker has one board.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keyfob_host.bench.file import bench_path, load_bench
from keyfob_host.boards import kind_names, load_kind, unknown_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.bench_options import BenchOptions, Network
from keyfob_host.hil.external import ExternalOptions
from keyfob_host.home import Home, find_home

MOST_BOARDS = 100
HEIR_OF = "keyfob_board"  # told to a worker that takes the place of one that died
Options = BenchOptions | ExternalOptions
_OWN = pytest.StashKey[Options]()
_NUMBERED = re.compile(r"gw(\d+)")  # as pytest-xdist names workers


@dataclass(frozen=True)
class Asked:
    """What a person asked for, None where nothing was said: options of command or plugin.

    ``boards``: a number of virtual boards of that kind, or names of ``bench.toml``.
    """

    kind: str
    port: str | None = None
    name: str | None = None
    boards: str | None = None
    bench_file: Path | None = None
    home: Home | None = None
    address: str | None = None
    wifi_ssid: str | None = None


def line_up(asked: Asked) -> tuple[BenchOptions, ...]:
    """The boards of the run, each with a name of its own.

    Errors: those of `BenchOptions.resolve`, of `keyfob_host.bench.file`, and
    ``hil.boards-and-board``, ``hil.too-many-boards``.
    """
    if asked.boards is None and _is_in_bench(asked):
        asked = replace(asked, boards=asked.kind)  # --board kitchen: one of bench.toml
    if asked.boards is None:
        return (_resolve(asked, port=asked.port, name=asked.name),)
    if asked.port or asked.name:
        raise KeyfobHostError(
            "hil.boards-and-board",
            "several boards cannot be one that is named",
            evidence=f"--boards {asked.boards}, and {asked.port or asked.name}",
            fix=f"keyfob hil run --boards {asked.boards}",
            status=ExitStatus.USAGE,
        )
    if asked.boards.isdecimal():
        return _numbered(asked, int(asked.boards))
    home = asked.home or find_home()
    bench = load_bench(asked.bench_file or bench_path(home))
    names = [name.strip() for name in asked.boards.split(",") if name.strip()]
    network = Network(asked.address, asked.wifi_ssid, _wifi_password())
    return tuple(BenchOptions.of_entry(one, bench, home, network) for one in bench.pick(names))


def _is_in_bench(asked: Asked) -> bool:
    """Whether ``kind`` is the name of a board; with a port or a name beside it, it is a kind."""
    kinds = kind_names()
    is_virtual = asked.kind in kinds and load_kind(asked.kind).virtual
    if asked.port or asked.name or is_virtual or asked.kind.endswith(".toml"):
        return False
    path = asked.bench_file or bench_path(asked.home or find_home())
    names = [one.name for one in load_bench(path).boards] if path.exists() else []
    if asked.kind not in (*names, *kinds):
        raise unknown_kind(asked.kind, names)
    return asked.kind in names


def handed_over(boards: Sequence[Options]) -> list[object]:
    """pytest plugins that hand over what no option of pytest's describes: such devices."""
    return [_Given(one) for one in boards if isinstance(one, ExternalOptions)]


class _Given:
    def __init__(self, device: ExternalOptions) -> None:
        self._device = device

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[_OWN] = self._device


def own_board(config: pytest.Config) -> Options:
    """The board of this process: the run's only one, or this worker's."""
    known = config.stash.get(_OWN, None)
    if known is None:
        known = config.stash[_OWN] = _of_worker(config, line_up(_asked(config)))
    return known


def _asked(config: pytest.Config) -> Asked:
    option = config.getoption
    home, file = option("--keyfob-home"), option("--keyfob-bench")
    boards = option("--keyfob-boards")
    one = option("--keyfob-port") or option("--keyfob-name")
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if boards is None and not one and workers > 1:
        boards = str(workers)  # pytest -n 3, and nothing said of boards
    return Asked(
        kind=option("--keyfob-board"),
        port=option("--keyfob-port"),
        name=option("--keyfob-name"),
        boards=boards,
        bench_file=Path(file).resolve() if file else None,
        home=Home(Path(home).resolve()) if home else None,
        address=option("--keyfob-address"),
        wifi_ssid=option("--keyfob-wifi-ssid"),
    )


def _of_worker(config: pytest.Config, boards: Sequence[BenchOptions]) -> BenchOptions:
    told = getattr(config, "workerinput", {})
    worker = told.get(HEIR_OF) or told.get("workerid")
    if worker is None:
        if len(boards) > 1:
            raise KeyfobHostError(
                "hil.one-process",
                "several boards need as many workers, and pytest runs in one process",
                evidence=f"{len(boards)} boards: {', '.join(one.name for one in boards)}",
                fix=f"pytest -n {len(boards)} --dist each …, or: keyfob hil run --boards …",
                status=ExitStatus.USAGE,
            )
        return boards[0]
    by_name = {one.name: one for one in boards}
    numbered = _NUMBERED.fullmatch(worker)
    if worker in by_name:
        return by_name[worker]
    if numbered and int(numbered[1]) < len(boards):
        return boards[int(numbered[1])]
    raise KeyfobHostError(
        "hil.no-board-left",
        f"there are more workers than boards: none is left for {worker}",
        evidence=f"boards: {', '.join(by_name)}",
        fix=f"pytest -n {len(boards)} …",
        status=ExitStatus.USAGE,
    )


def _numbered(asked: Asked, count: int) -> tuple[BenchOptions, ...]:
    if not 1 <= count <= MOST_BOARDS:
        raise KeyfobHostError(
            "hil.too-many-boards" if count else "hil.no-boards",
            f"a run has 1 to {MOST_BOARDS} boards",
            evidence=f"--boards {count}",
            fix="keyfob hil run --boards 8",
            status=ExitStatus.USAGE,
        )
    if not load_kind(asked.kind).virtual:
        raise KeyfobHostError(
            "hil.boards-not-named",
            f"which {count} boards of kind {asked.kind} are meant, only bench.toml can say",
            evidence=f"--board {asked.kind} --boards {count}",
            fix="keyfob bench scan; keyfob hil run --boards all",
            status=ExitStatus.USAGE,
        )
    return tuple(
        _resolve(asked, name=f"{asked.kind}-{number}", is_own=True)
        for number in range(1, count + 1)
    )


def _resolve(
    asked: Asked, *, port: str | None = None, name: str | None = None, is_own: bool = False
) -> BenchOptions:
    return BenchOptions.resolve(
        kind=asked.kind, port=port, name=name, is_own=is_own, home=asked.home,
        address=asked.address, wifi_ssid=asked.wifi_ssid, wifi_password=_wifi_password(),
    )  # fmt: skip


def _wifi_password() -> str | None:
    return os.environ.get("KEYFOB_WIFI_PASSWORD")
