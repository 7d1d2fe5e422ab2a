"""Revocation and CRLs, judged by openssl and `cryptography`."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from judges import openssl
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.crl import BACKDATE, REASONS, sign_crl, this_update_after
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.revocation import check_crls, crls_are_fresh

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture
def bench(keyfob: Keyfob) -> Keyfob:
    authority = Authority.create(keyfob.home / "ca")
    for name in ("s-1", "s-2", "s-3"):
        authority.issue_device(name).write(keyfob.home / "certs" / "device" / name)
    return keyfob


@pytest.fixture
def two_tier(keyfob: Keyfob) -> Keyfob:
    """A bench with an intermediate, whose root key is here too."""
    root = Authority.create(keyfob.home / "ca", profile=replace(load_profile("ca"), path_length=1))
    issuing = root.issue_intermediate()
    issuing.write_issuing(keyfob.home / "ca", None)
    for name in ("s-1", "s-2"):
        issuing.issue_device(name).write(keyfob.home / "certs" / "device" / name)
    return keyfob


def crl_file(keyfob: Keyfob) -> Path:
    return keyfob.home / "ca" / "crl.pem"


def crl_text(keyfob: Keyfob) -> str:
    return openssl("crl", "-in", crl_file(keyfob), "-noout", "-text")


def verdict(keyfob: Keyfob, name: str, *flags: str) -> str:
    """What openssl says of an identity with the bench's CA and CRLs."""
    together = keyfob.home / "together.pem"
    together.write_bytes((keyfob.home / "ca" / "ca.cert.pem").read_bytes())
    together.write_bytes(together.read_bytes() + crl_file(keyfob).read_bytes())
    folder = keyfob.home / "certs" / "device" / name
    return openssl(
        "verify", *(flags or ("-crl_check",)), "-CAfile", together,
        "-untrusted", folder / "chain.pem", folder / "cert.pem", check=False,
    )  # fmt: skip


def test_a_revoked_certificate_is_refused_by_openssl_and_others_are_not(bench: Keyfob) -> None:
    shown = bench.json("cert", "revoke", "s-2", "--reason", "keyCompromise")
    assert [one["name"] for one in shown["revoked"]] == ["s-2"]
    assert "certificate revoked" in verdict(bench, "s-2")
    assert verdict(bench, "s-1").endswith(": OK\n")
    assert bench.states("s-2") == ["revoked"] and bench.states("s-1") == ["valid"]


def test_the_crl_is_version_2_with_key_identifier_number_and_reasons(bench: Keyfob) -> None:
    bench.json("cert", "revoke", "s-1", "--reason", "cessationOfOperation")
    bench.json("cert", "revoke", "s-2")
    ca = bench.home / "ca" / "ca.cert.pem"
    said = openssl("crl", "-in", crl_file(bench), "-noout", "-verify", "-CAfile", ca)
    assert "verify OK" in said
    text = crl_text(bench)
    assert "Version 2" in text and "Authority Key Identifier" in text
    assert text.count("CRL Reason Code") == 1  # RFC 5280 5.3.1: unspecified is left out
    assert "Cessation Of Operation" in text
    number = openssl("crl", "-in", crl_file(bench), "-noout", "-crlnumber")
    assert number == "crlNumber=0x02\n"
    assert stat.S_IMODE(crl_file(bench).stat().st_mode) == 0o644


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_is_one_that_openssl_knows(reason: str) -> None:
    made = Authority.ephemeral("CRL CA")
    crl = sign_crl(
        made.cert, made.key, [("1f", 1_700_000_000, reason)],
        number=7, this_update=NOW - DAY, next_update=NOW + DAY,
    )  # fmt: skip
    text = openssl("crl", "-noout", "-text", stdin=crl.public_bytes(Encoding.PEM))
    expected = {
        "keyCompromise": "Key Compromise", "cACompromise": "CA Compromise",
        "affiliationChanged": "Affiliation Changed", "superseded": "Superseded",
        "cessationOfOperation": "Cessation Of Operation",
        "privilegeWithdrawn": "Privilege Withdrawn",
    }.get(reason)  # fmt: skip
    assert (expected in text) if expected else ("Reason" not in text)
    assert "Revocation Date: Nov 14 22:13:20 2023 GMT" in text


def test_a_name_means_its_replaced_certificates_too_and_a_serial_one_only(bench: Keyfob) -> None:
    bench.json("cert", "list")
    bench.json("cert", "device", "s-1", "--force")
    shown = bench.json("cert", "revoke", "s-1")
    assert len(shown["revoked"]) == 2 and bench.states("s-1") == ["revoked", "revoked"]
    bench.json("cert", "device", "s-2", "--force")
    rows = [
        row for row in bench.json("cert", "list")["certificates"] if row["name"] == "s-2"
    ]  # fmt: skip
    old = next(row["serial"] for row in rows if row["state"] == "replaced")
    bench.json("cert", "revoke", old[:12], "--reason", "superseded")
    assert bench.states("s-2") == ["revoked", "valid"]
    assert verdict(bench, "s-2").endswith(": OK\n")


def test_a_second_revocation_changes_nothing(bench: Keyfob) -> None:
    bench.json("cert", "revoke", "s-1", "--reason", "keyCompromise")
    before = crl_file(bench).read_bytes()
    again = bench.json("cert", "revoke", "s-1", "--reason", "superseded")
    assert again["revoked"] == [] and again["already_revoked"][0]["name"] == "s-1"
    assert crl_file(bench).read_bytes() == before
    assert "before   device s-1" in bench.run("cert", "revoke", "s-1")[1]


def test_numbers_and_dates_only_grow(bench: Keyfob) -> None:
    numbers, dates = [], []
    for _ in range(4):
        (state,) = bench.json("ca", "crl")["crls"]
        numbers.append(state["number"])
        dates.append(datetime.fromisoformat(state["this_update"]))
    assert numbers == [1, 2, 3, 4]
    assert all(one < other for one, other in pairwise(dates))
    assert all(one <= NOW for one in dates)
    assert this_update_after(NOW, NOW) == NOW + timedelta(seconds=1)
    assert this_update_after(None, NOW) == NOW - BACKDATE


def test_numbers_grow_also_behind_a_crl_that_was_lost(bench: Keyfob) -> None:
    bench.json("cert", "revoke", "s-1")
    bench.json("ca", "crl")
    crl_file(bench).unlink()
    (state,) = bench.json("ca", "crl")["crls"]
    assert (state["number"], state["revoked"]) == (3, 1)


def test_a_lost_inventory_takes_its_revocations_from_the_crl(bench: Keyfob) -> None:
    bench.json("cert", "revoke", "s-1", "--reason", "keyCompromise")
    bench.json("ca", "crl")
    (bench.home / "certs" / "inventory.sqlite").unlink()
    assert bench.states("s-1") == ["revoked"]
    (state,) = bench.json("ca", "crl")["crls"]
    assert (state["number"], state["revoked"]) == (3, 1)
    assert "Key Compromise" in crl_text(bench)


def test_a_revocation_that_only_the_crl_has_is_kept(bench: Keyfob) -> None:
    """As after a kill between the file and the end of the transaction."""
    bench.json("ca", "crl")
    copy = shutil.copy(bench.home / "certs" / "inventory.sqlite", bench.home / "copy")
    bench.json("cert", "revoke", "s-1")
    shutil.move(copy, bench.home / "certs" / "inventory.sqlite")
    bench.json("cert", "revoke", "s-2")
    assert "certificate revoked" in verdict(bench, "s-1")
    (state,) = bench.json("ca", "crl")["crls"]
    assert (state["number"], state["revoked"]) == (4, 2)


def test_two_revocations_at_once_are_both_on_the_crl(bench: Keyfob) -> None:
    bench.json("cert", "list")
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "keyfob_host", "--json", "cert", "revoke", f"s-{number}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "KEYFOB_HOME": str(bench.home)},
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    assert [racer.wait(30) for racer in racers] == [0, 0, 0]
    assert len(x509.load_pem_x509_crl(crl_file(bench).read_bytes())) == 3


def test_what_cannot_be_revoked_is_told(bench: Keyfob) -> None:
    ca = bench.json("ca", "show")
    for arguments, code in (
        (("nobody",), "cert.unknown"),
        (("1234567",), "cert.unknown"),
        ((ca["serial"],), "cert.revoke-root"),
        (("s-1", "nobody"), "cert.unknown"),
    ):
        assert bench.error("cert", "revoke", *arguments)["code"] == code
    assert bench.run("cert", "revoke", "s-1", "--reason", "certificateHold")[0] == 2
    assert not crl_file(bench).exists() and bench.states("s-1") == ["valid"]
    bench.json("ca", "init", "--no-passphrase", "--force")
    assert bench.error("cert", "revoke", "s-1")["code"] == "cert.issuer-gone"


def test_a_name_of_a_broker_and_a_device_needs_its_kind(bench: Keyfob) -> None:
    bench.json("cert", "broker", "b.test")
    bench.json("cert", "device", "b.test")
    error = bench.error("cert", "revoke", "b.test")
    assert error["code"] == "cert.which" and error["fix"].endswith("--kind broker")
    assert bench.run(*error["fix"].split()[1:])[0] == 0
    assert bench.states("b.test") == ["revoked", "valid"]


def test_a_revoked_host_identity_is_replaced_in_the_same_go(bench: Keyfob) -> None:
    bench.json("cert", "broker", "b.test")
    bench.json("cert", "revoke", "keyfob-host")
    assert bench.states("keyfob-host") == ["revoked", "valid"]
    assert verdict(bench, "keyfob-host").endswith(": OK\n")


def test_on_a_timer_nothing_is_said_and_nothing_done_while_the_crl_is_fresh(
    bench: Keyfob,
) -> None:
    assert bench.run("ca", "crl", "--if-older-than", "7d")[0] == 0
    before = crl_file(bench).read_bytes()
    assert bench.run("ca", "crl", "--if-older-than", "7d") == (0, "", "")
    assert crl_file(bench).read_bytes() == before
    # Not even a key that nobody can open is asked for.
    (bench.home / "ca" / "ca.key.pem").write_bytes(b"")
    assert bench.run("ca", "crl", "--if-older-than", "7d") == (0, "", "")
    assert bench.error("ca", "crl", "--if-older-than", "a week")["code"] == "host.bad-duration"


@pytest.mark.parametrize(
    ("made", "ends", "span", "fresh"),
    [
        (-6 * DAY, 24 * DAY, 7 * DAY, True),
        (-8 * DAY, 22 * DAY, 7 * DAY, False),
        (-24 * DAY, 6 * DAY, 60 * DAY, False),  # the last quarter of its time
        (-2 * DAY, -DAY, 7 * DAY, False),
    ],
)
def test_a_crl_is_fresh_while_it_is_young_and_far_from_its_end(
    bench: Keyfob, made: timedelta, ends: timedelta, span: timedelta, fresh: bool
) -> None:
    authority = Authority.load(bench.home / "ca")
    _write(bench, authority, NOW + made - BACKDATE, NOW + ends)
    assert crls_are_fresh(Home(bench.home), span) is fresh


def _write(bench: Keyfob, authority: Authority, this: datetime, following: datetime) -> None:
    crl = sign_crl(
        authority.cert, authority.key, [], number=1, this_update=this, next_update=following
    )
    crl_file(bench).write_bytes(crl.public_bytes(Encoding.PEM))


def test_a_crl_that_would_shut_everybody_out_is_told_with_the_command_that_mends_it(
    bench: Keyfob, tmp_path: Path
) -> None:
    home = Home(bench.home)
    check_crls(home)  # none is no obstacle
    _write(bench, Authority.load(bench.home / "ca"), NOW - 9 * DAY, NOW - DAY)
    assert _refusal(home) == ("cert.crl-expired", "keyfob ca crl")
    assert bench.run("cert", "expiring")[0] == 9
    _write(bench, Authority.create(tmp_path / "other"), NOW - DAY, NOW + DAY)
    assert _refusal(home) == ("cert.crl-incomplete", "keyfob ca crl")
    assert bench.run("ca", "crl")[0] == 0
    check_crls(home)
    crl_file(bench).write_bytes(crl_file(bench).read_bytes()[:100])
    code, fix = _refusal(home)
    assert code == "cert.crl-unreadable"
    subprocess.run(fix.split(" && ")[0].split(), check=True)
    assert bench.run(*fix.split(" && ")[1].split()[1:])[0] == 0
    check_crls(home)


def test_a_crl_counts_as_expiring_in_the_last_quarter_of_its_time(bench: Keyfob) -> None:
    bench.json("ca", "crl")
    assert bench.run("cert", "expiring", "--within", "30d")[0] == 0
    authority = Authority.load(bench.home / "ca")
    _write(bench, authority, NOW - 25 * DAY, NOW + 5 * DAY)
    status, out, _ = bench.run("cert", "expiring", "--within", "30d")
    assert status == 9 and "crl " in out and "keyfob ca crl" in out
    assert bench.run("cert", "expiring", "--within", "4d")[0] == 0


def _refusal(home: Home) -> tuple[str, str]:
    with pytest.raises(KeyfobHostError) as refused:
        check_crls(home)
    return refused.value.code, refused.value.fix


def test_no_crl_is_left_half_written(bench: Keyfob) -> None:
    bench.json("ca", "crl")
    assert sorted(one.name for one in (bench.home / "ca").iterdir()) == [
        "ca.cert.pem", "ca.key.pem", "crl.pem",
    ]  # fmt: skip


def test_with_an_intermediate_there_is_a_crl_for_each_authority(two_tier: Keyfob) -> None:
    two_tier.json("cert", "revoke", "s-2")
    assert crl_file(two_tier).read_bytes().count(b"BEGIN X509 CRL") == 2
    assert verdict(two_tier, "s-1", "-crl_check_all").endswith(": OK\n")
    assert "certificate revoked" in verdict(two_tier, "s-2", "-crl_check_all")
    # With the root's key away its CRL stays as it was.
    (two_tier.home / "ca" / "ca.key.pem").unlink()
    states = two_tier.json("ca", "crl")["crls"]
    assert [(one["number"], one["signed"]) for one in states] == [(2, True), (1, False)]
    assert verdict(two_tier, "s-1", "-crl_check_all").endswith(": OK\n")


def test_a_revoked_intermediate_takes_its_own_crl_with_it(two_tier: Keyfob) -> None:
    two_tier.json("ca", "crl")
    name = two_tier.json("cert", "list", "--kind", "intermediate")["certificates"][0]["name"]
    shown = two_tier.json("cert", "revoke", name, "--kind", "intermediate")
    assert [one["kind"] for one in shown["revoked"]] == ["intermediate"]
    assert "certificate revoked" in verdict(two_tier, "s-1", "-crl_check_all") or (
        "unable to get certificate CRL" in verdict(two_tier, "s-1", "-crl_check_all")
    )
    assert two_tier.states("s-1") == ["orphaned"]
    assert _refusal(Home(two_tier.home))[0] == "cert.issuer-revoked"


def test_during_a_rollover_both_authorities_have_a_crl(bench: Keyfob) -> None:
    bench.json("ca", "crl")
    for step in (("begin", "--no-passphrase"), ("switch",)):
        status, _, err = bench.run("ca", "rollover", *step)
        assert status == 0, err
    bench.json("cert", "revoke", "s-2")  # of the former CA
    bench.json("cert", "device", "s-2", "--force")
    states = bench.json("ca", "crl")["crls"]
    assert [one["signed"] for one in states] == [True, True]
    assert sorted(one["revoked"] for one in states) == [0, 1]
    assert bench.states("s-1") == ["valid"] and bench.states("s-2") == ["revoked", "valid"]
    assert verdict(bench, "s-2").endswith(": OK\n")


def test_the_timer_can_be_pasted(bench: Keyfob, tmp_path: Path) -> None:
    text = bench.run("ca", "crl", "--show-timer", "--days", "14", "--if-older-than", "2d")[1]
    assert not crl_file(bench).exists()
    before, _, cron = text.partition("# or a line of cron")
    line = cron.splitlines()[-1].split(maxsplit=5)
    assert line[:5] == ["17", "3", "*", "*", "*"]
    command = line[5].replace("keyfob ca", f"{sys.executable} -m keyfob_host ca")
    assert f"KEYFOB_HOME={bench.home}" in command and "--days 14 --if-older-than 2d" in command
    script = before.replace("systemctl --user enable", "true")
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(["sh", "-e", "-c", script], check=True, env=environment)
    unit = (tmp_path / ".config/systemd/user/keyfob-crl.service").read_text()
    (start,) = [one for one in unit.splitlines() if one.startswith("ExecStart=")]
    subprocess.run(start.removeprefix("ExecStart=").split(), check=True)
    assert crl_file(bench).exists()


def test_the_timer_of_an_encrypted_ca_says_where_the_passphrase_is_read(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    keyfob.json("ca", "init", "--passphrase-file", str(secret))
    text = keyfob.run("ca", "crl", "--show-timer", "--passphrase-file", str(secret))[1]
    assert f"--passphrase-file {secret}" in text and "correct" not in text
    assert "install -D -m 600" in keyfob.run("ca", "crl", "--show-timer")[1]
    assert keyfob.error("ca", "crl")["code"] == "cert.passphrase-needed"
    assert keyfob.run("ca", "crl", "--passphrase-file", str(secret))[0] == 0
