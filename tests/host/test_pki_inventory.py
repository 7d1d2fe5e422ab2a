"""The inventory of certificates: made from disk, never lost, read by two at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyfob_rig import Keyfob

from keyfob_host.durations import parse_duration
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.inventory_disk import open_inventory

NOW = datetime.now(timezone.utc)


@pytest.fixture
def bench(keyfob: Keyfob) -> Keyfob:
    """A bench as one was before there was an inventory: certificates on disk, no more."""
    authority = Authority.create(keyfob.home / "ca")
    certs = keyfob.home / "certs"
    authority.issue_broker("b.test").write(certs / "broker" / "b.test")
    authority.issue_device("sensor-01").write(certs / "device" / "sensor-01")
    authority.issue_host().write(certs / "device" / "keyfob-host")
    return keyfob


def listed(keyfob: Keyfob, *options: str) -> list[tuple[str, str, str]]:
    rows = keyfob.json("cert", "list", *options)["certificates"]
    return [(row["kind"], row["name"], row["state"]) for row in rows]


def file_of(keyfob: Keyfob) -> Path:
    return keyfob.home / "certs" / "inventory.sqlite"


def test_certificates_from_before_the_inventory_are_listed(bench: Keyfob) -> None:
    ca = bench.json("cert", "list", "--kind", "ca")["certificates"][0]["name"]
    assert listed(bench) == [
        ("ca", ca, "valid"),
        ("broker", "b.test", "valid"),
        ("device", "sensor-01", "valid"),
        ("host", "keyfob-host", "valid"),
    ]
    assert stat.S_IMODE(file_of(bench).stat().st_mode) == 0o600
    assert listed(bench, "--kind", "device") == [("device", "sensor-01", "valid")]
    assert listed(bench, "--state", "revoked") == []


def test_what_is_listed_is_what_openssl_reads(bench: Keyfob) -> None:
    (row,) = bench.json("cert", "list", "--kind", "device")["certificates"]
    cert = bench.home / "certs" / "device" / "sensor-01" / "cert.pem"
    said = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-serial", "-subject", "-fingerprint",
         "-sha256", "-startdate", "-enddate", "-dateopt", "iso_8601", "-nameopt", "rfc2253"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    facts = dict(line.split("=", 1) for line in said)
    assert int(row["serial"], 16) == int(facts["serial"], 16)
    assert row["subject"] == facts["subject"]
    assert row["sha256"] == facts["sha256 Fingerprint"].replace(":", "").lower()
    for field, name in (("not_before", "notBefore"), ("not_after", "notAfter")):
        assert datetime.fromisoformat(row[field]) == datetime.fromisoformat(
            facts[name].replace("Z", "+00:00")
        )


def test_a_replaced_certificate_stays_listed_beside_the_one_in_use(bench: Keyfob) -> None:
    (first,) = bench.json("cert", "list", "--kind", "device")["certificates"]
    again = bench.json("cert", "device", "sensor-01", "--force")
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert [(row["serial"], row["state"]) for row in rows] == [
        (first["serial"], "replaced"),
        (again["serial"], "valid"),
    ]


def test_people_see_a_table_with_what_they_can_name(bench: Keyfob) -> None:
    _, out, _ = bench.run("cert", "list")
    assert "sensor-01" in out and "valid" in out and "kind" in out
    (row,) = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert row["serial"][:12] in out
    assert bench.run("cert", "list", "--state", "expired")[1] == "no such certificate\n"


def test_certificates_of_a_former_ca_are_told_apart(bench: Keyfob) -> None:
    assert listed(bench)
    bench.json("ca", "init", "--no-passphrase", "--force")
    states = {(kind, state) for kind, _, state in listed(bench)}
    assert states == {
        ("ca", "replaced"), ("ca", "valid"),
        ("broker", "orphaned"), ("device", "orphaned"), ("host", "orphaned"),
    }  # fmt: skip
    assert bench.run("cert", "expiring", "--within", "9999w")[0] == ExitStatus.EXPIRING


def test_dates_decide_the_state(keyfob: Keyfob) -> None:
    authority = Authority.create(keyfob.home / "ca")
    for name, start, end in (("old", -9, -1), ("new", 1, 9)):
        authority.issue_device(
            name,
            not_before=NOW + timedelta(days=start),
            not_after=NOW + timedelta(days=end),
        ).write(keyfob.home / "certs" / "device" / name)
    assert listed(keyfob, "--kind", "device") == [
        ("device", "new", "not-yet-valid"),
        ("device", "old", "expired"),
    ]


def test_a_damaged_certificate_is_named_and_hides_no_other(bench: Keyfob) -> None:
    (bench.home / "certs" / "device" / "sensor-01" / "cert.pem").write_bytes(b"half")
    shown = bench.json("cert", "list")
    assert len(shown["certificates"]) == 3
    assert len(shown["not_read"]) == 1 and "sensor-01" in shown["not_read"][0]


def test_the_profile_is_recorded(bench: Keyfob) -> None:
    bench.json("cert", "device", "sensor-02")
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert [row["profile"] for row in rows] == ["", "device"]


def test_a_file_that_is_no_inventory_is_told_with_a_fix_that_mends_it(bench: Keyfob) -> None:
    file_of(bench).write_bytes(b"not a database" * 100)
    error = bench.error("cert", "list")
    assert error["code"] == "cert.inventory-damaged"
    move, then = error["fix"].split(" && ")
    assert then == "keyfob cert list"
    subprocess.run(move.split(), check=True)
    assert len(listed(bench)) == 4


def test_an_inventory_of_a_later_version_is_left_alone(bench: Keyfob) -> None:
    listed(bench)
    with sqlite3.connect(file_of(bench)) as database:
        database.execute("PRAGMA user_version = 99")
    before = file_of(bench).read_bytes()
    assert bench.error("cert", "list")["code"] == "cert.inventory-newer"
    assert file_of(bench).read_bytes() == before


def test_many_commands_at_once_lose_nothing(bench: Keyfob) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "keyfob_host", "--json", "cert", "device", f"d-{number}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "KEYFOB_HOME": str(bench.home)},
        )
        for number in range(6)
    ]  # fmt: skip
    made = {json.loads(one.communicate(timeout=60)[0])["serial"] for one in commands}
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert made < {row["serial"] for row in rows} and len(rows) == 7
    assert {row["profile"] for row in rows if row["serial"] in made} == {"device"}


def test_a_command_killed_within_a_transaction_leaves_the_inventory_whole(bench: Keyfob) -> None:
    before = listed(bench)
    program = (
        "import os, signal\n"
        "from keyfob_host.home import find_home\n"
        "from keyfob_host.pki.inventory_disk import open_inventory\n"
        "inventory, _ = open_inventory(find_home())\n"
        "with inventory.writing():\n"
        "    for one in inventory.records(): inventory.set_replaced(one.fingerprint)\n"
        "    inventory._db.execute('PRAGMA cache_spill = 1')\n"
        "    for n in range(20000): inventory.revoke('x', str(n), n, 'superseded')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "KEYFOB_HOME": str(bench.home)}
    )
    assert done.returncode == -signal.SIGKILL
    assert listed(bench) == before
    with sqlite3.connect(file_of(bench)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM revocation").fetchone() == (0,)


def test_a_certificate_not_recorded_by_a_killed_command_is_taken_in(bench: Keyfob) -> None:
    listed(bench)
    authority = Authority.load(bench.home / "ca")
    folder = bench.home / "certs" / "device" / "sensor-01"
    new = authority.issue_device("sensor-01")
    new.write(folder, force=True)
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert [row["state"] for row in rows] == ["replaced", "valid"]
    assert int(rows[1]["serial"], 16) == new.cert.serial_number


def test_expiring_tells_cron_by_its_status(bench: Keyfob) -> None:
    assert bench.run("cert", "expiring")[:2] == (0, "nothing ends within 30d\n")
    bench.json("cert", "device", "short", "--days", "10")
    status, out, _ = bench.run("--json", "cert", "expiring", "--within", "2w")
    assert status == ExitStatus.EXPIRING == 9
    (found,) = json.loads(out)["expiring"]
    assert (found["kind"], found["name"]) == ("device", "short")
    assert found["fix"] == "keyfob cert renew short"
    _, out, _ = bench.run("cert", "expiring", "--within", "2w")
    assert "device       short: ends in 9 days" in out
    assert bench.run("cert", "expiring", "--within", "9d")[0] == 0
    # Somebody who removes the folder does not want to hear of it again.
    shutil.rmtree(bench.home / "certs" / "device" / "short")
    assert bench.run("cert", "expiring", "--within", "2w")[0] == 0


def test_expiring_counts_what_has_ended_and_the_ca_itself(keyfob: Keyfob) -> None:
    assert keyfob.error("cert", "expiring")["code"] == "ca.missing"
    keyfob.json("ca", "init", "--no-passphrase", "--days", "20")
    authority = Authority.load(keyfob.home / "ca")
    authority.issue_device(
        "old", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=3)
    ).write(keyfob.home / "certs" / "device" / "old")
    _, out, _ = keyfob.run("--json", "cert", "expiring")
    assert [one["kind"] for one in json.loads(out)["expiring"]] == ["device", "ca"]
    assert "ended 3 days ago" in keyfob.run("cert", "expiring")[1]


@given(st.integers(1, 99999), st.sampled_from("hdw"))
def test_a_duration_is_as_long_as_it_says(count: int, unit: str) -> None:
    hours = {"h": 1, "d": 24, "w": 168}[unit]
    assert parse_duration(f"{count}{unit}") == timedelta(hours=count * hours)


@given(st.text(max_size=12))
def test_any_other_text_is_no_duration(text: str) -> None:
    body, unit = text[:-1], text[-1:]
    is_one = (
        unit in tuple("hdw")
        and body.isascii() and body.isdigit() and body[0] != "0" and len(body) <= 5
    )  # fmt: skip
    try:
        parse_duration(text)
    except KeyfobHostError as error:
        assert not is_one and error.code == "host.bad-duration"
    else:
        assert is_one


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "030d", "-1d", "+1d", "1.5d", "30D", "1d2h",
                                  " 1d", "1d\n", "1m", "1y", "٣d", "100000d"])  # fmt: skip
def test_what_is_no_whole_number_of_hours_days_or_weeks_is_refused(text: str) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        parse_duration(text)
    assert refused.value.status == ExitStatus.USAGE


def test_a_board_has_one_certificate_in_use(bench: Keyfob) -> None:
    home = Home(bench.home)
    bench.json("cert", "device", "sensor-02")
    inventory, _ = open_inventory(home)
    with inventory:
        first, second = (inventory.named(name)[0] for name in ("sensor-01", "sensor-02"))
        for one in (first, second):
            with inventory.writing():
                inventory.set_board(one.fingerprint, "240ac42a9751")
    rows = bench.json("cert", "list", "--kind", "device")["certificates"]
    assert [row["board"] for row in rows] == ["", "240ac42a9751"]
