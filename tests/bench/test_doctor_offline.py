"""``keyfob doctor --files`` on what a real board, broker and tap wrote, fault by fault.

The faults are those of `doctor_faults`, and the files are a copy: what console, broker and
tap wrote since each began, with the bench's certificates and configuration. No verdict is
asked for where only the board itself, or a silent network, would know.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from doctor_bench import BROKER, ESP32, WAIT_S, Fault, FaultBench, running
from doctor_faults import faults_of

from keyfob_host.doctor.offline.examining import examine

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
_LOGS = ("console.log", "mosquitto.log", "tap.jsonl")
_NOT_IN_FILES = ("power-off", "other-port")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBench]:
    with running(tmp_path_factory.mktemp("offline")) as made:
        yield made


def marked(fault: Fault) -> object:
    return pytest.param(fault, id=fault.name, marks=[] if fault.is_quick else [pytest.mark.slow])


def logs(bench: FaultBench) -> dict[Path, int]:
    found = [path for name in _LOGS for path in bench.folder.rglob(name)]
    return {path: path.stat().st_size for path in found}


def copied(bench: FaultBench, to: Path, before: dict[Path, int]) -> Path:
    """The bench's files, and of its logs what was written since ``before``."""
    since = logs(bench)
    for path in (*bench.folder.rglob("*.pem"), *bench.folder.rglob("mosquitto.conf"), *since):
        if path.name == "mosquitto.conf" and bench.other and path.parent.name != "other":
            continue
        target = to / path.relative_to(bench.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        start = before.get(path, 0)
        content = path.read_bytes()
        target.write_bytes(content[start if start <= len(content) else 0 :])
        target.chmod(0o600)
    return to


@pytest.mark.parametrize(
    "fault", [marked(fault) for fault in faults_of(ESP32) if fault.name not in _NOT_IN_FILES]
)
def test_each_fault_is_told_from_what_it_left_in_files(
    bench: FaultBench, tmp_path: Path, fault: Fault
) -> None:
    bench.restore()
    before = logs(bench)
    fault.make(bench)
    deadline = time.monotonic() + WAIT_S  # until board and broker have said what they say
    while True:
        shutil.rmtree(tmp_path / "files", ignore_errors=True)
        files = copied(bench, tmp_path / "files", before)
        found = examine([files], datetime.now(timezone.utc), host=BROKER)
        if found.diagnoses and found.diagnoses[0].code in fault.codes:
            return
        told = "\n\n".join(one.as_text() for one in found.diagnoses)
        assert time.monotonic() < deadline, told
        time.sleep(0.5)


def test_a_bench_that_is_well_leaves_nothing_to_find(bench: FaultBench, tmp_path: Path) -> None:
    bench.restore()
    bench.wait_console('"ev":"publish"')  # a handshake that the reset breaks off is a finding
    before = logs(bench)
    bench.reboot()
    bench.wait_console('"ev":"publish"')
    found = examine(
        [copied(bench, tmp_path / "files", before)], datetime.now(timezone.utc), host=BROKER
    )
    assert not found.diagnoses and not found.other, [one.as_text() for one in found.diagnoses]
    seen = {what.partition(",")[0] for _, what in found.looked_at}
    assert {"board's console", "broker's log", "tap's log", "mosquitto's configuration"} <= seen
