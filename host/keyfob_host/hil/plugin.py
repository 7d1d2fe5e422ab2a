"""The pytest plugin of the hardware-in-the-loop bench: options, markers and fixtures.

Loaded in every pytest run of an environment that has keyfob installed, so it imports
nothing of the bench until a test asks for one of its fixtures. `ca`, `broker`, `ntp`,
`ntp_second`, `board` and `host_client` are the bench; each story gets them in a known
state (the parts' own ``restore``), whatever the story before did. With pytest-xdist each
worker has a board of its own (`keyfob_host.hil.lineup`).
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from keyfob_host.hil.device_fixtures import device, scripted  # noqa: F401 (fixtures)

if TYPE_CHECKING:
    from keyfob_host.hil.bench import Bench
    from keyfob_host.hil.bench_board import BenchBoard
    from keyfob_host.hil.bench_broker import BenchBroker
    from keyfob_host.hil.bench_ca import BenchCa
    from keyfob_host.hil.case import Case
    from keyfob_host.hil.opening import AnyBench
    from keyfob_host.mqtt_host import HostClient
    from keyfob_host.ntp import NtpServer

_BENCH = pytest.StashKey["AnyBench"]()
_CASE = pytest.StashKey["tuple[int, Case]"]()
# For `keyfob_host.hil.run`, which tells the error itself.
BENCH_ERROR = pytest.StashKey[Exception]()
TOLD: Final = "keyfob"  # of a report: what `keyfob_host.hil.telling.told` gives
_MARKERS = (
    "rung(name): the rung of the doctor's ladder that the case is about",
    "chips(name, ...): boards of these chips alone can be put through it",
    "needs(capability, ...): skipped, with the reason, where that is not to be had",
    "long: takes minutes or hours; left out without --keyfob-long",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keyfob", "hardware-in-the-loop bench")
    option = group.addoption
    option("--keyfob-board", metavar="KIND", default="virtual-esp32", help="board kind")
    option("--keyfob-port", metavar="PORT", help="serial port of a real board")
    option("--keyfob-name", metavar="NAME", help="name of a virtual board")
    option(
        "--keyfob-boards",
        metavar="N|NAMES",
        help="several: so many virtual ones of that kind, or names of bench.toml (or: all)",
    )
    option("--keyfob-bench", metavar="FILE", help="bench.toml (default: the bench folder's)")
    option("--keyfob-home", metavar="FOLDER", help="the bench's folder (default: KEYFOB_HOME)")
    option(
        "--keyfob-address",
        metavar="ADDRESS",
        help="this machine's address as the board reaches it (virtual boards: 127.0.0.1)",
    )
    option(
        "--keyfob-wifi-ssid",
        metavar="SSID",
        help="the board's access point; its password comes from KEYFOB_WIFI_PASSWORD",
    )
    option("--keyfob-rungs", metavar="RUNG,…", help="only cases about these rungs of the ladder")
    option("--keyfob-long", action="store_true", help="cases that take long, too")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, and what is about other rungs than those asked for."""
    if any(_is_ours(item) for item in items):
        from keyfob_host.hil.choosing import choose

        rungs, is_long = config.getoption("--keyfob-rungs"), config.getoption("--keyfob-long")
        left_out = choose([item for item in items if _is_ours(item)], rungs, is_long)
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]


def _is_ours(item: pytest.Item) -> bool:
    return "keyfob_bench" in getattr(item, "fixturenames", ())


# -- the bench


@pytest.fixture(scope="session")
def keyfob_bench(request: pytest.FixtureRequest) -> Iterator[AnyBench]:
    """All parts of the bench, the board locked; what the other fixtures hand out."""
    from keyfob_host.errors import KeyfobHostError
    from keyfob_host.hil.opening import open_bench

    config = request.config
    if hasattr(config, "workerinput"):
        # As the command does it: what ends a whole group of processes takes the bench down too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        bench = open_bench(config)
        bench.start()
    except KeyfobHostError as error:
        config.stash[BENCH_ERROR] = error
        if hasattr(config, "workerinput"):
            raise  # the other workers' boards go on; this one's cases all say why not
        # Without a bench every story would fail for this one reason: say it once.
        from keyfob_host.hil.telling import in_words

        is_told = config.pluginmanager.hasplugin("keyfob-results")
        told = error.code if is_told else in_words(error)
        pytest.exit(f"the bench did not come up: {told}", returncode=int(error.status))
    config.stash[_BENCH] = bench
    try:
        yield bench
    finally:
        bench.stop()
        del config.stash[_BENCH]


@pytest.fixture(scope="session")
def ca(keyfob_bench: AnyBench) -> BenchCa:
    """The run's own CA (`.authority`), and a foreign one (`.foreign`)."""
    return keyfob_bench.ca


@pytest.fixture
def broker(keyfob_bench: AnyBench) -> BenchBroker:
    """Real mosquitto with mutual TLS behind a relay: certificate, restarts, link faults, log."""
    keyfob_bench.broker.restore()
    return keyfob_bench.broker


@pytest.fixture
def ntp(keyfob_bench: AnyBench) -> NtpServer:
    """The time server that the board asks first; set its `mode` or `offset_s` to have it lie."""
    return _board_bench(keyfob_bench).fresh_ntp(0)


@pytest.fixture
def ntp_second(keyfob_bench: AnyBench) -> NtpServer:
    """The time server that the board asks when the first was of no use."""
    return _board_bench(keyfob_bench).fresh_ntp(1)


@pytest.fixture
def board(
    keyfob_bench: AnyBench, broker: BenchBroker, ntp: NtpServer, ntp_second: NtpServer
) -> BenchBoard:
    """The board: provisioned, running, its console read; see `keyfob_host.hil.bench_board`."""
    board = _board_bench(keyfob_bench).board
    board.restore()
    return board


@pytest.fixture
def host_client(board: BenchBoard, broker: BenchBroker) -> Iterator[HostClient]:
    """The host's side of MQTT: may read and write everything, subscribed to every device."""
    with broker.client() as client:
        yield client
    # What it commanded is in the board's memory.
    board.must_restart = True


@pytest.fixture
def case(request: pytest.FixtureRequest, keyfob_bench: AnyBench) -> Case:
    """What the case tells of itself for the report: its criterion, measurements, warnings."""
    return _case(request.node)


# -- what is shown


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this board, or what stands around it, cannot be put through."""
    if _is_ours(item) and any(item.get_closest_marker(name) for name in ("needs", "chips")):
        from keyfob_host.hil.capabilities import refuse_unfit
        from keyfob_host.hil.lineup import own_board

        options = own_board(item.config)
        refuse_unfit(item, options.capabilities(), options.chip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what case and bench tell of it; to what failed for the terminal and JUnit too."""
    report = yield
    if not _is_ours(item) or (report.when != "call" and report.passed):
        return report
    from keyfob_host.hil.telling import tell

    error = call.excinfo.value if call.excinfo else None
    told = tell(item, report, error, _case(item), item.config.stash.get(_BENCH, None))
    setattr(report, TOLD, told)
    if report.failed:
        for one in told["evidence"]:
            report.sections.append((one["title"], one["text"]))
            item.user_properties.append((one["title"], one["text"]))
        if told["is_bench_down"]:
            report.longrepr = f"the bench did not come up: {told['reason']}"
    return report


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """The time of each story beside its result; its warnings make it neither, nor red."""
    told = getattr(report, TOLD, None)
    if report.when != "call" or told is None or report.outcome not in ("passed", "failed"):
        return None
    if report.passed and told["warnings"]:
        return "warned", "W", f"WARNED {report.duration:5.1f} s: {told['warnings'][0]}"
    letter = "." if report.passed else "F"
    return report.outcome, letter, f"{report.outcome.upper()} {report.duration:5.1f} s"


def _board_bench(bench: AnyBench) -> Bench:
    from keyfob_host.hil.opening import board_bench

    return board_bench(bench)


def _case(item: pytest.Item) -> Case:
    from keyfob_host.hil.case import Case

    # A rerun of the same item begins with nothing told.
    attempt = getattr(item, "execution_count", 1)
    known, case = item.stash.get(_CASE, (0, None))
    if case is None or known != attempt:
        case = Case()
        item.stash[_CASE] = (attempt, case)
    return case
