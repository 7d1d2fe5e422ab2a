"""The linter beside other verifiers, and on what has nothing wrong.

239 chains, good and broken in one place, are judged by the device's verifier in
tests/unit; what that refuses is an error here, and what it takes is none.
"""

from __future__ import annotations

import datetime
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from judges import openssl
from lint_rig import VECTORS, errors, findings, identity
from x509_cases_forms import cases

from keyfob_host.cli import main
from keyfob_host.lint import Context, check
from keyfob_host.pki.authority import Authority

# What a board judges and a file cannot show: the key exchange, pins, and how much work a
# chain makes. And a limit of the TLS engine in front of the verifier's.
NOT_OF_FILES = {
    "key usage ('digital_signature',) for 20": "the RSA key exchange",
    "not pinned": "pins",
    "nine anchors of one name": "work",
    "too many comparisons": "work",
}
STRICTER = {"eight certificates": "lint.chain-too-long"}


@pytest.fixture(autouse=True)
def quick_collector() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def test_what_the_device_refuses_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    judged = 0
    for number, case in enumerate(cases()):
        if not case.chain:
            continue
        folder = identity(tmp_path / str(number) / "broker" / "x", case.chain, case.anchors)
        at = datetime.datetime.fromtimestamp(case.now_s, datetime.timezone.utc)
        found = errors(findings(folder, host=case.host, at=at))
        judged += 1
        if case.name in NOT_OF_FILES:
            assert not found, (case.name, found)
        elif case.name in STRICTER:
            assert found == [STRICTER[case.name]], case.name
        else:
            assert bool(found) == bool(case.code), (case.name, case.code, found)
    assert judged > 200


def test_a_version_1_ca_is_no_ca_and_has_no_common_name() -> None:
    found = findings(VECTORS / "broker-ca-v1.pem")
    assert [one.code for one in found] == ["lint.not-v3", "lint.not-ca", "lint.no-common-name"]
    assert "version 1" in found[0].evidence and "basic constraints: none" in found[1].evidence
    # It is somebody else's: a fix that is pasted must not cost the bench its own CA.
    assert {one.fix for one in found} == {"keyfob ca init"}


def test_a_version_1_device_has_no_extension_at_all() -> None:
    found = findings(VECTORS / "device-x509v1.pem")
    assert [one.code for one in found] == [
        "lint.not-v3", "lint.no-basic-constraints", "lint.no-purpose", "lint.no-san",
    ]  # fmt: skip
    assert "no extensions" in found[0].evidence


def test_a_secure_elements_request_has_nothing_wrong() -> None:
    assert findings(VECTORS / "ecc508-csr.pem") == []


@pytest.fixture(params=["p256", "rsa2048"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    """Made with the commands, as a user does."""
    home = tmp_path / "home"
    monkeypatch.setenv("KEYFOB_HOME", str(home))
    kind = request.param
    for arguments in (
        ["ca", "init", "--no-passphrase"],
        ["cert", "broker", "broker.keyfob.test", "--san", "192.0.2.7", "--key-type", kind],
        ["cert", "device", "sensor-01", "--key-type", kind],
        ["cert", "device", "Sensor_02:x", "--key-type", kind],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    return home, kind


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def test_a_clean_bench_has_no_findings(bench: tuple[Path, str]) -> None:
    home, kind = bench
    boards = ["virtual-esp32", "esp32"] + ["virtual-esp8266"] * (kind == "p256")
    for board in (None, *boards):
        assert findings(home, board=board, at=now()) == []
    broker = home / "certs" / "broker" / "broker.keyfob.test"
    for host in ("broker.keyfob.test", "192.0.2.7"):
        assert findings(broker, host=host, at=now()) == []
    loose = [broker / name for name in ("chain.pem", "ca.pem", "key.pem")]
    assert findings(*loose, role="broker", at=now()) == []


def test_what_openssl_issues_right_has_no_findings(bench: tuple[Path, str], tmp_path: Path) -> None:
    home, kind = bench
    newkey = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "p256" else ["rsa:2048"]
    extensions = tmp_path / "extensions"
    for role, name, lines in (
        ("broker", "broker.keyfob.test", ["extendedKeyUsage=serverAuth",
         "subjectAltName=DNS:broker.keyfob.test,IP:2001:db8::7"]),
        ("device", "sensor-09", ["extendedKeyUsage=clientAuth", "subjectAltName=DNS:sensor-09"]),
    ):  # fmt: skip
        extensions.write_text("\n".join([
            "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
            "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", *lines,
        ]))  # fmt: skip
        key, request, cert = (tmp_path / f"{name}.{end}" for end in ("key", "csr", "crt"))
        openssl("req", "-new", "-newkey", *newkey, "-nodes", "-keyout", key, "-out", request,
                "-subj", f"/CN={name}")  # fmt: skip
        ca = home / "ca" / "ca.cert.pem"
        openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", home / "ca" / "ca.key.pem",
                "-out", cert, "-days", "300", "-extfile", extensions, "-CAcreateserial",
                "-CAserial", tmp_path / "serial")  # fmt: skip
        later = now() + datetime.timedelta(hours=25)
        assert check([cert, key, request, ca], Context(later), None) == [], role


def test_an_encrypted_ca_key_is_as_it_should_be(tmp_path: Path) -> None:
    Authority.create(tmp_path / "ca", passphrase=b"correct horse")
    assert findings(tmp_path / "ca", at=now()) == []
