"""``keyfob doctor --files``: the right verdict from what real brokers and clients left behind.

Each fault is a row of the catalogue of failures, made in one place of a whole bench, provoked
with a real mosquitto. The verdict must be its row's, and nothing else may be found.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from doctor_file_faults import CONNACK, CONSOLE, FAILED, ROWS, UP, Fault, crl_overdue, expired, told
from doctor_rig import DAY, NAME, NOW, Folder, crl

from keyfob_host.doctor.offline.examining import examine
from keyfob_host.errors import ExitStatus, KeyfobHostError

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
        reason="mosquitto is not installed",
    ),
]


@pytest.mark.parametrize(("fault", "cause"), ROWS, ids=lambda one: getattr(one, "__name__", one))
def test_a_fault_is_told_from_the_files_and_nothing_else_is(
    tmp_path: Path, fault: Fault, cause: str
) -> None:
    folder = Folder(tmp_path / "bench")
    fault(folder)
    found = folder.examine(host=NAME)
    codes = [one.code for one in found.diagnoses]
    assert codes == [cause], f"{told(found)}\n{folder.log()}"
    assert not found.other


@pytest.mark.parametrize("stamps", ["epoch", "iso", "none"])
def test_a_bench_that_is_well_has_no_finding(tmp_path: Path, stamps: str) -> None:
    folder = Folder(tmp_path / "bench", stamps)
    folder.crl = crl(folder.ca)
    with folder.run():
        assert folder.connect() == CONNACK
        assert folder.connect() == CONNACK
    found = folder.examine(host=NAME)
    assert not found.diagnoses and not found.other and not found.notes, told(found)
    assert any("broker's log" in what for _, what in found.looked_at)


# Whatever there is


def mixture(random: Random, folder: Path, pieces: list[bytes]) -> None:
    names = ["a.log", "b.pem", "c.conf", "tap.jsonl", "d.der", "noend", "key.pem", "e.txt", "f.crl"]
    for name in random.sample(names, random.randint(1, len(names))):
        content = bytearray(b"".join(random.choices(pieces, k=random.randint(1, 4))))
        for _ in range(random.randint(0, 6)):
            if content:
                at = random.randrange(len(content))
                content[at : at + random.randint(0, 9)] = random.randbytes(random.randint(0, 5))
        folder.joinpath(name).write_bytes(content[: random.choice((len(content), 700, 40))])


def survives(tmp_path: Path, seeds: range) -> None:
    folder = Folder(tmp_path / "bench")
    crl_overdue(folder)
    text = CONSOLE % NOW.timestamp() + FAILED % "x509.untrusted" + UP
    tap = '{"connection":1,"what":"summary","causes":["x509.wrong-anchor",7],"alert":[],"at":9}\n'
    chain = '{"connection":1,"what":"certificate","from":"broker","der":["MAA=",5],"at":"x"}\n'
    pieces = [path.read_bytes() for path in sorted(folder.path.rglob("*")) if path.is_file()]
    pieces += [text.encode(), tap.encode(), chain.encode(), b"\0\xff\xfe", folder.ca.der, b"[" * 99]
    assert folder.device is not None
    lines = (folder.device.key_pem() + folder.broker.key_pem()).decode().splitlines()
    lines = [line for line in lines if "-" not in line]
    secret = [line[at : at + 16] for line in lines for at in (0, 20, 40) if len(line) > at + 15]
    assert secret
    for seed in seeds:
        given = tmp_path / str(seed)
        given.mkdir()
        mixture(Random(seed), given, pieces)
        try:
            found = examine([given], NOW)
        except KeyfobHostError as refused:
            assert refused.code == "doctor.nothing-to-read", seed
        else:
            json.dumps(found.as_dict())
            shown = told(found)
            assert not any(piece in shown for piece in secret), seed
            assert all(c.isprintable() or c == "\n" for c in shown), seed
        shutil.rmtree(given)


def test_any_mixture_of_files_gets_an_answer(tmp_path: Path) -> None:
    survives(tmp_path, range(60))


@pytest.mark.slow
def test_many_mixtures_of_files_get_an_answer(tmp_path: Path) -> None:
    survives(tmp_path, range(1000, 4000))


# The command


def keyfob(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "doctor", *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_the_command_names_cause_both_ends_and_a_fix(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    expired(folder)
    done = keyfob("--files", str(folder.path), "--host", NAME)
    assert done.returncode == ExitStatus.IDENTITY, done.stdout + done.stderr
    assert (
        "client-certificate.expired" in done.stdout and "certificate verify failed" in done.stdout
    )
    assert "notAfter" in done.stdout and "keyfob cert renew sensor-01" in done.stdout
    told = json.loads(keyfob("--json", "--files", str(folder.path)).stdout)
    assert told["diagnoses"][0]["row"] == 13
    assert {one["source"] for one in told["diagnoses"][0]["evidence"]} == {"board", "broker"}
    # The files one by one, and judged before the certificate expired.
    names = [str(path) for path in folder.path.rglob("*") if path.is_file()]
    at = (NOW - 3 * DAY).isoformat()
    assert json.loads(keyfob("--json", "--files", *names).stdout)["diagnoses"][0]["row"] == 13
    assert (
        "client-certificate.expired (certain)" not in keyfob("--files", *names, "--at", at).stdout
    )


def test_the_command_says_when_nothing_is_wrong(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    with folder.run():
        assert folder.connect() == CONNACK
    done = keyfob("--files", str(folder.path))
    assert done.returncode == 0 and "nothing wrong in what is there" in done.stdout
    assert "mosquitto's configuration" in done.stdout and "broker's log" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["nothing.log"], "file.missing", ExitStatus.INPUT),
        ([os.devnull], "doctor.nothing-to-read", ExitStatus.INPUT),
        ([".", "--at", "tomorrow"], "doctor.bad-time", ExitStatus.USAGE),
        ([".", "--host", "mqtts://h:8883"], "doctor.bad-host", ExitStatus.USAGE),
        ([".", "--board", "esp9"], "board.unknown-kind", ExitStatus.USAGE),
    ],
)
def test_a_wrong_word_is_told_with_what_is_right(words: list[str], code: str, status: int) -> None:
    done = keyfob("--json", "--files", *words)
    told = json.loads(done.stdout)["error"]
    assert (done.returncode, told["code"]) == (status, code) and told["fix"]
