"""The firmware with short names, on MicroPython: it does what it does with its own."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import make_ca, make_leaf
from firmware_bench import FIRMWARE, HERE, MICROPYTHON, Board, Mosquitto, mutual_tls

from keyfob_host.mpy import BoardFile, board_files
from keyfob_host.names import merge_names, replacements
from keyfob_host.ntp import NtpServer
from keyfob_host.virtual import micropython32

UNIT = HERE.parent / "unit"
# With what only the host has.
ON_THE_HOST = set(re.findall(r'"(test_\w+\.py)"', (UNIT / "test_on_micropython.py").read_text()))
TESTS = sorted(path.name for path in UNIT.glob("test_*.py") if path.name not in ON_THE_HOST)
# A file of each part of the firmware; `make test-all` runs them all.
EVERY_DAY = {
    "test_board_clock.py",
    "test_client_session.py",
    "test_crypto_nist.py",
    "test_events_lines.py",
    "test_identity_store.py",
    "test_key_maker.py",
    "test_mqtt_session5.py",
    "test_outbox.py",
    "test_rotation_steps.py",
    "test_sensor_app.py",
    "test_stream_limits.py",
    "test_tls13_late.py",
    "test_tls_chain.py",
    "test_tls_engine.py",
    "test_unloading.py",
    "test_wifi.py",
    "test_x509_vectors.py",
}
HOST = "localhost"
ENGINES = ("mbedtls", "keyfob")
CA = make_ca()


@pytest.fixture(scope="module")
def full() -> list[BoardFile]:
    return board_files(FIRMWARE)


def write(folder: Path, files: list[BoardFile]) -> None:
    for file in files:
        path = folder / file.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)


# -- the device's own tests ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.slow) for name in TESTS],
)
def test_the_tests_of_the_device_pass(name: str, full: list[BoardFile], tmp_path: Path) -> None:
    """What a test names keeps its name, as with an application; all else is short."""
    source = tmp_path / "source"
    shutil.copytree(FIRMWARE, source)
    shutil.copytree(UNIT, source / "unit")
    used = imported(UNIT / name, set()) | set((UNIT / "fakes").glob("*.py"))
    tests = [
        BoardFile(f"/unit/{path.relative_to(UNIT).as_posix()}", path.read_bytes()) for path in used
    ]
    new = replacements(source, [*full, *tests])
    assert sum(len(names) for names in new.values()) > 1000
    write(tmp_path / "firmware", merge_names(source, [*full, *tests]))
    shutil.copytree(UNIT, tmp_path / "tests" / "unit")
    (tmp_path / "tests" / "vectors").symlink_to(UNIT.parent / "vectors")
    run = [MICROPYTHON, tmp_path / "tests" / "unit" / "run_micropython.py", name]
    done = subprocess.run(
        run, cwd=tmp_path / "tests" / "unit", capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def imported(path: Path, seen: set[Path]) -> set[Path]:
    """``path``, and the modules beside it that it imports, and so on."""
    if path.is_file() and path not in seen:
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    imported(UNIT / f"{alias.name}.py", seen)
            elif isinstance(node, ast.ImportFrom):
                imported(UNIT / f"{node.module}.py", seen)
    return seen


def test_every_file_of_the_daily_sample_is_there() -> None:
    assert set(TESTS) >= EVERY_DAY


# -- the firmware as it is sent ------------------------------------------------------------


def test_every_module_loads_on_32_bits(full: list[BoardFile], tmp_path: Path) -> None:
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")
    write(tmp_path, merge_names(FIRMWARE, full))
    modules = [
        file.path[1:-4].replace("/", ".").removesuffix(".__init__")
        for file in full
        if file.path.endswith(".mpy")
    ]
    code = (
        "import sys\nsys.path[:] = ['', sys.argv[1], '.frozen']\n"
        "for name in ('network', 'machine', 'dht', 'neopixel'):\n"
        " sys.modules.pop(name, None)\n __import__(name)\n"
        "for name in sys.argv[2:]: __import__(name)\nprint(len(sys.argv))\n"
    )
    (tmp_path / "load.py").write_text(code)
    command = [*micropython32.command(), "-X", "heapsize=1m", "load.py", str(HERE / "shims")]
    done = subprocess.run(
        [*command, *modules], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"{len(modules) + 2}\n", done.stdout + done.stderr


@pytest.fixture(scope="module")
def short(full: list[BoardFile]) -> list[BoardFile]:
    return merge_names(FIRMWARE, full)


def short_board(
    folder: Path, files: list[BoardFile], port: int, ntp: NtpServer, engine: str
) -> Board:
    board = Board(folder)
    shutil.rmtree(folder)
    write(folder, files)
    board.settle(HOST, port, ntp.port)
    settings = json.loads((folder / "keyfob.json").read_text())
    board.write_settings({**settings, "tls": {"engine": engine}})
    board.provision([CA])
    return board


@pytest.mark.parametrize("engine", ENGINES)
def test_readings_arrive(engine: str, short: list[BoardFile], tmp_path: Path) -> None:
    lines = mutual_tls(tmp_path / "broker", make_leaf(CA, HOST, (HOST,)), CA)
    with (
        NtpServer() as ntp,
        Mosquitto(tmp_path / "broker", lines) as broker,
        short_board(tmp_path / "board", short, broker.port, ntp, engine) as board,
    ):
        board.power_on()
        for _ in range(2):
            board.wait_for("publish")
        assert board.interrupt() != 0
        assert [event["ev"] for event in board.events("error")] == []
        assert broker.log().count("devices/sensor-01/reading") >= 2


FAULTS = {
    "x509.expired": lambda: make_leaf(CA, HOST, (HOST,), after=-timedelta(hours=1)),
    "x509.wrong-name": lambda: make_leaf(CA, "other.test", ("other.test",)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("code", FAULTS)
def test_faults_are_told_as_ever(
    engine: str, code: str, short: list[BoardFile], tmp_path: Path
) -> None:
    lines = mutual_tls(tmp_path / "broker", FAULTS[code](), CA)
    with (
        NtpServer() as ntp,
        Mosquitto(tmp_path / "broker", lines) as broker,
        short_board(tmp_path / "board", short, broker.port, ntp, engine) as board,
    ):
        assert board.outcome()[0] == code


def test_a_traceback_says_module_and_line(short: list[BoardFile], tmp_path: Path) -> None:
    write(tmp_path, short)
    code = (
        "import sys\nsys.path[:] = ['', '.frozen']\nfrom keyfob import config\n"
        "try: config.load(None)\nexcept Exception as error: sys.print_exception(error)\n"
    )
    (tmp_path / "fail.py").write_text(code)
    done = subprocess.run(
        [MICROPYTHON, "fail.py"], cwd=tmp_path, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert re.search(r'File "keyfob.config", line \d+, in load\n', done.stdout + done.stderr)
