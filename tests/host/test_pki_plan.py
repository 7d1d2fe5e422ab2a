"""Plans: all that hand-edited scripts made, from one file and a few variables."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)
from keyfob_rig import VECTORS, Keyfob, secret_file

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.plan import load_plan

ORG = "abc123.messaging.internetofthings.ibmcloud.com"
WATSON = ("cert", "make", "watson-like", "--var", "org=abc123")
ONE = """\
[ca]
export = ["der"]

[[broker]]
name = "{broker}"
san = ["IP:{address}"]
export = ["pem", "p12", "nvs-csv"]
key = "clear"

[[device]]
name = "sensor-01"
profile = "./small.toml"

[variables]
broker = "b.test"
"""
NAMELESS = "[[device]]\nname = 1\n[variables]"
TWICE = '[[device]]\nname = "sensor-01"\n[variables]'
SMALL = """\
kind = "device"
key_type = "p256"
days = 30
extended_key_usage = ["clientAuth"]
crl_distribution_point = "http://ca.test/{site}.crl"

[subject]
common_name = "{name}"
organization = "{site}"
"""


@pytest.fixture
def secret(tmp_path: Path) -> tuple[str, str]:
    return ("--passphrase-file", str(secret_file(tmp_path, "correct horse\n")))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A plan of one's own, with a profile beside it."""
    (tmp_path / "small.toml").write_text(SMALL)
    path = tmp_path / "mine.toml"
    path.write_text(ONE)
    return path


def states(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["reason"] for one in report["certificates"]}


def files_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and its time: what a run changed, or did not."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "inventory.sqlite")
    }


def test_one_command_makes_all_that_the_scripts_made(
    keyfob: Keyfob, secret: tuple[str, str], tmp_path: Path
) -> None:
    """System S3: CA and server certificate in PEM, DER and C, keys encrypted, org in CN and SAN."""
    out = tmp_path / "made"
    report = keyfob.json(*WATSON, "--out", out, *secret)
    assert report["ca_made"] and states(report) == {"ca": "", ORG: "new", "sensor-01": "new"}
    broker = out / "broker" / ORG
    cert = x509.load_pem_x509_certificate((broker / "cert.pem").read_bytes())
    assert cert.subject.rfc4514_string() == f"CN={ORG},OU=abc123,O=Keyfob bench"
    sans = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(sans) == [x509.DNSName(ORG)]
    for form in ("ca.pem", "ca.der", "ca.h"):
        assert (out / "ca" / form).stat().st_size > 400
    ca = x509.load_der_x509_certificate((out / "ca" / "ca.der").read_bytes())
    cert.verify_directly_issued_by(ca)
    assert x509.load_der_x509_certificate((broker / "cert.der").read_bytes()) == cert
    key = broker / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in key.read_bytes()
    opened = load_pem_private_key(key.read_bytes(), b"correct horse")
    assert opened.public_key() == cert.public_key()
    assert b"BEGIN ENCRYPTED" in (keyfob.home / "ca" / "ca.key.pem").read_bytes()
    assert "PRIVATE KEY" not in "".join(
        path.read_text(errors="replace")
        for path in out.rglob("*")
        if path.is_file() and path != key
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_accepts_what_a_plan_made(
    keyfob: Keyfob, secret: tuple[str, str], tmp_path: Path
) -> None:
    keyfob.json(*WATSON, "--out", tmp_path / "made", *secret)
    folder = tmp_path / "made" / "broker" / ORG
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", ORG,
         "-CAfile", folder / "ca.pem", folder / "cert.pem"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_run_changes_nothing_and_needs_no_passphrase(
    keyfob: Keyfob, secret: tuple[str, str]
) -> None:
    keyfob.json(*WATSON, *secret)
    before = files_below(keyfob.home)
    report = keyfob.json(*WATSON)
    assert files_below(keyfob.home) == before
    assert not report["ca_made"] and set(states(report).values()) == {""}
    assert not any(one["written"] for one in report["certificates"])
    status, out, err = keyfob.run(*WATSON)
    assert status == 0
    assert "all of it is there and good, nothing was changed" in out
    assert f"broker   {ORG}: still good" in err


def test_force_issues_anew_but_never_the_ca(keyfob: Keyfob, secret: tuple[str, str]) -> None:
    first = keyfob.json(*WATSON, *secret)
    again = keyfob.json(*WATSON, "--force", *secret)
    old, new = ({one["name"]: one["sha256"] for one in report["certificates"]}
                for report in (first, again))  # fmt: skip
    assert [name for name in old if old[name] == new[name]] == ["ca"]
    key = Path(again["out"]) / "broker" / ORG / "key.pem"
    cert = x509.load_pem_x509_certificate((key.parent / "cert.pem").read_bytes())
    assert load_pem_private_key(key.read_bytes(), b"correct horse").public_key() == (
        cert.public_key()
    )


def test_a_plan_of_ones_own_has_its_profiles_beside_it(keyfob: Keyfob, mine: Path) -> None:
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall")
    report = keyfob.json(*make, "--no-passphrase")
    device = Path(report["certificates"][2]["folder"])
    (shown,) = keyfob.json("cert", "show", device)["certificates"]
    assert shown["subject"] == "CN=sensor-01,O=Hall"
    assert shown["crl_distribution_points"] == ["http://ca.test/Hall.crl"]
    (shown,) = keyfob.json("cert", "show", "b.test")["certificates"]
    assert shown["sans"] == ["DNS:b.test", "IP:192.0.2.7"]
    place = Path(report["out"]) / "broker" / "b.test"
    assert sorted(path.name for path in place.iterdir()) == [
        "b.test.csv", "ca.pem", "cert.pem", "chain.pem", "key.pem",
    ]  # fmt: skip
    assert report["certificates"][1]["left_out"] == [str(place / "b.test.p12")]
    assert b"BEGIN PRIVATE KEY" in (place / "key.pem").read_bytes()
    assert states(keyfob.json(*make, "--no-passphrase")) == dict.fromkeys(
        ("ca", "b.test", "sensor-01"), ""
    )


def test_a_p12_of_a_plan_opens_with_its_passphrase(
    keyfob: Keyfob, mine: Path, secret: tuple[str, str]
) -> None:
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall")
    report = keyfob.json(*make, *secret)
    path = Path(report["out"]) / "broker" / "b.test" / "b.test.p12"
    held = pkcs12.load_pkcs12(path.read_bytes(), b"correct horse")
    assert held.cert is not None and held.key is not None
    assert held.cert.certificate.public_key() == held.key.public_key()


@pytest.mark.parametrize(
    ("change", "name", "why"),
    [
        (("days = 30", "days = 31"), "sensor-01", ""),  # how long is no matter of good or bad
        (('"{site}"', '"Other"'), "sensor-01", "its subject was CN=sensor-01,O=Hall"),
        (('"p256"', '"rsa2048"'), "sensor-01", "its key was p256"),
        (('"clientAuth"', '"clientAuth", "serverAuth"'), "sensor-01", "its usage was clientAuth"),
        (("ca.test", "crl.test"), "sensor-01", "its CRL was at http://ca.test/Hall.crl"),
    ],
)
def test_what_is_not_as_the_plan_wants_it_is_made_anew_and_says_why(
    keyfob: Keyfob, mine: Path, change: tuple[str, str], name: str, why: str
) -> None:
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall",
            "--no-passphrase")  # fmt: skip
    keyfob.json(*make)
    profile = mine.parent / "small.toml"
    profile.write_text(profile.read_text().replace(*change))
    report = states(keyfob.json(*make))
    assert report == {"ca": "", "b.test": "", "sensor-01": "", name: why}


def test_another_address_expiry_revocation_and_another_ca_are_noticed(
    keyfob: Keyfob, mine: Path
) -> None:
    def run(address: str = "192.0.2.7") -> dict[str, str]:
        site = ("--var", "site=Hall", "--no-passphrase")
        return states(keyfob.json("cert", "make", mine, "--var", f"address={address}", *site))

    run()
    assert run("192.0.2.8")["b.test"] == "its names were DNS:b.test, IP:192.0.2.7"
    # The same in every point but the end.
    authority = Authority.load(keyfob.home / "ca")
    given = {"address": "192.0.2.8", "site": "Hall"}
    (broker, device) = load_plan(str(mine), given).wanted
    assert (broker.name, device.name) == ("b.test", "sensor-01")
    ends = authority.issue_device("sensor-01", profile=device.profile, days=1)
    ends.write(Home(keyfob.home).certs_dir / "device" / "sensor-01", force=True)
    assert run("192.0.2.8")["sensor-01"].startswith("its end was ")
    keyfob.json("cert", "revoke", "sensor-01")
    assert run("192.0.2.8") == {"ca": "", "b.test": "", "sensor-01": "it was revoked"}
    keyfob.json("ca", "init", "--no-passphrase", "--force")
    assert set(run("192.0.2.8").values()) == {"", "it was from another CA"}


def test_a_device_whose_key_is_elsewhere_keeps_its_key(keyfob: Keyfob, mine: Path) -> None:
    mine.write_text(ONE.replace("sensor-01", "mymkr"))
    keyfob.json("ca", "init", "--no-passphrase")
    first = keyfob.json("cert", "device", "--csr", VECTORS / "ecc508-csr.pem")
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall")
    report = keyfob.json(*make, "--no-passphrase")
    assert states(report)["mymkr"] == "its subject was CN=mymkr"
    folder = Path(first["folder"])
    assert (folder / "request.pem").exists() and not (folder / "key.pem").exists()
    cert = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    csr = x509.load_pem_x509_csr((VECTORS / "ecc508-csr.pem").read_bytes())
    assert cert.public_key() == csr.public_key()


def test_a_plan_with_an_intermediate_makes_both_authorities(keyfob: Keyfob) -> None:
    report = keyfob.json("cert", "make", "bench", "--no-passphrase", "--var", "address=192.0.2.7")
    shown = keyfob.json("ca", "show")
    assert shown["issuing"]["issuer"] == shown["subject"]
    (cert, issuing) = keyfob.json("cert", "show", "sensor-01")["certificates"]
    assert (cert["issuer"], issuing["subject"]) == (issuing["subject"], cert["issuer"])
    assert set(states(report).values()) == {"", "new"}


def test_every_plan_that_ships_is_good() -> None:
    given = {"watson-like": {"org": "abc123"}}
    names = [path.stem for path in (data_path("certs") / "plans").glob("*.toml")]
    assert sorted(names) == ["bench", "watson-like"]
    for name in names:
        assert load_plan(name, given.get(name, {})).wanted


@pytest.mark.parametrize(
    ("old", "new", "code", "seen"),
    [
        ("[[device]]", "[[gadget]]", "toml.unknown-field", "gadget"),
        ('["der"]', '["jks"]', "toml.out-of-range", "mine.toml:2: ca.export[0]"),
        ('"clear"', '"plain"', "toml.out-of-range", "mine.toml:8: broker[0].key"),
        ('"IP:{address}"', '"IP:{adress}"', "cert.variable-missing", "mine.toml:6: broker[0].san"),
        ('"IP:{address}"', '"IP:{address}.9"', "cert.bad-san", "192.0.2.7.9"),
        ('"sensor-01"', '"keyfob-host"', "cert.reserved-id", "keyfob-host"),
        ('"sensor-01"', '"a/b"', "cert.bad-id", "'/'"),
        ('"./small.toml"', '"broker"', "toml.out-of-range", "broker.toml"),
        ('"./small.toml"', '"smal"', "cert.profile-unknown", "watson-like"),
        ('"./small.toml"', '"./smal.toml"', "file.missing", "smal.toml"),
        ('broker = "b.test"', 'broker = "b.test"\nx = "y"', "toml.out-of-range", "variables.x"),
        ('broker = "b.test"', 'broker = "{b}"', "cert.variable-bad", "{b}"),
        ("[variables]", NAMELESS, "toml.wrong-type", "mine.toml:15: device[1].name"),
        ("[variables]", TWICE, "cert.plan-twice", "sensor-01"),
    ],
)  # fmt: skip
def test_a_faulty_plan_is_refused_before_anything_is_made(
    keyfob: Keyfob, mine: Path, old: str, new: str, code: str, seen: str
) -> None:
    mine.write_text(ONE.replace(old, new))
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall")
    error = keyfob.error(*make, "--no-passphrase")
    told = error["evidence"].replace(f"{mine.parent}/", "")
    assert (error["code"], seen in told) == (code, True), error
    assert not (keyfob.home / "ca").exists()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((), "cert.variable-missing"),
        (("org=abc123", "color=red"), "cert.variable-unknown"),
        (("org=abc123", "orgg=x"), "cert.variable-unknown"),
        (("org=abc123", "name=x"), "cert.variable-bad"),
        (("org",), "cert.variable-bad"),
        (("org=",), "cert.variable-bad"),
        (("Org=abc123",), "cert.variable-bad"),
        (("org=a", "org=b"), "cert.variable-bad"),
        (("org=a\nb",), "cert.variable-bad"),
        (("org={name}",), "cert.variable-bad"),
        (("org=a b",), "cert.bad-id"),
    ],
)
def test_variables_are_taken_strictly(keyfob: Keyfob, given: tuple[str, ...], code: str) -> None:
    options = [part for one in given for part in ("--var", one)]
    error = keyfob.error("cert", "make", "watson-like", "--no-passphrase", *options)
    assert error["code"] == code
    assert not (keyfob.home / "ca").exists()


def test_plans_and_profiles_are_not_taken_for_each_other(keyfob: Keyfob) -> None:
    certs = data_path("certs")
    error = keyfob.error("cert", "make", certs / "device.toml")
    assert error["code"] == "cert.plan-is-profile"
    assert keyfob.error("cert", "make", "device")["code"] == "cert.plan-unknown"
    keyfob.json("ca", "init", "--no-passphrase")
    error = keyfob.error("cert", "device", "a", "--profile", certs / "plans" / "bench.toml")
    assert error["code"] == "cert.profile-is-plan"


def test_without_a_terminal_the_passphrase_must_be_said(keyfob: Keyfob) -> None:
    error = keyfob.error(*WATSON)
    assert error["code"] == "ca.passphrase-undecided"
    assert "keyfob cert make watson-like" in error["fix"]
    keyfob.json("ca", "init", "--no-passphrase")
    error = keyfob.error(*WATSON)
    assert error["code"] == "export.passphrase-needed"
    assert error["status"] == ExitStatus.IDENTITY
    report = keyfob.json(*WATSON, "--no-passphrase")
    broker = report["certificates"][1]
    assert broker["left_out"] == [str(Path(report["out"]) / "broker" / ORG / "key.pem")]


def test_a_key_export_that_cannot_be_encrypted_anew_does_not_stay(
    keyfob: Keyfob, secret: tuple[str, str]
) -> None:
    keyfob.json("ca", "init", "--no-passphrase")
    report = keyfob.json(*WATSON, *secret)
    key = Path(report["out"]) / "broker" / ORG / "key.pem"
    assert key.exists()
    keyfob.json(*WATSON, "--force", "--no-passphrase")
    assert not key.exists()  # it would be that of the certificate before


def test_two_at_once_make_one_bench(keyfob: Keyfob) -> None:
    command = [sys.executable, "-m", "keyfob_host", "--json", *WATSON, "--no-passphrase"]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reports = []
    for racer in racers:
        out, err = racer.communicate(timeout=60)
        assert racer.returncode == 0, err
        reports.append(json.loads(out))
    assert sorted(report["ca_made"] for report in reports) == [False, True]
    assert len({json.dumps([one["sha256"] for one in r["certificates"]]) for r in reports}) == 1


def test_der_keys_of_a_plan_are_as_boards_read_them(keyfob: Keyfob, mine: Path) -> None:
    mine.write_text(ONE.replace('"p12", "nvs-csv"', '"der"'))
    make = ("cert", "make", mine, "--var", "address=192.0.2.7", "--var", "site=Hall")
    report = keyfob.json(*make, "--no-passphrase")
    path = Path(report["out"]) / "broker" / "b.test" / "key.der"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes()[2:7] == bytes.fromhex("0201010420")  # SEC 1 C.4
    assert load_der_private_key(path.read_bytes(), None)


def test_the_linter_finds_nothing_in_what_a_plan_made_and_exported(
    keyfob: Keyfob, secret: tuple[str, str], tmp_path: Path
) -> None:
    keyfob.json(*WATSON, *secret, "--out", str(tmp_path / "made"))
    for folder in ((), (tmp_path / "made" / "device",)):
        assert keyfob.json("cert", "check", *folder)["findings"] == []
    # Another program asks for the passphrase; a board or mosquitto cannot.
    exported = keyfob.run("--json", "cert", "check", tmp_path / "made" / "broker")[1]
    assert {one["code"] for one in json.loads(exported)["findings"]} == {"lint.key-encrypted"}
