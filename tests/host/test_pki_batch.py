"""``keyfob cert devices``: thousands at once, cut off anywhere, each whole or absent."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from keyfob_rig import Keyfob

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.batch import CHUNK
from keyfob_host.pki.id_lists import numbered_ids, read_ids
from keyfob_host.pki.identity import Identity

FILES = ["ca.pem", "cert.pem", "chain.pem", "key.pem"]


@pytest.fixture
def bench(keyfob: Keyfob) -> Keyfob:
    Authority.create(keyfob.home / "ca")
    return keyfob


def devices(bench: Keyfob) -> Path:
    return bench.home / "certs" / "device"


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def listed(bench: Keyfob) -> list[str]:
    rows = bench.json("cert", "list", "--kind", "device", "--state", "valid")["certificates"]
    return sorted(row["name"] for row in rows)


def started(bench: Keyfob, count: int, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "keyfob_host", "cert", "devices", "--pattern", "s-{:04}",
         "--count", str(count), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "KEYFOB_HOME": str(bench.home)}, start_new_session=True,
    )  # fmt: skip


def wait_for_first(bench: Keyfob, running: subprocess.Popen[str]) -> None:
    while not any(not name.startswith(".") for name in names_in(devices(bench))):
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)


def assert_whole(bench: Keyfob) -> int:
    """Every folder with an id's name is an identity; returns how many there are."""
    names = [name for name in names_in(devices(bench)) if not name.startswith(".")]
    for name in names:
        assert names_in(devices(bench) / name) == FILES
        assert Identity.read(devices(bench) / name).name == name
    return len(names)


def test_each_identity_is_one_that_openssl_accepts(bench: Keyfob) -> None:
    shown = bench.json("cert", "devices", "--count", "12", "--pattern", "s-{:03}", "--start", "5")
    assert (shown["made"], shown["skipped"]) == (12, 0)
    expected = [f"s-{number:03}" for number in range(5, 17)]
    assert names_in(devices(bench)) == expected
    certs = [devices(bench) / name / "cert.pem" for name in expected]
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslclient",
         "-CAfile", bench.home / "ca" / "ca.cert.pem", *certs],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.count(": OK\n") == 12, done.stderr
    for name in expected:
        identity = Identity.read(devices(bench) / name)  # the key is the certificate's
        assert identity.name == name
        assert stat.S_IMODE((devices(bench) / name / "key.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE((devices(bench) / name).stat().st_mode) == 0o700
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert {(row["name"], row["profile"], row["state"]) for row in rows} == {
        (name, "device", "valid") for name in expected
    }
    assert len({row["serial"] for row in rows}) == 12


def test_a_second_run_makes_what_is_missing_and_leaves_the_rest(bench: Keyfob) -> None:
    bench.json("cert", "devices", "--count", "5", "--pattern", "s-{}")
    first = (devices(bench) / "s-3" / "cert.pem").read_bytes()
    status, out, err = bench.run("cert", "devices", "--count", "8", "--pattern", "s-{}")
    assert status == 0 and "made     3 identities" in out and "5 were there before" in out
    assert err == ""  # no progress where there is no terminal
    assert (devices(bench) / "s-3" / "cert.pem").read_bytes() == first
    assert bench.json("cert", "devices", "--count", "8", "--pattern", "s-{}")["made"] == 0


def test_several_processes_make_what_one_would(bench: Keyfob) -> None:
    count = 2 * CHUNK + 7
    shown = bench.json(
        "cert", "devices", "--count", str(count), "--pattern", "s-{:04}", "--jobs", "2"
    )
    assert shown["made"] == count
    assert names_in(devices(bench)) == [f"s-{number:04}" for number in range(1, count + 1)]
    assert len(listed(bench)) == count
    assert assert_whole(bench) == count


def test_ctrl_c_leaves_whole_identities_and_says_how_many(bench: Keyfob) -> None:
    running = started(bench, 8 * CHUNK, "--jobs", "2")
    wait_for_first(bench, running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to the workers too
    _, err = running.communicate(timeout=60)
    assert running.returncode == ExitStatus.INTERRUPTED and "Traceback" not in err
    there = [name for name in names_in(devices(bench)) if not name.startswith(".")]
    assert f"made {len(there)}, 0 were there before" in err
    assert names_in(devices(bench)) == there and len(there) < 8 * CHUNK
    assert listed(bench) == there
    for name in there[:: max(1, len(there) // 50)]:
        assert Identity.read(devices(bench) / name).name == name


def test_a_killed_run_leaves_whole_identities_and_the_next_one_goes_on(bench: Keyfob) -> None:
    count = 3 * CHUNK
    running = started(bench, count, "--jobs", "2")
    wait_for_first(bench, running)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(running.pid)], capture_output=True, text=True
    ).stdout.split()
    seen = b"".join(read(pid, file) for pid in children for file in ("cmdline", "environ"))
    running.kill()
    running.communicate()
    # The workers finish what is in their hands, or find nobody to tell, and end.
    while any(Path("/proc", pid).exists() and b"spawn" in read(pid, "cmdline") for pid in children):
        time.sleep(0.01)
    assert_whole(bench)
    key = Authority.load(bench.home / "ca").key
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    secret = key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    assert len(children) >= 2
    for form in (der, secret, base64.b64encode(der)[:40], secret.hex().encode()):
        assert form not in seen
    done = bench.json("cert", "devices", "--count", str(count), "--pattern", "s-{:04}")
    assert done["made"] + done["skipped"] == count
    assert assert_whole(bench) == count
    assert names_in(devices(bench)) == [f"s-{number:04}" for number in range(1, count + 1)]
    assert len(listed(bench)) == count


def read(pid: str, file: str) -> bytes:
    try:
        return Path("/proc", pid, file).read_bytes()
    except OSError:  # it has ended
        return b""


def test_what_a_killed_run_was_writing_is_removed_by_the_next(bench: Keyfob) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    remains = devices(bench) / f".batch.{gone.pid}-x"
    remains.mkdir(parents=True)
    (remains / "key.pem").write_text("half a key")
    bench.json("cert", "devices", "--count", "1", "--pattern", "s-{}")
    assert names_in(devices(bench)) == ["s-1"]


def test_two_runs_at_once_make_each_identity_once(bench: Keyfob) -> None:
    count = 80
    racers = [started(bench, count, "--jobs", "1") for _ in range(2)]
    said = [racer.communicate(timeout=120) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], said
    assert assert_whole(bench) == count and len(listed(bench)) == count
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert len(rows) == count


def test_another_folder_is_filled_and_recorded_too(bench: Keyfob, tmp_path: Path) -> None:
    out = tmp_path / "factory"
    bench.json("cert", "devices", "--count", "3", "--pattern", "s-{}", "--out", out)
    assert names_in(out) == ["s-1", "s-2", "s-3"] and not devices(bench).exists()
    assert listed(bench) == ["s-1", "s-2", "s-3"]
    # As after a kill before anything was recorded.
    (bench.home / "certs" / "inventory.sqlite").unlink()
    bench.json("cert", "devices", "--count", "3", "--pattern", "s-{}", "--out", out)
    assert listed(bench) == ["s-1", "s-2", "s-3"]
    bench.json("cert", "renew", "s-2")
    assert len(bench.json("cert", "revoke", "s-2")["revoked"]) == 2


def test_ids_come_from_a_file_too(bench: Keyfob, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("# hall 3\nalpha\n\n  beta  \ngamma\r\n")
    assert bench.json("cert", "devices", "--from-file", file)["made"] == 3
    assert names_in(devices(bench)) == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    ("text", "code", "evidence"),
    [
        ("alpha\nbe ta\n", "cert.bad-id", "line 2"),
        ("alpha\nbeta\nalpha\n", "cert.id-twice", "lines 1 and 3"),
        ("../../etc\n", "cert.bad-id", "line 1"),
        ("alpha\nkeyfob-host\n", "cert.reserved-id", "line 2"),
        ("# nothing\n\n", "cert.no-ids", "0"),
        ("\udcff", "cert.bad-id", "line 1"),
    ],
)
def test_a_file_with_a_bad_id_is_refused_before_anything_is_made(
    bench: Keyfob, tmp_path: Path, text: str, code: str, evidence: str
) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(text, errors="surrogateescape")
    error = bench.error("cert", "devices", "--from-file", file)
    assert error["code"] == code and evidence in error["evidence"]
    assert not (bench.home / "certs").exists()


def test_what_a_worker_refuses_is_told_as_if_there_were_none(bench: Keyfob, tmp_path: Path) -> None:
    profile = tmp_path / "long.toml"
    profile.write_text(
        'kind = "device"\nkey_type = "p256"\ndays = 5\nextended_key_usage = ["clientAuth"]\n'
        '[subject]\ncommon_name = "{name}-in-hall-3"\n'
    )
    arguments = ("--pattern", "s" * 56 + "{:04}", "--profile", str(profile))
    count = str(2 * CHUNK)
    for jobs in ("1", "2"):
        error = bench.error("cert", "devices", "--count", count, *arguments, "--jobs", jobs)
        assert (error["code"], error["status"]) == ("cert.bad-subject", ExitStatus.IDENTITY)
    assert names_in(devices(bench)) == []


def test_identities_of_a_former_ca_are_not_passed_over_in_silence(bench: Keyfob) -> None:
    bench.json("cert", "devices", "--count", "2", "--pattern", "s-{}")
    bench.json("ca", "init", "--no-passphrase", "--force")
    _, _, err = bench.run("cert", "devices", "--count", "3", "--pattern", "s-{}")
    assert "2 of those that were there are from a former CA" in err


def test_the_command_line_is_judged_first(bench: Keyfob) -> None:
    for arguments in (
        (), ("--count", "5"), ("--pattern", "s-{}"), ("--count", "0", "--pattern", "s-{}"),
        ("--from-file", "x", "--count", "5"), ("--from-file", "x", "--pattern", "s-{}"),
    ):  # fmt: skip
        assert bench.run("cert", "devices", *arguments)[0] == ExitStatus.USAGE
    assert bench.error("cert", "devices", "--from-file", "/nowhere")["code"] == "file.missing"
    error = bench.error("cert", "devices", "--count", "9", "--pattern", "s" * 63 + "{}{}")
    assert error["code"] == "cert.bad-pattern"


@pytest.mark.parametrize(
    "pattern",
    ["", "sensor", "{}{}", "{", "}", "{0}", "{name}", "{!r}", "{:}x{", "{:5}", "{:+d}", "{:00}",
     "{:05b}", "{:.3}", "{:0100}", "{0.__class__}", "{{}}", "{:05}}", "{:e}", "{:,}"],
)  # fmt: skip
def test_any_other_placeholder_is_refused(pattern: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        numbered_ids(pattern, 1, 2)
    assert refused.value.code == "cert.bad-pattern"


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,8}", fullmatch=True),
    st.sampled_from(["{}", "{:05}", "{:03d}", "{:04x}", "{:X}", "{:d}", "{:011}"]),
    st.from_regex(r"[A-Za-z0-9._:-]{0,8}", fullmatch=True),
    st.integers(0, 10**6), st.integers(1, 20),
)  # fmt: skip
def test_a_pattern_numbers_as_python_would(
    before: str, place: str, after: str, start: int, count: int
) -> None:
    made = numbered_ids(before + place + after, start, count)
    assert made == [before + place.format(n) + after for n in range(start, start + count)]
    assert len(set(made)) == count


@given(st.text(alphabet="ab{}:0dxX5.!_-", max_size=12))
def test_no_pattern_ends_in_anything_but_ids_or_a_refusal(pattern: str) -> None:
    try:
        made = numbered_ids(pattern, 7, 3)
    except KeyfobHostError as error:
        assert error.code in ("cert.bad-pattern", "cert.bad-id")
    else:
        assert len(set(made)) == 3 and not any(set("{}") & set(one) for one in made)


def test_a_file_too_large_for_any_list_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "zero"
    with file.open("wb") as handle:
        handle.truncate(1 << 30)
    with pytest.raises(KeyfobHostError) as refused:
        read_ids(file)
    assert refused.value.code == "file.too-large"


def test_results_can_be_read_by_a_script(bench: Keyfob) -> None:
    status, out, err = bench.run("--json", "cert", "devices", "--count", "1", "--pattern", "s-{}")
    assert status == 0 and err == ""
    assert json.loads(out)["folder"] == str(devices(bench))
