"""Mistakes of somebody who is new here: each is told, and its fix is one that runs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from keyfob_rig import Keyfob


@pytest.mark.parametrize(
    ("words", "cause", "fix"),
    [
        ("ca init --nooption", "No such option '--nooption'", "keyfob ca init --help"),
        ("rotate", "Missing argument 'ID'", "keyfob rotate --help"),
        ("nocommand", "No such command 'nocommand'", "keyfob --help"),
        ("hil run --reruns 99", "99 is not in the range", "keyfob hil run --help"),
        ("", "Missing command", "keyfob --help"),
    ],
)
def test_a_wrong_command_line_is_json_where_json_was_asked_for(
    keyfob: Keyfob, words: str, cause: str, fix: str
) -> None:
    status, out, _ = keyfob.run("--json", *words.split())
    told = json.loads(out)["error"]
    assert (status, told["code"], told["fix"]) == (2, "host.usage", fix)
    assert cause in told["cause"]
    assert keyfob.run(*shlex.split(told["fix"])[1:])[0] == 0


@pytest.mark.parametrize("name", ["größe", "a b", "-x"])
def test_the_fix_for_a_name_that_no_identity_can_have_issues_none(
    keyfob: Keyfob, name: str
) -> None:
    keyfob.json("ca", "init", "--no-passphrase")
    assert keyfob.error("cert", "show", "--", name)["fix"] == "keyfob cert list"
    assert keyfob.error("cert", "show", "sensor-09")["fix"] == "keyfob cert device sensor-09"


def test_a_folder_that_is_no_identity_is_none_to_be_issued(keyfob: Keyfob, tmp_path: Path) -> None:
    error = keyfob.error("cert", "show", str(tmp_path))
    assert error["code"] == "cert.not-an-identity"
    assert error["fix"] == f"keyfob cert check {tmp_path}"


def test_a_plan_that_is_no_toml_file_is_told(
    keyfob: Keyfob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    error = keyfob.error("cert", "make", "plan.json")
    assert (error["code"], error["fix"]) == ("cert.plan-unknown", "keyfob cert make --help")


def test_names_that_cryptography_does_not_know_are_a_finding(
    keyfob: Keyfob, tmp_path: Path
) -> None:
    """An x400Address, [3] of GeneralName (RFC 5280 section 4.2.1.6), where an rfc822Name was."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "b.example")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, datetime(2026, 1, 1))
        .not_valid_after(datetime(2036, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("abc@d.example")]), False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    spoilt = made.replace(b"\x81\x0dabc@d.example", b"\xa3\x0d\x30\x0b\x30\x00\x04\x07abcdefg")
    (tmp_path / "x400.der").write_bytes(spoilt)
    with pytest.raises(x509.UnsupportedGeneralNameType):
        _ = x509.load_der_x509_certificate(spoilt).extensions
    status, out, _ = keyfob.run("--json", "cert", "check", str(tmp_path / "x400.der"))
    assert status == 6
    assert "lint.malformed" in {one["code"] for one in json.loads(out)["findings"]}


def test_a_suite_that_is_no_python_file_is_told(keyfob: Keyfob, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# notes\n")
    error = keyfob.error("hil", "run", str(tmp_path / "notes.md"))
    assert error["code"] == "hil.unknown-suite"


@pytest.mark.parametrize("option", ["--report", "--junit"])
def test_where_a_report_cannot_be_written_nothing_is_run(keyfob: Keyfob, option: str) -> None:
    place = "/proc/report" if option == "--report" else "/tmp"
    error = keyfob.error("hil", "run", "smoke", option, place)
    assert error["code"] in ("file.missing", "file.not-a-file", "file.no-permission")
    assert not (keyfob.home / "hil").exists()


def test_a_board_that_is_down_already_is_no_mistake(keyfob: Keyfob) -> None:
    assert keyfob.error("board", "down", "nobody")["fix"] == "keyfob board list"
    assert keyfob.json("board", "down", "--all") == {"down": []}


@pytest.mark.parametrize(
    ("closed", "words", "status", "shown"),
    [
        ("<&-", "ca init", 3, "there is no terminal to ask on"),
        ("<&-", "element lock", 2, "nobody is here to ask"),
        (">&-", "--json bench list", 0, ""),
        (">&-", "--json ca show", 6, "ca.missing"),
        ("2>&-", "ca show", 6, ""),
        (">/dev/full", "--json ca show", 6, "ca.missing"),
    ],
)
def test_standard_streams_may_be_closed_or_full(
    keyfob: Keyfob, closed: str, words: str, status: int, shown: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m keyfob_host {words} {closed}"],
        env={**os.environ, "KEYFOB_HOME": str(keyfob.home)},
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, shown in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr and "host.internal" not in done.stderr
