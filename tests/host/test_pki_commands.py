"""``keyfob ca`` and ``keyfob cert`` as a person or a script runs them."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from keyfob_rig import VECTORS, Keyfob, on_a_terminal, secret_file

from keyfob_host.errors import ExitStatus
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity


def test_init_broker_device_show(with_ca: Keyfob) -> None:
    ca = with_ca.json("ca", "show")
    assert ca["is_authority"] and not ca["key_encrypted"] and ca["days_left"] > 3600
    broker = with_ca.json(
        "cert", "broker", "broker.keyfob.test", "--san", "192.0.2.7", "--san", "DNS:b.test",
        "--san", "BROKER.keyfob.test",
    )  # fmt: skip
    assert broker["sans"] == ["DNS:broker.keyfob.test", "IP:192.0.2.7", "DNS:b.test"]
    assert broker["extended_key_usage"] == ["serverAuth"]
    device = with_ca.json(
        "cert", "device", "sensor-01", "--key-type", "rsa2048", "--days", "30"
    )  # fmt: skip
    assert (device["key_type"], device["issuer"]) == ("rsa2048", ca["subject"])
    assert device["days_left"] in (29, 30)
    (shown,) = with_ca.json("cert", "show", "sensor-01")["certificates"]
    assert shown["sha256"] == device["sha256"]
    for what in (device["folder"], f"{device['folder']}/cert.pem", "ca", with_ca.home / "ca"):
        assert with_ca.json("cert", "show", what)["certificates"]
    # The host's own identity came with the broker's, while the CA's key was open.
    assert Identity.read(with_ca.home / "certs" / "device" / "keyfob-host").name == "keyfob-host"


def test_people_are_shown_lines_and_the_next_command(with_ca: Keyfob) -> None:
    status, out, _ = with_ca.run("cert", "device", "sensor-01")
    assert status == 0
    assert "subject  CN=sensor-01\n" in out and "clientAuth" in out and "next" in out


def test_foreign_certificates_can_be_shown(keyfob: Keyfob, tmp_path: Path) -> None:
    (old,) = keyfob.json("cert", "show", VECTORS / "device-x509v1.pem")["certificates"]
    assert old["version"] == 1 and old["sans"] == [] and not old["is_authority"]
    made = Authority.ephemeral("DER CA")
    (tmp_path / "ca.der").write_bytes(made.cert_der())
    (shown,) = keyfob.json("cert", "show", tmp_path / "ca.der")["certificates"]
    assert shown["subject"] == "CN=DER CA" and shown["path_length"] == 0


def test_an_existing_name_needs_force(with_ca: Keyfob) -> None:
    first = with_ca.json("cert", "device", "sensor-01")
    assert with_ca.error("cert", "device", "sensor-01")["code"] == "cert.exists"
    again = with_ca.json("cert", "device", "sensor-01", "--force")
    assert again["serial"] != first["serial"]
    assert with_ca.error("ca", "init", "--no-passphrase")["code"] == "ca.exists"
    old = with_ca.json("ca", "show")
    assert with_ca.json("ca", "init", "--no-passphrase", "--force")["sha256"] != old["sha256"]


def test_ca_init_takes_name_key_type_and_days(keyfob: Keyfob) -> None:
    made = keyfob.json(
        "ca", "init", "--no-passphrase", "--common-name", "Hall 3", "--key-type", "rsa2048",
        "--days", "10",
    )  # fmt: skip
    assert (made["subject"], made["key_type"], made["days_left"]) == ("CN=Hall 3", "rsa2048", 9)
    status, out, err = keyfob.run("--json", "cert", "device", "a", "--days", "11")
    assert status == 0 and json.loads(out)["not_after"] == made["not_after"]
    _, _, err = keyfob.run("cert", "device", "b", "--days", "11")
    assert "the CA ends on" in err


def test_without_a_terminal_the_protection_of_the_key_must_be_said(keyfob: Keyfob) -> None:
    error = keyfob.error("ca", "init")
    assert error["code"] == "ca.passphrase-undecided"
    assert "--no-passphrase" in error["fix"] and "--passphrase-file" in error["fix"]
    assert not (keyfob.home / "ca").exists()


def test_a_passphrase_from_a_file_and_from_the_environment(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secret_file(tmp_path, "correct horse\nsecond line\n")
    made = keyfob.json("ca", "init", "--passphrase-file", file)
    assert made["key_encrypted"]
    monkeypatch.setenv("BENCH_SECRET", "correct horse")
    keyfob.json("cert", "device", "a", "--passphrase-env", "BENCH_SECRET")
    keyfob.json("cert", "device", "b", "--passphrase-file", file)
    needed = keyfob.error("cert", "device", "c")
    assert needed["code"] == "cert.passphrase-needed"
    monkeypatch.setenv("BENCH_SECRET", "wrong horse")
    wrong = keyfob.error("cert", "device", "c", "--passphrase-env", "BENCH_SECRET")
    assert wrong["code"] == "cert.passphrase-wrong"
    assert wrong["status"] == ExitStatus.IDENTITY
    assert "horse" not in json.dumps(wrong)
    assert not (keyfob.home / "certs" / "device" / "c").exists()


@pytest.mark.parametrize(
    ("text", "mode", "code"),
    [
        ("secret\n", 0o644, "ca.passphrase-exposed"),
        ("", 0o600, "ca.passphrase-empty"),
        ("\nsecret\n", 0o600, "ca.passphrase-empty"),
    ],
)
def test_a_passphrase_file_that_is_open_or_empty_is_refused(
    keyfob: Keyfob, tmp_path: Path, text: str, mode: int, code: str
) -> None:
    file = secret_file(tmp_path, text, mode)
    assert keyfob.error("ca", "init", "--passphrase-file", file)["code"] == code
    assert not (keyfob.home / "ca").exists()


def test_a_passphrase_source_that_is_missing_or_double_is_refused(keyfob: Keyfob) -> None:
    error = keyfob.error("ca", "init", "--passphrase-file", "/nowhere/passphrase")
    assert error["code"] == "file.missing"
    error = keyfob.error("ca", "init", "--passphrase-env", "KEYFOB_TEST_NOT_SET")
    assert error["code"] == "ca.passphrase-empty"
    status, _, _ = keyfob.run("ca", "init", "--passphrase-env", "HOME", "--no-passphrase")
    assert status == ExitStatus.USAGE
    assert not (keyfob.home / "ca").exists()


def test_on_a_terminal_the_passphrase_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    status, seen = on_a_terminal(tmp_path / "h", ["open sesame\n"] * 2, "ca", "init")
    assert status == 0, seen
    assert "Passphrase" in seen and "sesame" not in seen and "key encrypted" in seen
    status, seen = on_a_terminal(tmp_path / "h", ["open sesame\n"], "cert", "device", "a")
    assert status == 0, seen
    status, seen = on_a_terminal(tmp_path / "h", ["wrong\n"], "cert", "device", "b")
    assert status == ExitStatus.IDENTITY and "cert.passphrase-wrong" in seen


def test_giving_up_at_the_question_makes_nothing(tmp_path: Path) -> None:
    # As Ctrl-D: the session has no controlling terminal, so Ctrl-C raises no signal in it.
    status, seen = on_a_terminal(tmp_path / "h", ["\x04"], "ca", "init")
    assert status == ExitStatus.INTERRUPTED and "interrupted" in seen
    assert not (tmp_path / "h" / "ca").exists()


def test_bad_names_are_refused_before_anything_is_made(with_ca: Keyfob) -> None:
    for arguments, code in (
        (("cert", "device", "a/b"), "cert.bad-id"),
        (("cert", "device", "../../x"), "cert.bad-id"),
        (("cert", "device", "keyfob-host"), "cert.reserved-id"),
        (("cert", "broker", "a b"), "cert.bad-id"),
        (("cert", "broker", "b.test", "--san", "*.test"), "cert.bad-san"),
        (("cert", "broker", "b.test", "--san", "IP:300.1.1.1"), "cert.bad-san"),
        (("cert", "broker", "my_broker"), "cert.no-san"),
        (("cert", "device", "a", "--profile", "broker"), "toml.out-of-range"),
        (("cert", "device", "a", "--profile", "nothing"), "cert.profile-unknown"),
        (("cert", "show", "nobody"), "cert.unknown"),
        (("cert", "show", "/nowhere/cert.pem"), "file.missing"),
    ):
        assert with_ca.error(*arguments)["code"] == code, arguments
    assert not (with_ca.home / "certs").exists()


def test_no_ca_is_told_before_any_question(keyfob: Keyfob) -> None:
    for arguments in (("ca", "show"), ("cert", "device", "a"), ("cert", "broker", "b.test")):
        error = keyfob.error(*arguments)
        assert (error["code"], error["fix"]) == ("ca.missing", "keyfob ca init")


def test_a_lost_certificate_of_the_ca_comes_back_by_its_fix(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "s-1")
    (with_ca.home / "ca" / "ca.cert.pem").unlink()
    lost = with_ca.error("cert", "device", "s-2")
    assert lost["code"] == "ca.missing" and "gone" in lost["cause"]
    subprocess.run(shlex.split(lost["fix"]), check=True)
    with_ca.json("cert", "device", "s-2")


def test_a_damaged_ca_is_told(with_ca: Keyfob) -> None:
    cert, key = with_ca.home / "ca" / "ca.cert.pem", with_ca.home / "ca" / "ca.key.pem"
    whole = cert.read_bytes()
    cert.write_bytes(whole[:300])
    for arguments in (("ca", "show"), ("cert", "device", "a"), ("cert", "show", cert)):
        assert with_ca.error(*arguments)["code"] == "cert.unreadable"
    cert.write_bytes(whole)
    key.chmod(0o644)
    assert with_ca.error("cert", "device", "a")["code"] == "cert.key-exposed"
    key.chmod(0o600)
    key.write_bytes(b"")
    assert with_ca.error("cert", "device", "a")["code"] == "cert.key-unreadable"


def test_a_home_that_cannot_be_made_is_told(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "file" / "home"))
    assert keyfob.error("ca", "init", "--no-passphrase")["code"] == "file.not-a-file"


def test_no_key_byte_and_no_passphrase_is_ever_shown(
    keyfob: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_SECRET", "correct horse")
    shown = ""
    for arguments in (
        ("ca", "init", "--passphrase-env", "BENCH_SECRET"),
        ("cert", "broker", "b.test", "--passphrase-env", "BENCH_SECRET"),
        ("cert", "device", "a", "--passphrase-env", "BENCH_SECRET"),
        ("cert", "show", "a"), ("ca", "show"), ("cert", "device", "a"),
    ):  # fmt: skip
        shown += "".join(map(str, keyfob.run("--debug", *arguments)[1:]))
    assert "correct horse" not in shown and "PRIVATE KEY" not in shown
    key = (keyfob.home / "certs" / "device" / "a" / "key.pem").read_text().splitlines()[1]
    assert key not in shown


def test_a_certificate_shown_is_what_cryptography_reads(with_ca: Keyfob) -> None:
    shown = with_ca.json("cert", "device", "a")
    cert = x509.load_pem_x509_certificate((Path(shown["folder"]) / "cert.pem").read_bytes())
    assert shown["serial"] == f"{cert.serial_number:x}"
    assert shown["not_after_s"] == int(cert.not_valid_after_utc.timestamp())
