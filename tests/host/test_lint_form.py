"""Findings about the form of a file: what it is, before what it says.

Where a file cannot be read, openssl is shown not to read it; what openssl reads is no error.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from lint_rig import codes, errors, findings, identity, key_der, key_pem, pem, write
from x509_forge import CLIENT_AUTH, HOST, Recipe, authority, key

from keyfob_host.boards import load_kind
from keyfob_host.lint import Severity

CA = authority().sign()
BROKER = Recipe(name=HOST, number=2).sign(CA)
DEVICE = Recipe("sensor-01", ["sensor-01"], number=3, purposes=[CLIENT_AUTH]).sign(CA)
CERT = pem([BROKER.der]).encode()


def openssl_reads(path: Path, *command: str) -> bool:
    done = subprocess.run(
        ["openssl", *(command or ("x509",)), "-noout", "-in", str(path)], capture_output=True
    )
    return done.returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "code", "seen"),
    [
        ("c.pem", b"", "lint.empty", "0 bytes"),
        ("c.pem", b" \n\n", "lint.empty", "3 bytes"),
        ("c.pem", b"hello, world\n", "lint.not-pem-or-der", "'hello, world"),
        ("c.der", bytes(range(128, 200)), "lint.not-pem-or-der", "72 bytes"),
        ("c.pem", CERT.decode().encode("utf-16"), "lint.utf-16", "UTF-16"),
        ("c.pem", CERT[:300], "lint.truncated", "line 1: BEGIN CERTIFICATE without its END"),
        ("c.pem", CERT[:300] + b"\n" + CERT, "lint.truncated", "line 1"),
        ("c.der", BROKER.der[:300], "lint.truncated", "are left"),
        ("c.pem", CERT.replace(b"MII", b"M*I", 1), "lint.pem-broken", "not base64"),
        ("c.der", BROKER.der + b"\0", "lint.trailing-bytes", "1 bytes behind"),
        ("c.der", BROKER.der + b"\r\n", "lint.trailing-bytes", "no line ends"),
        ("c.der", CERT, "lint.pem-named-der", "want the byte 30"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_told(
    name: str, content: bytes, code: str, seen: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, content)
    found = findings(path, role="broker")
    told = [one for one in found if one.code == code]
    assert told and told[0].severity is Severity.ERROR and seen in told[0].evidence, found
    assert errors(found) == [code]
    if code in ("lint.empty", "lint.not-pem-or-der", "lint.utf-16", "lint.pem-broken"):
        assert not openssl_reads(path)


@pytest.mark.parametrize(
    ("content", "code", "severity"),
    [
        (CERT.replace(b"\n", b"\r\n"), "lint.crlf", Severity.WARNING),
        (b"\xef\xbb\xbf" + CERT, "lint.bom", Severity.WARNING),
        (b"Certificate:\n  Data:\n" + CERT, "lint.text-outside", Severity.NOTE),
        (CERT + b"the end\n", "lint.text-outside", Severity.NOTE),
    ],
)
def test_what_openssl_reads_all_the_same_is_no_error(
    content: bytes, code: str, severity: Severity, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.pem", content)
    (told,) = findings(path)
    assert (told.code, told.severity) == (code, severity)
    assert openssl_reads(path)


def test_der_under_a_name_of_pem_is_told(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "c.pem", BROKER.der)) == ["lint.der-named-pem"]
    assert codes(write(tmp_path / "c.crt", BROKER.der)) == []
    assert codes(write(tmp_path / "c.der", BROKER.der)) == []


def test_swapped_files_are_told_each(tmp_path: Path) -> None:
    folder = identity(tmp_path / "device" / "sensor-01", [DEVICE], [CA], DEVICE.key)
    cert, secret = folder / "cert.pem", folder / "key.pem"
    contents = secret.read_bytes(), cert.read_bytes()
    write(cert, contents[0], 0o600)
    write(secret, contents[1], 0o600)
    found = findings(folder)
    assert errors(found) == ["lint.wrong-kind"] * 2
    assert {Path(one.file).name: one.evidence for one in found} == {
        "cert.pem": "holds 1 key; a certificate is wanted here",
        "key.pem": "holds 1 certificate; a key is wanted here",
    }


def test_a_name_that_misleads_is_told_where_nothing_else_says_more(tmp_path: Path) -> None:
    path = write(tmp_path / "sensor.key", CERT)
    assert codes(path) == ["lint.misleading-name"]
    assert codes(write(tmp_path / "client.crt", key_pem(key("p256")), 0o600)) == [
        "lint.misleading-name"
    ]


def test_two_where_one_is_read_are_told(tmp_path: Path) -> None:
    folder = identity(tmp_path / "device" / "sensor-01", [DEVICE], [CA])
    write(folder / "cert.pem", pem([DEVICE.der, CA.der]))
    (told,) = findings(folder)
    assert (told.code, told.evidence[:14]) == ("lint.several", "2 certificates")
    keys = key_pem(key("p256", 41)) + key_pem(key("p256", 42))
    assert codes(write(tmp_path / "two.key", keys, 0o600)) == ["lint.several"]


def test_a_key_among_certificates_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "all.pem", CERT + key_pem(BROKER.key), 0o600)
    assert codes(path) == ["lint.mingled"]


def test_an_unknown_block_is_told(tmp_path: Path) -> None:
    public = BROKER.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (told,) = findings(write(tmp_path / "x.pem", public))
    assert (told.code, told.evidence) == ("lint.unknown-content", "PUBLIC KEY")


# Keys


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_every_form_of_a_key_is_read_and_belongs_to_its_certificate(
    kind: str, form: str, tmp_path: Path
) -> None:
    pair = Recipe("sensor-01", ["sensor-01"], kind=kind, purposes=[CLIENT_AUTH]).sign(CA)
    cert = write(tmp_path / "sensor.crt", pem([pair.der]))
    other = write(tmp_path / "other.crt", pem([BROKER.der]))
    for name, content in (
        ("a.key", key_pem(pair.key, form)), ("b.der", key_der(pair.key, form))
    ):  # fmt: skip
        path = write(tmp_path / name, content, 0o600)
        assert codes(path, cert) == []
        (told,) = findings(path, other)
        assert (told.code, told.severity) == ("lint.key-mismatch", Severity.ERROR)
        assert f"{kind} key" in told.evidence and "p256 key" in told.evidence


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_encrypted_key_is_told_and_never_asked_for(form: str, tmp_path: Path) -> None:
    locked = DEVICE.key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = write(tmp_path / "sensor.key", locked, 0o600)
    assert codes(path) == []  # nobody says what it is for
    for role in ("broker", "device"):
        (told,) = findings(path, role=role)
        assert told.code == "lint.key-encrypted" and "encrypted" in told.evidence
    assert codes(path, role="ca") == []


def test_a_key_in_a_token_is_one(tmp_path: Path) -> None:
    # The form of OpenSSL's pkcs11-provider: SEQUENCE of two strings.
    body = b"\x0c\x04desc" + b"\x0c\x0apkcs11:a=b"
    uri = pem([bytes([0x30, len(body)]) + body], "PKCS#11 PROVIDER URI")
    write(tmp_path / "ca.cert.pem", pem([CA.der]))
    write(tmp_path / "ca.key.pem", uri, 0o600)
    assert codes(tmp_path) == []


def test_a_key_that_others_can_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.key", key_pem(key("p256")), 0o644)
    (told,) = findings(path)
    assert (told.code, told.evidence) == ("lint.key-exposed", "mode 0644, want 0600")
    assert told.fix == f"chmod 600 {path}"
    path.chmod(0o640)
    (told,) = findings(path)
    assert (told.code, told.severity) == ("lint.key-group", Severity.WARNING)


def test_a_damaged_or_weak_key_is_told(tmp_path: Path) -> None:
    der = key_der(key("p256"))
    broken = write(tmp_path / "x.key", pem([der[:60] + bytes(8) + der[68:]], "PRIVATE KEY"), 0o600)
    assert codes(broken) == ["lint.key-unreadable"]
    assert not openssl_reads(broken, "pkey", "-check")
    weak = write(tmp_path / "w.key", key_pem(key("rsa1024")), 0o600)
    assert codes(weak) == ["lint.key-weak"]


def test_no_piece_of_a_key_is_ever_shown(tmp_path: Path) -> None:
    secret = key_pem(key("p256"))
    der = key_der(key("p256"))
    body = b"".join(secret.splitlines()[1:-1])
    pieces = {body[at : at + 8].decode() for at in range(len(body) - 8)}
    pieces |= {der[at : at + 4].hex() for at in range(40, len(der) - 4)}
    for number, content in enumerate((
        secret, secret.split(b"\n", 1)[1], secret[:-30], secret[:100], body, b"x " + body,
        secret.replace(b"BEGIN", b"BEGIM"), secret.replace(b"\n", b"\n*", 2), secret + body,
        der[36:], der[:-9], der[:40] + der, b"\xff" + der, der.hex().encode(),
    )):  # fmt: skip
        path = write(tmp_path / f"{number}.key", content, 0o600)
        for one in findings(path, role="device", board="virtual-esp8266"):
            told = f"{one.evidence} {one.fix} {one.item}"
            assert not any(piece in told for piece in pieces), told


def test_a_board_is_told_the_types_of_key_that_it_takes(tmp_path: Path) -> None:
    for kind, boards in (("rsa2048", ("esp8266", "virtual-esp8266")), ("p384", (None, "esp32"))):
        pair = Recipe("sensor-01", ["sensor-01"], kind=kind, purposes=[CLIENT_AUTH]).sign(CA)
        folder = identity(tmp_path / kind / "device" / "sensor-01", [pair], [CA], pair.key)
        for board in boards:
            (told,) = findings(folder, board=board)
            assert told.code == "lint.key-for-device", board
            taken = load_kind(board).tls.keys if board else ("p256", "rsa2048")
            assert told.evidence.endswith(", ".join(taken)) and "--key-type p256" in told.fix
        assert (codes(folder, board="virtual-esp32") == []) == (kind == "rsa2048")


def test_axtls_of_an_esp8266_reads_pkcs1_alone(tmp_path: Path) -> None:
    for kind, form, expected in (
        ("p256", "PKCS8", ["lint.key-for-axtls"]),
        ("p256", "TraditionalOpenSSL", ["lint.key-for-axtls"]),
        ("rsa2048", "PKCS8", ["lint.key-for-axtls"]),
        ("rsa2048", "TraditionalOpenSSL", []),
    ):
        path = write(tmp_path / f"{kind}{form}.der", key_der(key(kind), form), 0o600)
        assert codes(path, board="virtual-esp8266") == expected
        assert codes(path, board="virtual-esp32") == []


# Requests


def test_a_request_is_checked_with_its_own_key(tmp_path: Path) -> None:
    subject = ("-subj", "/CN=sensor-01")
    for kind, extra, expected in (
        (("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), subject, []),
        (("rsa:2048",), ("-subj", "/O=Works"), ["lint.request-name"]),
        (("rsa:1024",), subject, ["lint.key-weak"]),
        (("ed25519",), subject, ["lint.key-weak"]),
    ):
        path, secret = tmp_path / "x.csr", tmp_path / "x.key"
        command = ["openssl", "req", "-new", "-nodes", "-newkey", *kind, *extra]
        command += ["-keyout", str(secret), "-out", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        assert codes(path) == expected
    der = subprocess.run(
        ["openssl", "req", "-in", str(path), "-outform", "DER"], check=True, capture_output=True
    ).stdout
    changed = der.replace(b"sensor-01", b"sensor-02")
    assert "lint.request-signature" in codes(write(tmp_path / "y.csr", changed))
    cut = write(tmp_path / "z.csr", pem([der[:-30] + bytes(3)], "CERTIFICATE REQUEST"))
    assert codes(cut) == ["lint.request-unreadable"]
