"""``keyfob cert renew``: what stays, what changes, who is left alone."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity, read_issued
from keyfob_host.pki.request import read_request

NOW = datetime.now(timezone.utc)
_FROM_KEYS = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


@pytest.fixture
def bench(keyfob: Keyfob) -> Keyfob:
    Authority.create(keyfob.home / "ca")
    return keyfob


def folder(bench: Keyfob, name: str, kind: str = "device") -> Path:
    return bench.home / "certs" / kind / name


def extensions(cert: x509.Certificate) -> list[tuple[object, bool]]:
    return sorted(
        ((one.value, one.critical) for one in cert.extensions
         if not isinstance(one.value, _FROM_KEYS)),
        key=repr,
    )  # fmt: skip


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_subject_names_usages_and_length_of_life_stay(bench: Keyfob, key_type: str) -> None:
    bench.json(
        "cert", "broker", "b.test", "--san", "192.0.2.7", "--days", "20", "--key-type", key_type
    )
    before = Identity.read(folder(bench, "b.test", "broker"))
    bench.json("cert", "renew", "b.test")
    after = Identity.read(folder(bench, "b.test", "broker"))
    assert after.cert.subject == before.cert.subject
    assert extensions(after.cert) == extensions(before.cert)
    assert len(extensions(after.cert)) >= 4
    assert after.cert.serial_number != before.cert.serial_number
    assert after.cert.public_key() != before.cert.public_key()
    for cert in (before.cert, after.cert):
        assert (cert.not_valid_after_utc - NOW) // timedelta(days=1) in (19, 20)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", bench.home / "ca" / "ca.cert.pem",
         "-purpose", "sslserver", folder(bench, "b.test", "broker") / "cert.pem"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.endswith(": OK\n"), done.stderr
    assert bench.states("b.test") == ["replaced", "valid"]


def test_the_key_stays_when_asked_for_and_days_may_differ(bench: Keyfob) -> None:
    bench.json("cert", "device", "s-1")
    before = (folder(bench, "s-1") / "key.pem").read_bytes()
    bench.json("cert", "renew", "s-1", "--keep-key", "--days", "7")
    assert (folder(bench, "s-1") / "key.pem").read_bytes() == before
    renewed = Identity.read(folder(bench, "s-1"))
    assert (renewed.cert.not_valid_after_utc - NOW).days in (6, 7)
    bench.json("cert", "renew", "s-1", "--new-key")
    assert (folder(bench, "s-1") / "key.pem").read_bytes() != before


def test_a_certificate_from_a_request_keeps_its_key(bench: Keyfob) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s-1")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    authority = Authority.load(bench.home / "ca")
    authority.issue_from_request(read_request(pem, source="test")).write(folder(bench, "s-1"))
    assert bench.error("cert", "renew", "s-1", "--new-key")["code"] == "cert.key-elsewhere"
    (renewed,) = bench.json("cert", "renew", "s-1")["renewed"]
    assert renewed["key"] == "key elsewhere"
    cert = read_issued(folder(bench, "s-1")).cert
    assert (
        cert.public_key() == key.public_key() and f"{cert.serial_number:x}" != renewed["replaced"]
    )
    assert not (folder(bench, "s-1") / "key.pem").exists()


def test_all_that_end_soon_are_renewed_and_others_left_alone(bench: Keyfob) -> None:
    for name, days in (("soon-1", 9), ("soon-2", 12), ("late", 90)):
        bench.json("cert", "device", name, "--days", str(days))
    late = (folder(bench, "late") / "cert.pem").read_bytes()
    renewed = bench.json("cert", "renew", "--expiring-within", "2w", "--days", "60")["renewed"]
    assert [one["name"] for one in renewed] == ["soon-1", "soon-2"]
    assert (folder(bench, "late") / "cert.pem").read_bytes() == late
    assert bench.json("cert", "renew", "--expiring-within", "2w")["renewed"] == []
    assert bench.run("cert", "expiring", "--within", "2w")[0] == 0


def test_of_brokers_with_one_common_name_the_folder_tells_which(
    bench: Keyfob, tmp_path: Path
) -> None:
    profile = tmp_path / "one-name.toml"
    profile.write_text(
        'kind = "broker"\nkey_type = "p256"\ndays = 9\nextended_key_usage = ["serverAuth"]\n'
        '[subject]\ncommon_name = "one.test"\n'
    )
    for name in ("a.test", "b.test"):
        bench.json("cert", "broker", name, "--profile", profile)
    refused = bench.error("cert", "renew", "one.test")
    assert refused["code"] == "cert.which"
    assert refused["fix"] == "keyfob cert renew a.test b.test"
    _, out, _ = bench.run("--json", "cert", "expiring", "--within", "2w")
    fixes = [one["fix"] for one in json.loads(out)["expiring"]]
    assert fixes == ["keyfob cert renew a.test", "keyfob cert renew b.test"]
    for fix in fixes:
        bench.json(*fix.split()[1:], "--days", "60")
    assert bench.run("cert", "expiring", "--within", "2w")[0] == 0


def test_a_certificate_of_a_former_ca_is_renewed_by_the_present_one(bench: Keyfob) -> None:
    bench.json("cert", "device", "s-1")
    bench.json("ca", "init", "--no-passphrase", "--force")
    bench.json("cert", "renew", "s-1")
    assert bench.states("s-1") == ["replaced", "valid"]


def test_after_a_revocation_the_key_is_a_new_one(bench: Keyfob) -> None:
    bench.json("cert", "device", "s-1")
    before = (folder(bench, "s-1") / "key.pem").read_bytes()
    bench.json("cert", "revoke", "s-1", "--reason", "keyCompromise")
    assert bench.error("cert", "renew", "s-1", "--keep-key")["code"] == "cert.key-revoked"
    bench.json("cert", "renew", "s-1")
    assert (folder(bench, "s-1") / "key.pem").read_bytes() != before
    assert bench.states("s-1") == ["revoked", "valid"]


def test_what_cannot_be_renewed_is_told(bench: Keyfob) -> None:
    bench.json("cert", "device", "b.test")
    bench.json("cert", "broker", "b.test")
    assert bench.error("cert", "renew", "nobody")["code"] == "cert.unknown"
    assert bench.error("cert", "renew", "b.test")["code"] == "cert.which"
    assert bench.json("cert", "renew", "b.test", "--kind", "device")["renewed"]
    assert bench.run("cert", "renew")[0] == 2
    assert bench.run("cert", "renew", "b.test", "--expiring-within", "1d")[0] == 2
    # The CA itself is none of it.
    ca = bench.json("ca", "show")["subject"].removeprefix("CN=")
    assert bench.error("cert", "renew", ca)["code"] == "cert.unknown"


def test_a_life_that_the_end_of_the_ca_cut_short_is_whole_again_under_the_next(
    keyfob_near_end: Keyfob,
) -> None:
    bench = keyfob_near_end
    _, _, err = bench.run("cert", "device", "sensor-01")
    assert "the CA ends on" in err  # five years were wanted
    _, _, err = bench.run("cert", "devices", "--count", "1", "--pattern", "s-{}")
    assert "the CA ends on" in err
    _, _, err = bench.run("cert", "renew", "sensor-01")
    assert "the CA ends on" in err
    assert bench.json("cert", "show", "sensor-01")["certificates"][0]["days_left"] == 39
    (found,) = [one for one in bench.json("cert", "list")["certificates"] if one["kind"] == "ca"]
    status, out, _ = bench.run("cert", "expiring", "--within", "50d")
    assert status == 9 and "keyfob ca rollover begin" in out and found["state"] == "valid"
    bench.json("ca", "rollover", "begin", "--no-passphrase")
    bench.json("ca", "rollover", "switch")
    bench.json("cert", "renew", "sensor-01")
    assert bench.json("cert", "show", "sensor-01")["certificates"][0]["days_left"] == 1824


@pytest.fixture
def keyfob_near_end(keyfob: Keyfob) -> Keyfob:
    keyfob.json("ca", "init", "--no-passphrase", "--days", "40")
    return keyfob


def test_a_key_that_was_revoked_gets_no_certificate_by_any_command(
    bench: Keyfob, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for name in ("sensor-01", "sensor-02"):
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .sign(key, hashes.SHA256())
        )
        (tmp_path / f"{name}.csr").write_bytes(request.public_bytes(serialization.Encoding.PEM))
    first = tmp_path / "sensor-01.csr"
    bench.json("cert", "device", "--csr", first)
    _, _, err = bench.run("cert", "device", "--csr", tmp_path / "sensor-02.csr")
    assert "this key has a certificate as sensor-01 too" in err
    bench.json("cert", "revoke", "sensor-01", "--reason", "keyCompromise")
    plan = tmp_path / "plan.toml"
    plan.write_text('[[device]]\nname = "sensor-01"\n')
    for command in (
        ("cert", "device", "--csr", first, "--force"),
        ("cert", "device", "--csr", tmp_path / "sensor-02.csr", "--force"),
        ("cert", "renew", "sensor-01"),
        ("cert", "renew", "sensor-02"),
        ("cert", "make", plan),
    ):
        refused = bench.error(*command)
        assert refused["code"] == "cert.key-revoked" and "keyCompromise" in refused["evidence"]


def test_a_ca_that_is_not_valid_yet_by_this_clock_signs_nothing(bench: Keyfob) -> None:
    later = NOW + timedelta(days=400)
    authority = Authority.ephemeral(not_before=later, not_after=later + timedelta(days=4000))
    with pytest.raises(KeyfobHostError) as refused:
        authority.issue_device("sensor-01")
    assert refused.value.code == "ca.not-yet-valid" and "date -u" in refused.value.fix
