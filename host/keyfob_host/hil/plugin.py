"""The pytest plugin of the hardware-in-the-loop bench: options and fixtures.

Loaded in every pytest run of an environment that has keyfob installed, so it imports
nothing of the bench until a test asks for one of its fixtures. `ca`, `broker`, `ntp`,
`ntp_second`, `board` and `host_client` are the bench; each story gets them in a known
state (the parts' own ``restore``), whatever the story before did.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from keyfob_host.hil.bench import Bench, BenchOptions
    from keyfob_host.hil.bench_board import BenchBoard
    from keyfob_host.hil.bench_broker import BenchBroker
    from keyfob_host.hil.bench_ca import BenchCa
    from keyfob_host.mqtt_host import HostClient
    from keyfob_host.ntp import NtpServer

_BENCH = pytest.StashKey["Bench"]()
# For `keyfob_host.hil.run`, which gives the options itself and tells the error itself.
BENCH_OPTIONS = pytest.StashKey["BenchOptions"]()
BENCH_ERROR = pytest.StashKey[Exception]()
DIAGNOSIS = "keyfob_diagnosis"  # of a report: the doctor's, as data
_ON_THE_BENCH = "keyfob"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keyfob", "hardware-in-the-loop bench")
    option = group.addoption
    option("--keyfob-board", metavar="KIND", default="virtual-esp32", help="board kind")
    option("--keyfob-port", metavar="PORT", help="serial port of a real board")
    option("--keyfob-name", metavar="NAME", help="name of a virtual board")
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


# -- the bench


@pytest.fixture(scope="session")
def keyfob_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """All parts of the bench, the board locked; what the other fixtures hand out."""
    from keyfob_host.errors import KeyfobHostError
    from keyfob_host.hil.bench import Bench

    config = request.config
    try:
        bench = Bench(config.stash.get(BENCH_OPTIONS, None) or _options(config))
        bench.start()
    except KeyfobHostError as error:
        # Without a bench every story would fail for this one reason: say it once.
        config.stash[BENCH_ERROR] = error
        told = error.code if BENCH_OPTIONS in config.stash else _told(error)
        pytest.exit(f"the bench did not come up: {told}", returncode=int(error.status))
    config.stash[_BENCH] = bench
    try:
        yield bench
    finally:
        bench.stop()
        del config.stash[_BENCH]


@pytest.fixture(scope="session")
def ca(keyfob_bench: Bench) -> BenchCa:
    """The run's own CA (`.authority`), and a foreign one (`.foreign`)."""
    return keyfob_bench.ca


@pytest.fixture
def broker(keyfob_bench: Bench) -> BenchBroker:
    """Real mosquitto with mutual TLS behind a relay: certificate, restarts, link faults, log."""
    keyfob_bench.broker.restore()
    return keyfob_bench.broker


@pytest.fixture
def ntp(keyfob_bench: Bench) -> NtpServer:
    """The time server that the board asks first; set its `mode` or `offset_s` to have it lie."""
    return keyfob_bench.fresh_ntp(0)


@pytest.fixture
def ntp_second(keyfob_bench: Bench) -> NtpServer:
    """The time server that the board asks when the first was of no use."""
    return keyfob_bench.fresh_ntp(1)


@pytest.fixture
def board(
    keyfob_bench: Bench, broker: BenchBroker, ntp: NtpServer, ntp_second: NtpServer
) -> BenchBoard:
    """The board: provisioned, running, its console read; see `keyfob_host.hil.bench_board`."""
    keyfob_bench.board.restore()
    return keyfob_bench.board


@pytest.fixture
def host_client(board: BenchBoard, broker: BenchBroker) -> Iterator[HostClient]:
    """The host's side of MQTT: may read and write everything, subscribed to every device."""
    with broker.client() as client:
        yield client
    # What it commanded is in the board's memory.
    board.must_restart = True


# -- what is shown


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the bench's evidence to what failed: for the terminal and for the JUnit file."""
    report = yield
    bench = item.config.stash.get(_BENCH, None)
    if bench is None or "keyfob_bench" not in getattr(item, "fixturenames", ()):
        return report
    report.user_properties.append((_ON_THE_BENCH, ""))
    if report.failed:
        text, data = bench.diagnosis()
        setattr(report, DIAGNOSIS, data)
        sections = [("doctor", text), *bench.evidence.sections()]
        error = call.excinfo.value if call.excinfo else None
        if hasattr(error, "evidence") and hasattr(error, "fix"):
            sections.insert(0, ("error", _told(error)))
        for title, text in sections:
            report.sections.append((title, text))
            item.user_properties.append((title, text))
    return report


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """The time of each story beside its result."""
    if report.when != "call" or (_ON_THE_BENCH, "") not in report.user_properties or report.skipped:
        return None
    letter = "." if report.passed else "F"
    return report.outcome, letter, f"{report.outcome.upper()} {report.duration:5.1f} s"


def _options(config: pytest.Config) -> BenchOptions:
    from keyfob_host.hil.bench import BenchOptions
    from keyfob_host.home import Home

    home = config.getoption("--keyfob-home")
    return BenchOptions.resolve(
        kind=config.getoption("--keyfob-board"),
        port=config.getoption("--keyfob-port"),
        name=config.getoption("--keyfob-name"),
        home=Home(Path(home).resolve()) if home else None,
        address=config.getoption("--keyfob-address"),
        wifi_ssid=config.getoption("--keyfob-wifi-ssid"),
        wifi_password=os.environ.get("KEYFOB_WIFI_PASSWORD"),
    )


def _told(error: Any) -> str:
    lines = [f"{error.code}: {error.cause}"]
    lines += [f"  seen  {error.evidence}"] if error.evidence else []
    lines += [f"  fix   {error.fix}"]
    return "\n".join(lines)
