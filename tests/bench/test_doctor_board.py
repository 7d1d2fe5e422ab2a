"""`keyfob doctor --board` on virtual benches: each seeded fault, pairs, and benches that are well.

The faults are those of `doctor_faults`; tools/doctor_table.py prints the same as a table.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_bench import BOTH, BROKER, DEVICE, ESP32, ESP8266, Fault, FaultBench, running
from doctor_faults import FAULTS, NOT_REACHED
from doctor_pairs import PAIRS, Pair
from doctor_well import WELL, Well
from virtual_rig import SerialConsole

from keyfob_host.doctor import board_look, served
from keyfob_host.doctor.catalogue import LADDER
from keyfob_host.doctor.ladder import Ladder
from keyfob_host.doctor.look import LIMIT_S, look
from keyfob_host.virtual import micropython32

MOST_S = 10.0
WRITTEN_BY_ITSELF = ("mosquitto.log", "tap.jsonl", "tap.log")
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


class Benches:
    """One of each kind, made when it is first asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._made: dict[str, FaultBench] = {}
        self._stack = ExitStack()

    def of(self, kind: str) -> FaultBench:
        if kind == ESP8266:
            try:
                micropython32.fetch()
            except micropython32.Unavailable as why:
                pytest.skip(f"no 32-bit MicroPython: {why}")
        if kind not in self._made:
            folder = self._folders.mktemp(kind)
            self._made[kind] = self._stack.enter_context(running(folder, kind))
        self._made[kind].restore()
        return self._made[kind]

    def end(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    made = Benches(tmp_path_factory)
    yield made
    made.end()


@pytest.fixture
def bench(benches: Benches) -> FaultBench:
    return benches.of(ESP32)


def each(items: tuple[Fault, ...] | tuple[Well, ...] | tuple[Pair, ...]) -> list[object]:
    """Every item on every kind that it is for; slow but for those that are quick, on an ESP32,
    and the first of all on an ESP8266 too."""
    found = []
    for kind in BOTH:
        quick = [one for one in items if getattr(one, "is_quick", False)][
            : None if kind == ESP32 else 1
        ]
        for one in items:
            if kind in getattr(one, "kinds", BOTH):
                marks = [] if one in quick else [pytest.mark.slow]
                name = one.name.replace(" ", "-")
                found.append(pytest.param(kind, one, id=f"{name}-{kind}", marks=marks))
    return found


def keyfob(bench: FaultBench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", *words], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "KEYFOB_HOME": str(bench.home.root)},
    )  # fmt: skip


def check_told(ladder: Ladder, *codes: str) -> None:
    found = ladder.diagnosis
    assert found is not None, ladder.as_text()
    assert found.code in codes, ladder.as_text()
    assert found.evidence
    assert ladder.status != 0
    # Below it nothing is broken, above it nothing is claimed.
    at = LADDER.index(found.rung)
    assert all(rung.state == "not seen" for rung in ladder.rungs[at + 1 :])
    assert [rung.name for rung in ladder.rungs if rung.state == "broken"] == [found.rung]


@pytest.mark.parametrize(("kind", "fault"), each(FAULTS))
def test_each_fault_is_told_by_its_cause_and_nothing_else(
    benches: Benches, kind: str, fault: Fault
) -> None:
    bench = benches.of(kind)
    fault.make(bench)
    check_told(bench.diagnose(), *fault.codes)


@pytest.mark.parametrize(("kind", "pair"), each(PAIRS))
def test_of_two_faults_the_first_on_the_ladder_is_told_and_then_the_other(
    benches: Benches, kind: str, pair: Pair
) -> None:
    bench = benches.of(kind)
    pair.make(bench)
    first = bench.diagnose()
    check_told(first, pair.first)
    pair.mend(bench)
    second = bench.diagnose()
    check_told(second, pair.second)
    assert first.diagnosis is not None and second.diagnosis is not None
    assert LADDER.index(first.diagnosis.rung) < LADDER.index(second.diagnosis.rung)


def test_a_diagnosis_takes_10_seconds_at_most() -> None:
    assert LIMIT_S + served.LIMIT_S <= MOST_S


def test_a_bench_that_is_well_has_all_rungs_and_exit_status_0(bench: FaultBench) -> None:
    done = keyfob(bench, "--board", "virtual-esp32", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told["is_well"] is True
    assert told["diagnosis"] is None
    assert {rung["state"] for rung in told["rungs"]} == {"holds"}


@pytest.mark.parametrize(("kind", "well"), each(WELL))
def test_nothing_is_found_on_a_bench_that_is_well(benches: Benches, kind: str, well: Well) -> None:
    bench = benches.of(kind)
    well.make(bench)
    ladder = bench.diagnose()
    assert ladder.is_well, ladder.as_text()
    assert ladder.status == 0


def test_the_verdict_is_a_fix_with_the_names_of_this_bench(bench: FaultBench) -> None:
    bench.serve(bench.authority.issue_broker("other.keyfob.test"))
    bench.reboot()
    done = keyfob(bench, "--board", "virtual-esp32")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "BROKEN  broker's certificate" in done.stdout
    assert f"seen DNS:other.keyfob.test, wanted {BROKER}" in done.stdout
    assert f"--san {BROKER}" in done.stdout


def of_board_and_broker(bench: FaultBench) -> dict[str, str]:
    """Digests of the board's flash and of every file of its broker but its logs."""
    paths = [Path(bench.virtual.info()["flash"]), *bench.identity_dir.iterdir()]
    paths += [
        path
        for path in bench.home.broker_dir.iterdir()
        if path.is_file() and path.name not in WRITTEN_BY_ITSELF
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("kind", [ESP32, pytest.param(ESP8266, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_well", [True, False])
def test_looking_changes_nothing_on_the_board_and_restarts_nothing(
    benches: Benches, kind: str, is_well: bool
) -> None:
    bench = benches.of(kind)
    if not is_well:
        bench.serve(bench.authority.issue_broker("other.keyfob.test"))
        bench.reboot()
    bench.wait_console('"ev":"publish"' if is_well else '"ev":"error"')
    before, files = bench.virtual.info(), of_board_and_broker(bench)
    pid = bench.broker.pid if bench.broker else None
    assert (bench.diagnose().diagnosis is None) == is_well
    after = bench.virtual.info()
    assert (before["boots"], before["chip_pid"]) == (after["boots"], after["chip_pid"])
    assert of_board_and_broker(bench) == files
    assert bench.broker is not None and bench.broker.pid == pid is not None


def test_no_secret_is_in_what_was_seen_or_told(bench: FaultBench) -> None:
    seen = look(bench.ref, bench.home)
    assert seen.board.files.settings["device_id"] == DEVICE
    assert "keyfob-bench-password" not in repr(seen.board.files)
    key = bench.device.key_der_for("mbedtls")
    assert key.hex() not in repr(seen) and repr(key)[2:-1] not in repr(seen)


def test_a_port_in_use_is_no_hindrance_where_the_board_keeps_a_log(bench: FaultBench) -> None:
    bench.wait_console('"ev":"publish"')
    with SerialConsole(bench.virtual):
        ladder = bench.diagnose()
    assert ladder.diagnosis is None, ladder.as_text()


def test_two_doctors_at_once_tell_the_same(bench: FaultBench) -> None:
    bench.wait_console('"ev":"publish"')
    command = [sys.executable, "-m", "keyfob_host", "doctor", "--board", "virtual-esp32"]
    env = {**os.environ, "KEYFOB_HOME": str(bench.home.root)}
    both = [
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(2)
    ]
    for one in both:
        assert "BROKEN" not in one.communicate(timeout=60)[0]


@pytest.mark.parametrize("kind", BOTH)
def test_every_row_of_the_catalogue_is_seeded_or_said_not_to_be(kind: str) -> None:
    reached = {fault.row for fault in FAULTS if fault.row and kind in fault.kinds}
    without = {row for row, of in NOT_REACHED if of == kind}
    assert reached | without == set(range(1, 40))
    assert not reached & without


def test_the_table_in_the_readme_has_every_fault() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme.partition("<!-- tools/doctor_table.py -->")[2].partition("<!-- end")[0]
    for fault in FAULTS:
        assert f"| {fault.name.replace('-', ' ')} |" in table, "make doctor-table WRITE=1"


def test_there_are_enough_ways_to_be_well_and_pairs_of_faults() -> None:
    assert all(sum(kind in well.kinds for well in WELL) >= 20 for kind in BOTH)
    assert len(PAIRS) >= 6


def test_a_board_that_is_not_up_is_told_with_what_starts_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", "--board", "virtual-esp32"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "KEYFOB_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 5
    assert "keyfob board up virtual-esp32" in done.stderr


@pytest.mark.slow
def test_files_read_at_the_prompt_are_those_of_the_flash_and_the_program_runs_again(
    bench: FaultBench,
) -> None:
    bench.wait_console('"ev":"publish"')
    in_flash = look(bench.ref, bench.home).board.files
    bench.mark()
    # As of a real board, whose flash cannot be read past its program.
    at_prompt = board_look._files_at_prompt(bench.ref)
    assert replace(at_prompt, how="") == replace(in_flash, how="", keys=())
    ((path, form),) = in_flash.keys
    assert path.endswith("/key.der") and form == "SEC 1"
    assert at_prompt.cert == bench.device.cert_der()
    assert "restarted" in at_prompt.how
    bench.wait_console('"ev":"mqtt.up"')
