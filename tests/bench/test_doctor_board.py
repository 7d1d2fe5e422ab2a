"""`keyfob doctor --board` on a virtual bench: each seeded fault, and benches that are well.

The faults are those of `doctor_faults`; tools/doctor_table.py prints the same as a table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_faults import BROKER, DEVICE, FAULTS, NOT_REACHED, WELL, Fault, FaultBench, running
from virtual_rig import SerialConsole

from keyfob_host.boards import open_board
from keyfob_host.doctor import board_look
from keyfob_host.doctor.catalogue import LADDER
from keyfob_host.doctor.ladder import climb
from keyfob_host.doctor.look import look
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.virtual import VirtualBoard, micropython32

MOST_S = 10.0
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBench]:
    with running(tmp_path_factory.mktemp("doctor")) as made:
        yield made


def marked(fault: Fault) -> object:
    return pytest.param(fault, id=fault.name, marks=[] if fault.is_quick else [pytest.mark.slow])


def keyfob(bench: FaultBench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", *words], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "KEYFOB_HOME": str(bench.home.root)},
    )  # fmt: skip


@pytest.mark.parametrize("fault", [marked(fault) for fault in FAULTS])
def test_each_fault_is_told_by_its_cause_and_nothing_else(bench: FaultBench, fault: Fault) -> None:
    bench.restore()
    fault.make(bench)
    began = time.monotonic()
    ladder = bench.diagnose()
    assert time.monotonic() - began < MOST_S
    found = ladder.diagnosis
    assert found is not None, ladder.as_text()
    assert found.code in fault.codes, ladder.as_text()
    assert found.evidence
    assert ladder.status != 0
    # Below it nothing is broken, above it nothing is claimed.
    at = LADDER.index(found.rung)
    assert all(rung.state == "not seen" for rung in ladder.rungs[at + 1 :])
    assert [rung.name for rung in ladder.rungs if rung.state == "broken"] == [found.rung]


def test_a_bench_that_is_well_has_all_rungs_and_exit_status_0(bench: FaultBench) -> None:
    bench.restore()
    done = keyfob(bench, "--board", "virtual-esp32", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told["is_well"] is True
    assert told["diagnosis"] is None
    assert {rung["state"] for rung in told["rungs"]} == {"holds"}


@pytest.mark.slow
@pytest.mark.parametrize("way", WELL)
def test_nothing_is_found_on_a_bench_that_is_well(bench: FaultBench, way: str) -> None:
    bench.restore()
    WELL[way](bench)
    ladder = bench.diagnose()
    assert ladder.is_well, ladder.as_text()


def test_the_verdict_is_a_fix_with_the_names_of_this_bench(bench: FaultBench) -> None:
    bench.restore()
    bench.serve(bench.authority.issue_broker("other.keyfob.test"))
    bench.reboot()
    done = keyfob(bench, "--board", "virtual-esp32")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "BROKEN  broker's certificate" in done.stdout
    assert f"seen DNS:other.keyfob.test, wanted {BROKER}" in done.stdout
    assert f"--san {BROKER}" in done.stdout


def test_looking_changes_nothing_on_the_board_and_restarts_nothing(bench: FaultBench) -> None:
    bench.restore()
    bench.wait_console('"ev":"publish"')
    before = bench.virtual.info()
    look(bench.ref, bench.home)
    after = bench.virtual.info()
    assert (before["boots"], before["chip_pid"]) == (after["boots"], after["chip_pid"])
    assert bench.broker is not None and bench.broker.pid is not None


def test_no_secret_is_in_what_was_seen_or_told(bench: FaultBench) -> None:
    bench.restore()
    seen = look(bench.ref, bench.home)
    assert seen.board.files.settings["device_id"] == DEVICE
    assert "keyfob-bench-password" not in repr(seen.board.files)
    key = bench.device.key_der_for("mbedtls")
    assert key.hex() not in repr(seen) and repr(key)[2:-1] not in repr(seen)


def test_a_port_in_use_is_no_hindrance_where_the_board_keeps_a_log(bench: FaultBench) -> None:
    bench.restore()
    bench.wait_console('"ev":"publish"')
    with SerialConsole(bench.virtual):
        ladder = bench.diagnose()
    assert ladder.diagnosis is None, ladder.as_text()


def test_two_doctors_at_once_tell_the_same(bench: FaultBench) -> None:
    bench.restore()
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


@pytest.mark.slow
def test_an_esp8266_that_would_verify_nobody_is_told_so(bench: FaultBench) -> None:
    bench.restore()
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")
    virtual = VirtualBoard.up(bench.home, "virtual-esp8266")
    try:
        ref = open_board("virtual-esp8266", home=bench.home)
        flash_board(ref, default_image(ref.kind, bench.home))
        sync_board(ref, reset=False)
        given = Settings(
            broker=f"{BROKER}:{bench.port}", ntp=[f"ntp.keyfob.test:{bench.ntp.port}"],
            extra={"tls.engine": "mbedtls"},
        )  # fmt: skip
        provision_board(ref, bench.device, given)
        ladder = climb(look(ref, bench.home))
    finally:
        virtual.down()
    assert ladder.diagnosis is not None, ladder.as_text()
    assert ladder.diagnosis.code == "tls.not-verified", ladder.as_text()


def test_every_row_of_the_catalogue_is_seeded_or_said_not_to_be() -> None:
    reached = {fault.row for fault in FAULTS if fault.row}
    reached.add(39)  # on another board, above
    assert reached | set(NOT_REACHED) == set(range(1, 40))
    assert not reached & set(NOT_REACHED)


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
    bench.restore()
    bench.wait_console('"ev":"publish"')
    in_flash = look(bench.ref, bench.home).board.files
    bench.mark()
    # As of a real board, whose flash cannot be read past its program.
    at_prompt = board_look._files_at_prompt(bench.ref)
    assert replace(at_prompt, how="") == replace(in_flash, how="")
    assert at_prompt.cert == bench.device.cert_der()
    assert "restarted" in at_prompt.how
    bench.wait_console('"ev":"mqtt.up"')
